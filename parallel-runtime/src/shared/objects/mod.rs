//! The program's books of shared objects: which there are, where, and who has them.
//!
//! They lie in the program's private memory, so that no worker can damage them. An object is freed when the program has no
//! handle of it, no container holds one, and no living worker has it: see [`tables`](super::tables).
//!
//! | module | what |
//! | --- | --- |
//! | [`books`] | what is written down of each object, and when it is freed |
//! | [`process`] | who lives |
//! | [`usage`] | how much there is |

mod books;
mod process;
mod usage;

use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};

pub(super) use books::set_recount;
use books::{Books, Entry, books};
pub(crate) use process::Process;
pub use usage::{SharedUsage, shared_usage};

use super::arena::{Arena, Block};
use super::held::{Held, Reference};
use super::space::Space;
use super::tables::Kind;
use crate::error::TaskError;

/// A new object's memory, and what is known of its contents.
pub(crate) struct New {
    pub(crate) held: Arc<Held>,
    /// All of it reads as zeros.
    pub(crate) zeroed: bool,
}

/// Makes an object of `len` bytes, at least one, that starts at a multiple of `alignment`.
pub(crate) fn create(len: u64, alignment: u64, kind: Kind) -> Result<New, TaskError> {
    let arena = Arena::get().map_err(TaskError::Spawn)?;
    let mut books = books();
    let id = books.new_id()?;
    match books.take(&arena, len, alignment) {
        Ok((memory, offset, zeroed)) => {
            let nonce = books.new_nonce();
            let held = Arc::new(Held::new(Reference { id, nonce, offset, len }));
            let here = Arc::downgrade(&held);
            books.entries[id as usize] =
                Entry { nonce, memory: Some(memory), offset, len, kind: Some(kind), here, ..Entry::default() };
            books.by_offset.insert(offset, id);
            let object = Space::get()?.tables().object(id);
            object.orphan.store(0, SeqCst);
            object.offset.store(offset, SeqCst);
            object.len.store(len, SeqCst);
            object.kind.store(kind as u32, SeqCst);
            object.nonce.store(nonce, SeqCst);
            Ok(New { held, zeroed })
        }
        Err(error) => {
            books.free.push(id);
            Err(error)
        }
    }
}

/// Takes a handle of a kind that came from somewhere. `None` if its object is gone, or is none of that kind.
pub(super) fn adopt(id: u32, nonce: u64, kind: Kind) -> Option<Arc<Held>> {
    let mut books = books();
    let entry = books.entries.get_mut(id as usize)?;
    let says = Space::existing()?.tables().object(id).kind.load(SeqCst);
    // Whether it is shared a worker may say, which is then true for ever.
    if kind == Kind::Slice && entry.kind == Some(Kind::Vec) && says == kind as u32 {
        entry.kind = Some(kind);
    }
    if entry.kind != Some(kind) || says != kind as u32 {
        return None;
    }
    books.adopt(id, nonce)
}

/// An object with one owner has none any more.
pub(super) fn set_shared(id: u32) {
    let mut books = books();
    if let Some(entry) = books.entries.get_mut(id as usize) {
        entry.kind = Some(Kind::Slice);
    }
}

/// Takes a handle of any kind.
pub(crate) fn named(id: u64, nonce: u64) -> Option<Arc<Held>> {
    books().adopt(u32::try_from(id).ok()?, nonce)
}

/// The program's last handle is gone.
pub(super) fn let_go(held: &Held) {
    let id = held.reference().id;
    let mut books = books();
    let Some(entry) = books.entries.get_mut(id as usize) else { return };
    // Somebody may have taken another handle meanwhile.
    if std::ptr::eq(entry.here.as_ptr(), held) {
        entry.here = Weak::new();
        books.free_if_unused(id);
    }
}

/// The object whose memory holds an offset.
pub(super) fn at(offset: u64) -> Option<Arc<Held>> {
    let mut books = books();
    let (_, &id) = books.by_offset.range(..=offset).next_back()?;
    let entry = &books.entries[id as usize];
    let nonce = entry.nonce;
    if offset - entry.offset > entry.len {
        return None;
    }
    books.adopt(id, nonce)
}

/// A worker has let go of an object that only workers had.
pub(crate) fn released(id: u64) {
    if let Ok(id) = u32::try_from(id) {
        books().free_if_unused(id);
    }
}

/// More memory for an object. It is freed with it.
pub(crate) fn grow(id: u64, nonce: u64, len: u64) -> Result<u64, TaskError> {
    let arena = Arena::get().map_err(TaskError::Spawn)?;
    // Not under the lock: this may take a while.
    let block = arena.take(len)?;
    let offset = block.offset();
    let mut books = books();
    let entry = usize::try_from(id).ok().and_then(|id| books.entries.get_mut(id));
    match entry.filter(|entry| entry.nonce == nonce && entry.memory.is_some()) {
        Some(entry) => {
            entry.more.push(block);
            Ok(offset)
        }
        None => Err(TaskError::OutOfSharedMemory { requested: len, available: 0 }),
    }
}

/// How many bytes an object has been given.
pub(super) fn granted(id: u32) -> u64 {
    let books = books();
    books.entries.get(id as usize).map_or(0, |entry| entry.len + entry.more.iter().map(Block::len).sum::<u64>())
}

/// A handle of `object` is about to be put into a container.
pub(crate) fn store(container: (u64, u64), object: (u64, u64)) -> bool {
    let mut books = books();
    let valid = |books: &Books, (id, nonce): (u64, u64)| {
        let entry = usize::try_from(id).ok().and_then(|id| books.entries.get(id));
        entry.is_some_and(|entry| entry.nonce == nonce && entry.memory.is_some())
    };
    if !valid(&books, container) || !valid(&books, object) {
        return false;
    }
    *books.entries[container.0 as usize].contents.entry(object.0 as u32).or_default() += 1;
    books.entries[object.0 as usize].stored += 1;
    true
}

/// A handle of an object has been taken out of a container, as the process `by` says; the program itself if there is none.
pub(crate) fn unstore(container: u64, object: u64, by: Option<&Process>) {
    let mut books = books();
    if let Some(process) = by {
        // Under the same lock, so that it is read and done at once.
        books.withdrawn[process.token().place() as usize] += 1;
    }
    let Some(entry) = usize::try_from(container).ok().and_then(|id| books.entries.get_mut(id)) else { return };
    let Ok(object) = u32::try_from(object) else { return };
    let Some(count) = entry.contents.get_mut(&object) else { return };
    *count -= 1;
    if *count == 0 {
        entry.contents.remove(&object);
    }
    books.unstore(object, 1);
}

/// The program's handle of a container, and its kind.
pub(super) fn container(id: u32, nonce: u64) -> Option<(Arc<Held>, Option<Kind>)> {
    let mut books = books();
    let held = books.adopt(id, nonce)?;
    Some((held, books.entries[id as usize].kind))
}

/// So many handles of each object have been found in a container. False if something has been said that has not been read.
pub(super) fn correct(id: u32, found: &HashMap<u32, u64>) -> bool {
    books().correct(id, found)
}

/// The object behind a static of the executable: `held` if there is none yet.
pub(crate) fn settle_static(offset: u64, held: Option<Arc<Held>>) -> Option<Arc<Held>> {
    // A handle that is not used must not end under the lock, which its end takes.
    let mut books = books();
    let settled = match (books.statics.get(&offset), &held) {
        (Some(first), _) => Some(Arc::clone(first)),
        (None, Some(held)) => {
            books.statics.insert(offset, Arc::clone(held));
            Some(Arc::clone(held))
        }
        (None, None) => None,
    };
    drop(books);
    settled
}
