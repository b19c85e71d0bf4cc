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
use crate::codec::cargo;
use crate::error::TaskError;
use crate::process::handshake::Request;
use crate::process::{fork, hook, link};

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
    /// Who may use it as an exclusive owner: [`AWAY`], [`SHARED`], or the number of the owner that was made last.
    owner: AtomicU32,
    /// The numbers of owners given out.
    owners: AtomicU32,
}

/// No owner is here: none ever was, or it was sent away.
const AWAY: u32 = 0;

/// It is read by many, and has no exclusive owner any more.
const SHARED: u32 = u32::MAX;

impl Held {
    pub(super) fn new(reference: Reference) -> Self {
        Self { reference, owner: AtomicU32::new(AWAY), owners: AtomicU32::new(0) }
    }

    pub(crate) fn reference(&self) -> Reference {
        self.reference
    }

    /// Makes an exclusive owner, whose number this is. `None` if there is one, or if it is shared.
    pub(super) fn own(&self) -> Option<u32> {
        let number = self.owners.fetch_add(1, Ordering::Relaxed) + 1;
        self.owner.compare_exchange(AWAY, number, Ordering::AcqRel, Ordering::Relaxed).is_ok().then_some(number)
    }

    /// Whether this is the exclusive owner.
    #[inline(always)]
    pub(super) fn is_owned_by(&self, number: u32) -> bool {
        self.owner.load(Ordering::Relaxed) == number
    }

    /// The owner is sent away. False if it was before.
    pub(crate) fn send_away(&self, number: u32) -> bool {
        self.owner.compare_exchange(number, AWAY, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// It could not be sent after all.
    pub(crate) fn take_back(&self, number: u32) {
        let _ = self.owner.compare_exchange(AWAY, number, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// From now on it is read by many. False if it has an exclusive owner other than `number`.
    pub(super) fn share(&self, number: Option<u32>) -> bool {
        let from = number.unwrap_or(AWAY);
        match self.owner.compare_exchange(from, SHARED, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => true,
            Err(now) => now == SHARED,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if fork::check().is_err() {
            // It is the parent's.
            return;
        }
        if hook::in_worker() {
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

/// Takes a handle that came from somewhere, in a worker. `None` if its object is gone.
fn adopt_in_worker(reference: Reference) -> Option<Arc<Held>> {
    let space = Space::existing()?;
    if !space.tables().is_possible(reference.id) || reference.nonce == 0 {
        return None;
    }
    let mut ours = ours();
    if let Some(held) = ours.get(&reference.id).and_then(Weak::upgrade) {
        // Another nonce: that one is alive, so this one is not. And it must not end under the lock.
        drop(ours);
        return Some(held).filter(|held| held.reference.nonce == reference.nonce);
    }
    // The order matters: see the module `tables`.
    space.tables().set_bit(space.me(), reference.id);
    if space.tables().object(reference.id).nonce.load(Ordering::SeqCst) != reference.nonce {
        let still_ours = ours.get(&reference.id).is_some_and(|other| other.strong_count() > 0);
        if !still_ours {
            space.tables().clear_bit(space.me(), reference.id);
        }
        drop(ours);
        if !still_ours && space.tables().object(reference.id).orphan.load(Ordering::SeqCst) != 0 {
            link::tell(&Request::Released(reference.id.into()));
        }
        return None;
    }
    let held = Arc::new(Held::new(reference));
    ours.insert(reference.id, Arc::downgrade(&held));
    Some(held)
}

/// Takes a handle that came from somewhere. `None` if its object is gone.
pub(super) fn adopt(reference: Reference) -> Option<Arc<Held>> {
    if !hook::in_worker() {
        return objects::adopt(reference);
    }
    let held = adopt_in_worker(reference)?;
    cargo::receive(reference.id);
    Some(held)
}

/// Makes an object of `len` bytes that starts at a multiple of `alignment`; `true` if all of it reads as zeros.
pub(super) fn create(len: u64, alignment: u64) -> Result<(Arc<Held>, bool), TaskError> {
    if !hook::in_worker() {
        fork::check().map_err(TaskError::Spawn)?;
        return objects::create(len, alignment).map(|new| (new.held, new.zeroed));
    }
    let [offset, available, id, nonce, zeroed] = link::ask(&Request::New { len, alignment });
    if offset == 0 {
        return Err(TaskError::OutOfSharedMemory { requested: len, available });
    }
    let held = adopt_in_worker(Reference { id: id as u32, nonce, offset, len }).expect("the program has just made it");
    Ok((held, zeroed != 0))
}

/// Writes a handle.
pub(super) fn encode<S: Serializer>(held: &Arc<Held>, serializer: S) -> Result<S::Ok, S::Error> {
    cargo::carry(held).map_err(ser::Error::custom)?;
    let Reference { id, nonce, offset, len } = held.reference();
    (id, nonce, offset, len).serialize(serializer)
}

/// Reads a handle.
pub(super) fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Held>, D::Error> {
    let (id, nonce, offset, len) = Deserialize::deserialize(deserializer)?;
    adopt(Reference { id, nonce, offset, len })
        .ok_or_else(|| de::Error::custom("the shared memory behind this handle is gone"))
}

/// Keeps an object that a container names, which has it.
pub(super) fn pin(reference: Reference) -> Option<Arc<Held>> {
    if hook::in_worker() { adopt_in_worker(reference) } else { objects::adopt(reference) }
}
