//! The program's registry of shared objects: which there are, where, and who has them.
//!
//! They lie in the program's private memory, so that no worker can damage them. An object is freed when the program has no
//! handle of it, no container holds one, and no living worker has it: see [`tables`](super::tables).
//!
//! | module | what |
//! | --- | --- |
//! | [`registry`](mod@registry) | what is written down of each object, and when it is freed |
//! | [`process`] | who lives |
//! | [`usage`] | how much there is |

mod process;
mod registry;
mod usage;

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};

pub(crate) use process::Process;
pub(super) use registry::set_sweep;
use registry::{Entry, Registry, registry};
pub use usage::{SharedUsage, shared_usage};

use super::arena::Arena;
use super::handle::{Handle, Reference};
use super::lock::Lock;
use super::space::Space;
use super::tables::Kind;
use crate::error::TaskError;

/// A new object's memory, and what is known of its contents.
pub(crate) struct New {
    pub(crate) handle: Arc<Handle>,
    /// All of it reads as zeros.
    pub(crate) zeroed: bool,
}

/// Makes an object of `len` bytes, at least one, that starts at a multiple of `alignment`. `by`: the worker that asked for it.
pub(crate) fn create(len: u64, alignment: u64, kind: Kind, by: Option<&Process>) -> Result<New, TaskError> {
    let arena = Arena::get().map_err(TaskError::Spawn)?;
    let mut registry = registry();
    let by = by.and_then(Process::token);
    registry.charge(by, len, arena.segment().len())?;
    let id = registry.new_id().inspect_err(|_| registry.discharge(by, len));
    let id = id?;
    match registry.take(&arena, len, alignment) {
        Ok((memory, offset, zeroed)) => {
            let nonce = registry.new_nonce();
            let handle = Arc::new(Handle::new(Reference { id, nonce, offset, len }));
            let here = Arc::downgrade(&handle);
            registry.entries[id as usize] =
                Entry { nonce, memory: Some(memory), offset, len, kind: Some(kind), here, by, ..Entry::default() };
            registry.by_offset.insert(offset, id);
            let object = Space::get()?.tables().object(id);
            object.orphan.store(0, SeqCst);
            object.offset.store(offset, SeqCst);
            object.len.store(len, SeqCst);
            object.kind.store(kind as u32, SeqCst);
            object.nonce.store(nonce, SeqCst);
            Ok(New { handle, zeroed })
        }
        Err(error) => {
            registry.free.push(id);
            registry.discharge(by, len);
            Err(error)
        }
    }
}

/// Takes a handle of a kind that came from somewhere. `None` if its object is gone, or is none of that kind.
pub(super) fn adopt(id: u32, nonce: u64, kind: Kind) -> Option<Arc<Handle>> {
    let mut registry = registry();
    let entry = registry.entries.get_mut(id as usize)?;
    let says = Space::existing()?.tables().object(id).kind.load(SeqCst);
    // A worker may say that it is shared, and then it stays so.
    if kind == Kind::Slice && entry.kind == Some(Kind::Vec) && says == kind as u32 {
        entry.kind = Some(kind);
    }
    if entry.kind != Some(kind) || says != kind as u32 {
        return None;
    }
    registry.adopt(id, nonce)
}

/// An object with one owner has none any more.
pub(super) fn set_shared(id: u32) {
    let mut registry = registry();
    if let Some(entry) = registry.entries.get_mut(id as usize) {
        entry.kind = Some(Kind::Slice);
    }
}

/// Takes a handle of any kind.
pub(crate) fn named(id: u64, nonce: u64) -> Option<Arc<Handle>> {
    registry().adopt(u32::try_from(id).ok()?, nonce)
}

/// What an object is.
pub(crate) fn kind(handle: &Handle) -> Option<Kind> {
    registry().entries.get(handle.reference().id as usize)?.kind
}

/// The program's last handle is gone.
pub(super) fn let_go(handle: &Handle) {
    let id = handle.reference().id;
    let mut registry = registry();
    let Some(entry) = registry.entries.get_mut(id as usize) else { return };
    // Another handle may have been taken meanwhile.
    if std::ptr::eq(entry.here.as_ptr(), handle) {
        entry.here = Weak::new();
        registry.free_if_unused(id);
    }
}

/// The object whose memory holds an offset.
pub(super) fn at(offset: u64) -> Option<Arc<Handle>> {
    let mut registry = registry();
    let (_, &id) = registry.by_offset.range(..=offset).next_back()?;
    let entry = &registry.entries[id as usize];
    let nonce = entry.nonce;
    if offset - entry.offset > entry.len {
        return None;
    }
    registry.adopt(id, nonce)
}

/// A worker has let go of an object that only workers had.
pub(crate) fn released(id: u64) {
    if let Ok(id) = u32::try_from(id) {
        registry().free_if_unused(id);
    }
}

/// More memory for an object. It is freed with it. `by`: the worker that asked for it.
pub(crate) fn grow(id: u64, nonce: u64, len: u64, by: Option<&Process>) -> Result<u64, TaskError> {
    let arena = Arena::get().map_err(TaskError::Spawn)?;
    // Not under the lock: this may take a while.
    let block = arena.take(len)?;
    let offset = block.offset();
    let by = by.and_then(Process::token);
    let mut registry = registry();
    registry.charge(by, block.len(), arena.segment().len())?;
    let entry = usize::try_from(id).ok().and_then(|id| registry.entries.get_mut(id));
    match entry.filter(|entry| entry.nonce == nonce && entry.memory.is_some()) {
        Some(entry) => {
            entry.more.push((block, by));
            Ok(offset)
        }
        None => {
            registry.discharge(by, block.len());
            Err(TaskError::OutOfSharedMemory { requested: len, available: 0 })
        }
    }
}

/// How many bytes an object has been given.
pub(super) fn granted(id: u32) -> u64 {
    let registry = registry();
    registry
        .entries
        .get(id as usize)
        .map_or(0, |entry| entry.len + entry.more.iter().map(|(block, _)| block.len()).sum::<u64>())
}

/// A handle of `object` is about to be put into a container.
pub(crate) fn store(container: (u64, u64), object: (u64, u64)) -> bool {
    let mut registry = registry();
    let valid = |registry: &Registry, (id, nonce): (u64, u64)| {
        let entry = usize::try_from(id).ok().and_then(|id| registry.entries.get(id));
        entry.is_some_and(|entry| entry.nonce == nonce && entry.memory.is_some())
    };
    if !valid(&registry, container) || !valid(&registry, object) {
        return false;
    }
    *registry.entries[container.0 as usize].contents.entry(object.0 as u32).or_default() += 1;
    registry.entries[object.0 as usize].stored += 1;
    true
}

/// A handle of an object has been taken out of a container, as the process `by` says; the program itself if there is none.
pub(crate) fn unstore(container: u64, object: u64, by: Option<&Process>) {
    let mut registry = registry();
    if let Some(token) = by.and_then(Process::token) {
        // Under the same lock, so that it is read and done at once.
        registry.withdrawn[token.place() as usize] += 1;
    }
    let Some(entry) = usize::try_from(container).ok().and_then(|id| registry.entries.get_mut(id)) else { return };
    let Ok(object) = u32::try_from(object) else { return };
    let Some(count) = entry.contents.get_mut(&object) else { return };
    *count -= 1;
    if *count == 0 {
        entry.contents.remove(&object);
    }
    registry.unstore(object, 1);
}

/// Program: a worker waits for the lock at this offset, which names the program. What is no lock was that worker's to write, too.
pub(crate) fn deny_lock(offset: u64) {
    let Some(space) = Space::existing() else { return };
    let Some(place) = space.at(offset, size_of::<Lock>() as u64) else { return };
    let place = place.cast::<Lock>();
    if place.is_aligned() {
        // SAFETY: the range lies in the arena, which is never unmapped, and is aligned; a lock is atomics, for which any bytes are valid, and which
        // others may change.
        unsafe { place.as_ref() }.deny(space.me());
    }
}

/// The program's handle of a container, and its kind.
pub(super) fn container(id: u32, nonce: u64) -> Option<(Arc<Handle>, Option<Kind>)> {
    let mut registry = registry();
    let handle = registry.adopt(id, nonce)?;
    Some((handle, registry.entries[id as usize].kind))
}

/// So many handles of each object have been found in a container. False if something has been said that has not been read.
pub(super) fn correct(id: u32, found: &HashMap<u32, u64>) -> bool {
    registry().correct(id, found)
}

/// The object behind a static of the executable: `held` if there is none yet.
pub(crate) fn settle_static(offset: u64, handle: Option<Arc<Handle>>) -> Option<Arc<Handle>> {
    // A handle that is not used must not end under the lock, which its end takes.
    let mut registry = registry();
    let settled = match (registry.statics.get(&offset), &handle) {
        (Some(first), _) => Some(Arc::clone(first)),
        (None, Some(handle)) => {
            registry.statics.insert(offset, Arc::clone(handle));
            Some(Arc::clone(handle))
        }
        (None, None) => None,
    };
    drop(registry);
    settled
}
