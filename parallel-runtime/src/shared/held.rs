//! A process's hold on a shared object.
//!
//! All handles of an object in one process share one [`Held`]. The program's last one asks the books whether anybody else has the
//! object; a worker's last one clears its bit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::objects;
use super::space::Space;
use super::tables::{Kind, Object};
use crate::error::TaskError;
use crate::ipc::link;
use crate::ipc::request::Request;
use crate::shared::handles;
use crate::sys::fork;
use crate::sys::role;

/// What names an object in every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) id: u32,
    pub(crate) nonce: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// This process has the object.
pub(crate) struct Held {
    reference: Reference,
    /// Who may use it as an exclusive owner: [`AWAY`], [`SHARED`], or the number of the owner that was made last, which may be
    /// [`PROMISED`].
    owner: AtomicU32,
    /// The numbers of owners given out.
    owners: AtomicU32,
}

/// No owner is here: none ever was, or it was sent away.
const AWAY: u32 = 0;

/// It is read by many, and has no exclusive owner any more.
const SHARED: u32 = u32::MAX;

/// Set in an owner's number: it is in a message that goes off as soon as the owner is dropped. Until then it is an owner as before,
/// since there may be borrows of what it owns.
const PROMISED: u32 = 1 << 31;

impl Held {
    pub(super) fn new(reference: Reference) -> Self {
        Self { reference, owner: AtomicU32::new(AWAY), owners: AtomicU32::new(0) }
    }

    pub(crate) fn reference(&self) -> Reference {
        self.reference
    }

    /// Makes an exclusive owner, whose number this is. `None` if there is one, or if it is shared.
    pub(super) fn own(&self) -> Option<u32> {
        let number = self.owners.fetch_add(1, Ordering::Relaxed) % (PROMISED - 2) + 1;
        self.owner.compare_exchange(AWAY, number, Ordering::AcqRel, Ordering::Relaxed).is_ok().then_some(number)
    }

    fn change(&self, from: u32, to: u32) -> bool {
        self.owner.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The owner, which nobody has borrowed, is sent away. False if it was before.
    pub(crate) fn send_away(&self, number: u32) -> bool {
        self.change(number, AWAY)
    }

    /// The owner is to be sent away when it is dropped. False if it was before.
    pub(crate) fn promise(&self, number: u32) -> bool {
        self.change(number, number | PROMISED)
    }

    /// Ends a promise. True if the owner is still there.
    pub(crate) fn end_promise(&self, number: u32) -> bool {
        self.change(number | PROMISED, number)
    }

    /// The owner is dropped.
    pub(super) fn drop_owner(&self, number: u32) {
        let _ = self.change(number, AWAY) || self.change(number | PROMISED, AWAY);
    }

    /// It could not be sent after all.
    pub(crate) fn take_back(&self, number: u32) {
        self.change(AWAY, number);
    }

    /// Whether it is read by many, and nobody changes it any more.
    #[cfg(feature = "dask")]
    pub(super) fn is_shared(&self) -> bool {
        self.owner.load(Ordering::Acquire) == SHARED
    }

    /// It has turned out to be shared. False if it has an exclusive owner here.
    pub(super) fn mark_shared(&self) -> bool {
        let before = self.owner.compare_exchange(AWAY, SHARED, Ordering::AcqRel, Ordering::Relaxed);
        matches!(before, Ok(_) | Err(SHARED))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if fork::check().is_err() {
            // It is the parent's.
            return;
        }
        if role::in_worker() {
            let_go_in_worker(self);
        } else {
            objects::let_go(self);
        }
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("reference", &self.reference).finish_non_exhaustive()
    }
}

/// What a worker has.
fn ours() -> MutexGuard<'static, HashMap<u32, Weak<Held>>> {
    static OURS: LazyLock<Mutex<HashMap<u32, Weak<Held>>>> = LazyLock::new(Mutex::default);
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn let_go_in_worker(held: &Held) {
    let Some(space) = Space::existing() else { return };
    let id = held.reference.id;
    let mut ours = ours();
    // Another thread may have taken another handle meanwhile.
    if ours.get(&id).is_none_or(|other| !std::ptr::eq(other.as_ptr(), held)) {
        return;
    }
    ours.remove(&id);
    space.tables().clear_bit(space.me(), id);
    drop(ours);
    if space.tables().object(id).orphan.load(Ordering::SeqCst) != 0 {
        link::tell(&Request::Released(id.into()));
    }
}

/// Takes a handle that came from somewhere, in a worker. `None` if its object is gone, or is none of that kind.
fn adopt_in_worker(id: u32, nonce: u64, kind: Option<Kind>) -> Option<Arc<Held>> {
    let space = Space::existing()?;
    if !space.tables().is_possible(id) || nonce == 0 {
        return None;
    }
    let object = space.tables().object(id);
    let mut ours = ours();
    if let Some(held) = ours.get(&id).and_then(Weak::upgrade) {
        // Another nonce: that one is alive, so this one is not. And it must not end under the lock.
        drop(ours);
        let is_right = held.reference.nonce == nonce && is_of(object, kind);
        return Some(held).filter(|_| is_right);
    }
    // The order matters: see the module `tables`.
    space.tables().set_bit(space.me(), id);
    if object.nonce.load(Ordering::SeqCst) != nonce || !is_of(object, kind) {
        space.tables().clear_bit(space.me(), id);
        drop(ours);
        if object.orphan.load(Ordering::SeqCst) != 0 {
            link::tell(&Request::Released(id.into()));
        }
        return None;
    }
    let (offset, len) = (object.offset.load(Ordering::SeqCst), object.len.load(Ordering::SeqCst));
    let held = Arc::new(Held::new(Reference { id, nonce, offset, len }));
    ours.insert(id, Arc::downgrade(&held));
    Some(held)
}

fn is_of(object: &Object, kind: Option<Kind>) -> bool {
    kind.is_none_or(|kind| object.kind.load(Ordering::SeqCst) == kind as u32)
}

/// Takes a handle of a kind that came from somewhere. `None` if its object is gone, or is none of that kind.
fn adopt(id: u32, nonce: u64, kind: Kind) -> Option<Arc<Held>> {
    if !role::in_worker() {
        return objects::adopt(id, nonce, kind);
    }
    let held = adopt_in_worker(id, nonce, Some(kind))?;
    handles::receive(id);
    Some(held)
}

/// Makes an object of `len` bytes that starts at a multiple of `alignment`; `true` if all of it reads as zeros.
pub(super) fn create(len: u64, alignment: u64, kind: Kind) -> Result<(Arc<Held>, bool), TaskError> {
    if !role::in_worker() {
        fork::check().map_err(TaskError::Spawn)?;
        return objects::create(len, alignment, kind).map(|new| (new.held, new.zeroed));
    }
    let [offset, available, id, nonce, zeroed] = link::ask(&Request::New { len, alignment, kind: kind as u64 });
    if offset == 0 {
        return Err(TaskError::OutOfSharedMemory { requested: len, available });
    }
    let held = adopt_in_worker(id as u32, nonce, None).expect("the program has just made it");
    Ok((held, zeroed != 0))
}

/// From now on an object is read by many. False if it has an exclusive owner other than `number`.
pub(super) fn share(held: &Held, number: u32) -> bool {
    if !held.change(number, SHARED) && !held.change(number | PROMISED, SHARED) {
        return held.owner.load(Ordering::Relaxed) == SHARED;
    }
    let id = held.reference.id;
    if let Some(space) = Space::existing() {
        space.tables().object(id).kind.store(Kind::Slice as u32, Ordering::SeqCst);
    }
    if !role::in_worker() {
        objects::set_shared(id);
    }
    true
}

/// Writes a handle.
pub(super) fn encode<S: Serializer>(held: &Arc<Held>, serializer: S) -> Result<S::Ok, S::Error> {
    handles::carry(held).map_err(ser::Error::custom)?;
    let Reference { id, nonce, len, .. } = held.reference();
    handles::count_shared(len);
    (id, nonce).serialize(serializer)
}

/// Reads a handle of a kind.
pub(super) fn decode<'de, D: Deserializer<'de>>(deserializer: D, kind: Kind) -> Result<Arc<Held>, D::Error> {
    let (id, nonce) = Deserialize::deserialize(deserializer)?;
    named(id, nonce, kind).map_err(de::Error::custom)
}

/// The object that a handle of a kind names.
pub(super) fn named(id: u32, nonce: u64, kind: Kind) -> Result<Arc<Held>, &'static str> {
    adopt(id, nonce, kind).ok_or("the shared memory behind this handle is gone, or is of another kind")
}

/// Keeps an object that a container or a static names, which has it.
pub(super) fn pin(id: u32, nonce: u64) -> Option<Arc<Held>> {
    if role::in_worker() { adopt_in_worker(id, nonce, None) } else { objects::named(id.into(), nonce) }
}
