//! A worker's result region: where it puts results that are too large for the slot and too small for a block of their own.
//!
//! The worker alone allocates here, as in a ring, and keeps the records in its private memory. Each part starts with a header,
//! whose first word the program sets to 1 when it has copied the result out; the worker takes parts back in order, as far as
//! they are released. A worker that is replaced leaves nothing behind: the program copies what was completed, and the next
//! worker starts with an empty ring.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes before each part.
pub(super) const HEADER: u64 = 16;

/// Parts start at multiples of this.
pub(super) const ALIGNMENT: u64 = 16;

pub(super) struct Region {
    start: NonNull<u8>,
    len: u64,
    /// Start and end of the parts in use, oldest first.
    parts: VecDeque<(u64, u64)>,
}

/// A part of the region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Offset of the bytes in the region.
    pub(super) offset: u64,
    pub(super) len: u64,
}

impl Region {
    /// # Safety
    ///
    /// `len` bytes from `start`, aligned to 16, stay mapped, and no thread but this and the program's release of parts
    /// touches them.
    pub(super) unsafe fn new(start: NonNull<u8>, len: u64) -> Self {
        Self { start, len, parts: VecDeque::new() }
    }

    fn released(&self, part: u64) -> &AtomicU32 {
        // SAFETY: `part` is the start of a part, which lies inside the region.
        let header = unsafe { self.start.add(part as usize) };
        // SAFETY: parts are aligned to 16, and the header is only used as an atomic.
        unsafe { header.cast::<AtomicU32>().as_ref() }
    }

    /// Takes a part of `len` bytes, if there is room.
    pub(super) fn take(&mut self, len: u64) -> Option<Part> {
        while let Some(&(start, _)) = self.parts.front() {
            if self.released(start).load(Ordering::Acquire) == 0 {
                break;
            }
            self.parts.pop_front();
        }
        let size = (HEADER + len).next_multiple_of(ALIGNMENT);
        let start = match (self.parts.front(), self.parts.back()) {
            (Some(&(oldest, _)), Some(&(_, free))) => {
                if free > oldest {
                    // In use is the middle: there is room at the end, or else at the start.
                    if self.len - free >= size {
                        free
                    } else if oldest >= size {
                        0
                    } else {
                        return None;
                    }
                } else if oldest - free >= size {
                    free
                } else {
                    return None;
                }
            }
            _ if size <= self.len => 0,
            _ => return None,
        };
        self.released(start).store(0, Ordering::Relaxed);
        self.parts.push_back((start, start + size));
        Some(Part { offset: start + HEADER, len })
    }

    /// Gives back what the newest part does not need, or all of it if that is nothing.
    pub(super) fn shrink_newest(&mut self, len: u64) {
        if len == 0 {
            self.parts.pop_back();
        } else if let Some((start, end)) = self.parts.back_mut() {
            *end = (*start + HEADER + len).next_multiple_of(ALIGNMENT).min(*end);
        }
    }

    /// The memory of a part.
    pub(super) fn memory(&self, part: Part) -> NonNull<u8> {
        debug_assert!(part.offset + part.len <= self.len);
        // SAFETY: parts lie inside the region.
        unsafe { self.start.add(part.offset as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(4096))]
    struct Memory([u8; 4096]);

    fn region(memory: &mut Memory) -> Region {
        // SAFETY: the memory outlives the region in each test, and nothing else touches it.
        unsafe { Region::new(NonNull::from(&mut memory.0).cast(), 4096) }
    }

    fn release(region: &Region, part: Part) {
        region.released(part.offset - HEADER).store(1, Ordering::Release);
    }

    #[test]
    fn parts_in_use_never_overlap_and_are_reused_once_released() {
        let mut memory = Memory([0; 4096]);
        let mut region = region(&mut memory);
        let mut held: VecDeque<Part> = VecDeque::new();
        for step in 0..10_000_u64 {
            match region.take(step * 37 % 600) {
                Some(part) => {
                    for other in &held {
                        assert!(part.offset + part.len <= other.offset || other.offset + other.len <= part.offset);
                    }
                    held.push_back(part);
                }
                None => release(&region, held.pop_front().expect("a full region has parts")),
            }
        }
    }

    #[test]
    fn a_shrunk_part_leaves_room_for_the_next() {
        let mut memory = Memory([0; 4096]);
        let mut region = region(&mut memory);
        region.take(4000).expect("room");
        assert_eq!(region.take(100), None);
        region.shrink_newest(10);
        assert!(region.take(100).is_some());
    }

    #[test]
    fn what_is_larger_than_the_region_is_refused() {
        let mut memory = Memory([0; 4096]);
        assert_eq!(region(&mut memory).take(5000), None);
    }
}
