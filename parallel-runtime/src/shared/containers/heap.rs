//! The memory of one container: blocks of many sizes in chunks that the program gives it.
//!
//! What is allocated is what the container's structure reaches; the lists of free blocks are only a summary of the rest. So a process
//! that dies anywhere in here does no harm: the process that takes the container's lock from it walks the structure and
//! makes the lists anew ([`Heap::rebuild`]). All of it is only touched under the container's lock.
//!
//! Offsets are those of the arena. Each is checked to lie in it before it is used: a process that runs wild may have written
//! anything, and must not make another one touch memory outside.

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::words::set;
use crate::error::TaskError;
use crate::ipc::control::ControlRequest;
use crate::ipc::link;
use crate::shared::handle::{Handle, Reference};
use crate::shared::objects;
use crate::shared::space::Space;
use crate::sys::role;

/// Blocks are multiples of this, in bytes, and start at multiples of it.
const GRANULE: u64 = 16;

/// Four classes of sizes to each doubling, from one granule to 2^32 of them.
const CLASSES: usize = 4 * 33;

/// The first chunk, in bytes. Each further one is as large as all before, up to [`LARGEST_CHUNK`].
const FIRST_CHUNK: u64 = 4 << 10;
const LARGEST_CHUNK: u64 = 16 << 20;

/// Bytes before the contents of a block: its class.
pub(super) const BLOCK_HEAD: u64 = 8;

/// Bytes before the blocks of a chunk: the chunk before it, and its length.
const CHUNK_HEAD: u64 = 16;

/// The records of a heap, in shared memory.
#[repr(C)]
pub(super) struct HeapHead {
    /// The newest chunk, or 0.
    chunks: AtomicU64,
    /// Bytes of all chunks.
    size: AtomicU64,
    /// The part of the newest chunk that has not been given out.
    fresh: AtomicU64,
    fresh_end: AtomicU64,
    /// By class: the first free block, or 0. Each holds the next.
    free: [AtomicU64; CLASSES],
}

/// A heap whose container's lock this thread holds.
#[derive(Clone, Copy)]
pub(super) struct Heap<'h> {
    pub(super) head: &'h HeapHead,
    pub(super) handle: &'h Arc<Handle>,
    pub(super) space: &'static Space,
}

/// # Panics
///
/// Always.
#[cold]
pub(super) fn damaged() -> ! {
    panic!("a process has written over a shared container")
}

/// 1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 10, ... granules.
fn class_size(class: usize) -> u64 {
    let (doubling, quarter) = (class / 4, (class % 4) as u64);
    let base = 1_u64 << doubling;
    (base + base * quarter / 4) * GRANULE
}

/// The smallest class for so many bytes.
fn class_of(size: u64) -> Option<usize> {
    let granules = size.div_ceil(GRANULE).max(1);
    let first = 4 * granules.ilog2() as usize;
    (first..CLASSES).find(|class| class_size(*class) >= granules * GRANULE)
}

/// The largest class that fits into so many bytes.
fn class_within(size: u64) -> Option<usize> {
    let granules = size / GRANULE;
    if granules == 0 {
        return None;
    }
    let first = 4 * granules.ilog2() as usize;
    (first..(first + 4).min(CLASSES)).rev().find(|class| class_size(*class) <= size)
}

impl Heap<'_> {
    /// Bytes of all chunks.
    #[cfg(test)]
    pub(super) fn size(&self) -> u64 {
        self.head.size.load(Ordering::Relaxed)
    }

    /// A word of shared memory.
    ///
    /// # Panics
    ///
    /// If it lies outside: a process has written over the container.
    #[inline(always)]
    pub(super) fn word(&self, offset: u64) -> &'static AtomicU64 {
        let Some(start) = self.space.at(offset, 8).filter(|start| start.cast::<AtomicU64>().is_aligned()) else {
            damaged()
        };
        // SAFETY: eight aligned bytes in the arena, which stays mapped; they are only used as an atomic, or by copying.
        unsafe { start.cast::<AtomicU64>().as_ref() }
    }

    #[inline(always)]
    pub(super) fn load(&self, offset: u64) -> u64 {
        self.word(offset).load(Ordering::Relaxed)
    }

    /// Writes a word. What this process has written before is there for the process that sees the word.
    #[inline(always)]
    pub(super) fn store(&self, offset: u64, value: u64) {
        set(self.word(offset), value);
    }

    /// Copies bytes into shared memory.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) {
        #[cfg(test)]
        super::words::step();
        let Some(start) = self.space.at(offset, bytes.len() as u64) else { damaged() };
        // SAFETY: the target lies in the arena; `bytes` is private memory, so the two do not overlap; the lock keeps others away.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start.as_ptr(), bytes.len()) };
    }

    /// Copies bytes out of shared memory.
    pub(super) fn read(&self, offset: u64, len: u64, bytes: &mut Vec<u8>) {
        let Some(start) = self.space.at(offset, len) else { damaged() };
        bytes.reserve(len as usize);
        let end = bytes.len();
        // SAFETY: the vector has room for `len` more bytes, which its spare capacity starts with.
        let target = unsafe { bytes.as_mut_ptr().add(end) };
        // SAFETY: the source lies in the arena, the target in private memory with room for `len` bytes.
        unsafe { ptr::copy_nonoverlapping(start.as_ptr(), target, len as usize) };
        // SAFETY: the bytes up to there have just been written.
        unsafe { bytes.set_len(end + len as usize) };
    }

    /// Whether memory holds these bytes.
    pub(super) fn equals(&self, offset: u64, bytes: &[u8]) -> bool {
        let Some(start) = self.space.at(offset, bytes.len() as u64) else { damaged() };
        // SAFETY: the range lies in the arena, and the lock keeps writers away.
        let there = unsafe { std::slice::from_raw_parts(start.as_ptr(), bytes.len()) };
        there == bytes
    }

    /// Takes a block for `len` bytes of contents, and gives the offset of its head. It is the structure's once the structure reaches it.
    pub(super) fn allocate(&self, len: u64) -> Result<u64, TaskError> {
        let too_large = || TaskError::OutOfSharedMemory { requested: len, available: 0 };
        let size = len.checked_add(BLOCK_HEAD).ok_or_else(too_large)?;
        let class = class_of(size).ok_or_else(too_large)?;
        if let Some(block) = self.pop(class) {
            return Ok(block);
        }
        let size = class_size(class);
        let mut fresh = self.head.fresh.load(Ordering::Relaxed);
        if self.head.fresh_end.load(Ordering::Relaxed).saturating_sub(fresh) < size {
            if let Some((larger, block)) = (class + 1..CLASSES).find_map(|class| Some((class, self.pop(class)?))) {
                self.store(block, class as u64);
                self.cut(block + size, block.saturating_add(class_size(larger)));
                return Ok(block);
            }
            fresh = self.new_chunk(size)?;
        }
        set(&self.head.fresh, fresh + size);
        self.store(fresh, class as u64);
        Ok(fresh)
    }

    /// A free block of a class.
    fn pop(&self, class: usize) -> Option<u64> {
        let first = self.head.free[class].load(Ordering::Relaxed);
        if first == 0 {
            return None;
        }
        set(&self.head.free[class], self.load(first + BLOCK_HEAD));
        Some(first)
    }

    /// Gives a block back that the structure does not reach any more.
    pub(super) fn free(&self, block: u64) {
        let class = self.load(block) as usize;
        let Some(first) = self.head.free.get(class) else { damaged() };
        self.store(block + BLOCK_HEAD, first.load(Ordering::Relaxed));
        set(first, block);
    }

    /// The bytes that a block has for its contents.
    pub(super) fn room(&self, block: u64) -> u64 {
        let class = self.load(block) as usize;
        if class >= CLASSES {
            damaged();
        }
        class_size(class) - BLOCK_HEAD
    }

    /// Whether the container can hold so many bytes. What a process has written over must not make the program ask for memory without
    /// end.
    pub(super) fn may_hold(&self, len: u64) -> bool {
        len <= LARGEST_CHUNK || role::has_borrowed_objects() || len <= objects::granted(self.handle.reference().id)
    }

    fn new_chunk(&self, least: u64) -> Result<u64, TaskError> {
        let size = self.head.size.load(Ordering::Relaxed);
        let wanted = size.clamp(FIRST_CHUNK, LARGEST_CHUNK).max(least + CHUNK_HEAD);
        let Reference { id, nonce, .. } = self.handle.reference();
        let chunk = if role::has_borrowed_objects() {
            match link::ask(&ControlRequest::More { id: id.into(), nonce, len: wanted }) {
                [0, available, ..] => return Err(TaskError::OutOfSharedMemory { requested: wanted, available }),
                [offset, ..] => offset,
            }
        } else {
            objects::grow(id.into(), nonce, wanted, None)?
        };
        // What is left of the one before is not lost.
        self.cut(self.head.fresh.load(Ordering::Relaxed), self.head.fresh_end.load(Ordering::Relaxed));
        self.store(chunk, self.head.chunks.load(Ordering::Relaxed));
        self.store(chunk + 8, wanted);
        set(&self.head.chunks, chunk);
        set(&self.head.size, size.saturating_add(wanted));
        set(&self.head.fresh_end, chunk + wanted / GRANULE * GRANULE);
        set(&self.head.fresh, chunk + CHUNK_HEAD);
        Ok(chunk + CHUNK_HEAD)
    }

    /// Makes free blocks of a range.
    fn cut(&self, mut start: u64, end: u64) {
        while let Some(class) = class_within(end.saturating_sub(start)) {
            self.store(start, class as u64);
            self.free(start);
            start += class_size(class);
        }
    }

    /// Makes the free lists anew: free is what is not in one of these blocks.
    pub(super) fn rebuild(&self, mut blocks: Vec<u64>) {
        for first in &self.head.free {
            set(first, 0);
        }
        set(&self.head.fresh, 0);
        set(&self.head.fresh_end, 0);
        blocks.sort_unstable();
        let mut chunk = self.head.chunks.load(Ordering::Acquire);
        let mut size = 0_u64;
        while chunk != 0 {
            let (before, len) = (self.load(chunk), self.load(chunk + 8));
            let end = chunk.saturating_add(len / GRANULE * GRANULE);
            if self.space.at(chunk, len).is_none() || len < CHUNK_HEAD {
                damaged();
            }
            let mut free = chunk + CHUNK_HEAD;
            let from = blocks.partition_point(|block| *block < free);
            for &block in blocks[from..].iter().take_while(|block| **block < end) {
                self.cut(free, block);
                free = block.saturating_add(self.room(block) + BLOCK_HEAD);
            }
            self.cut(free, end);
            size = size.saturating_add(len);
            chunk = before;
            // A circle has no end.
            if !self.may_hold(size) || size > 1 << 40 {
                damaged();
            }
        }
        set(&self.head.size, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_what_it_was_asked_for() {
        for size in 1..20_000 {
            let class = class_of(size).unwrap();
            assert!(class_size(class) >= size && class_size(class) <= size.div_ceil(16) * 16 * 5 / 4 + 16);
            assert!(class == 0 || class_size(class - 1) < size || class_size(class - 1) == class_size(class));
        }
    }

    #[test]
    fn a_range_is_cut_into_classes_that_fit() {
        for size in 16..20_000_u64 {
            let class = class_within(size).unwrap();
            assert!(class_size(class) <= size && class_size(class) * 2 > size - 16);
        }
        assert_eq!(class_within(15), None);
    }
}
