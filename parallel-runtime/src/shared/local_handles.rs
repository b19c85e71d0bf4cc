//! Which objects this process has: how handles are made, found again, and let go of.

use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use super::handle::{Handle, PROMISED, Reference, SHARED};
use super::objects;
use super::space::Space;
use super::tables::{Kind, Object};
use crate::error::TaskError;
use crate::ipc::control::ControlRequest;
use crate::ipc::link;
use crate::sys::fork;
use crate::sys::role;

impl Drop for Handle {
    fn drop(&mut self) {
        if fork::check().is_err() {
            // It is the parent's.
            return;
        }
        if role::has_borrowed_objects() {
            let_go_in_worker(self);
        } else {
            objects::let_go(self);
        }
    }
}

/// What a worker has.
fn ours() -> MutexGuard<'static, HashMap<u32, Weak<Handle>>> {
    static OURS: LazyLock<Mutex<HashMap<u32, Weak<Handle>>>> = LazyLock::new(Mutex::default);
    OURS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn let_go_in_worker(handle: &Handle) {
    let Some(space) = Space::existing() else { return };
    let id = handle.reference.id;
    let mut ours = ours();
    // Another thread may have taken another handle meanwhile.
    if ours.get(&id).is_none_or(|other| !std::ptr::eq(other.as_ptr(), handle)) {
        return;
    }
    ours.remove(&id);
    space.tables().clear_bit(space.me(), id);
    drop(ours);
    if space.tables().object(id).orphan.load(Ordering::SeqCst) != 0 {
        link::tell(&ControlRequest::Released(id.into()));
    }
}

/// Takes a handle that came from somewhere, in a worker. `None` if its object is gone, or is none of that kind.
fn adopt_in_worker(id: u32, nonce: u64, kind: Option<Kind>) -> Option<Arc<Handle>> {
    let space = Space::existing()?;
    if !space.tables().is_possible(id) || nonce == 0 {
        return None;
    }
    let object = space.tables().object(id);
    let mut ours = ours();
    if let Some(handle) = ours.get(&id).and_then(Weak::upgrade) {
        // Another nonce: that one is alive, so this one is not. And it must not end under the lock.
        drop(ours);
        let is_right = handle.reference.nonce == nonce && is_of(object, kind);
        return Some(handle).filter(|_| is_right);
    }
    // The order matters: see the module `tables`.
    space.tables().set_bit(space.me(), id);
    if object.nonce.load(Ordering::SeqCst) != nonce || !is_of(object, kind) {
        space.tables().clear_bit(space.me(), id);
        drop(ours);
        if object.orphan.load(Ordering::SeqCst) != 0 {
            link::tell(&ControlRequest::Released(id.into()));
        }
        return None;
    }
    let (offset, len) = (object.offset.load(Ordering::SeqCst), object.len.load(Ordering::SeqCst));
    let handle = Arc::new(Handle::new(Reference { id, nonce, offset, len }));
    ours.insert(id, Arc::downgrade(&handle));
    Some(handle)
}

fn is_of(object: &Object, kind: Option<Kind>) -> bool {
    kind.is_none_or(|kind| object.kind.load(Ordering::SeqCst) == kind as u32)
}

/// Takes a handle of a kind that came from somewhere. `None` if its object is gone, or is none of that kind.
fn adopt(id: u32, nonce: u64, kind: Kind) -> Option<Arc<Handle>> {
    if !role::has_borrowed_objects() {
        return objects::adopt(id, nonce, kind);
    }
    adopt_in_worker(id, nonce, Some(kind))
}

/// Makes an object of `len` bytes that starts at a multiple of `alignment`; `true` if all of it reads as zeros.
pub(super) fn create(len: u64, alignment: u64, kind: Kind) -> Result<(Arc<Handle>, bool), TaskError> {
    if !role::has_borrowed_objects() {
        fork::check().map_err(TaskError::Spawn)?;
        return objects::create(len, alignment, kind, None).map(|new| (new.handle, new.zeroed));
    }
    let [offset, available, id, nonce, zeroed] = link::ask(&ControlRequest::New { len, alignment, kind: kind as u64 });
    if offset == 0 {
        return Err(TaskError::OutOfSharedMemory { requested: len, available });
    }
    let handle = adopt_in_worker(id as u32, nonce, None).expect("the program has just made it");
    Ok((handle, zeroed != 0))
}

/// From now on an object is read by many. False if it has an exclusive owner other than `number`.
pub(super) fn share(handle: &Handle, number: u32) -> bool {
    if !handle.change(number, SHARED) && !handle.change(number | PROMISED, SHARED) {
        return handle.owner.load(Ordering::Relaxed) == SHARED;
    }
    let id = handle.reference.id;
    if let Some(space) = Space::existing() {
        space.tables().object(id).kind.store(Kind::Slice as u32, Ordering::SeqCst);
    }
    if !role::has_borrowed_objects() {
        objects::set_shared(id);
    }
    true
}

/// The object that a handle of a kind names.
pub(super) fn named(id: u32, nonce: u64, kind: Kind) -> Result<Arc<Handle>, &'static str> {
    adopt(id, nonce, kind).ok_or("the shared memory behind this handle is gone, or is of another kind")
}

/// Keeps an object that a container or a static names, which has it.
pub(super) fn pin(id: u32, nonce: u64) -> Option<Arc<Handle>> {
    if role::has_borrowed_objects() { adopt_in_worker(id, nonce, None) } else { objects::named(id.into(), nonce) }
}

/// Where the memory of an object lies.
pub(super) fn memory(handle: &Handle) -> Option<NonNull<u8>> {
    let Reference { offset, len, .. } = handle.reference();
    Space::existing()?.at(offset, len)
}
