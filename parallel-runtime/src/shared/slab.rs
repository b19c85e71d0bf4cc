//! Memory for objects that are much smaller than a page: thousands of them take neither a page nor a descriptor each.
//!
//! Slabs of 64 KiB are cut into pieces of one size, a power of two. Like all records of what is taken it is the program's alone. A
//! slab is kept for the next objects once it is there.

use std::sync::Arc;

use super::arena::{Arena, Block};
use crate::error::TaskError;

/// The smallest piece, in bytes: a cache line, so that objects do not slow each other down.
const SMALLEST: u64 = 64;

/// The largest.
pub(super) const LARGEST: u64 = 2048;

const SLAB: u64 = 64 << 10;

const CLASSES: usize = (LARGEST / SMALLEST).ilog2() as usize + 1;

#[derive(Default)]
pub(super) struct Slabs {
    /// By size: offsets of free pieces.
    free: [Vec<u64>; CLASSES],
    slabs: Vec<Block>,
}

/// A piece of a slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) offset: u64,
    class: usize,
}

impl Slabs {
    /// Takes a piece of at least `len` bytes, at a multiple of its size.
    pub(super) fn take(&mut self, arena: &Arc<Arena>, len: u64) -> Result<Piece, TaskError> {
        debug_assert!(len <= LARGEST);
        let size = len.next_power_of_two().max(SMALLEST);
        let class = (size / SMALLEST).ilog2() as usize;
        if self.free[class].is_empty() {
            let slab = arena.take(SLAB)?;
            let offsets = (0..SLAB / size).rev().map(|piece| slab.offset() + piece * size);
            self.free[class].extend(offsets);
            self.slabs.push(slab);
        }
        let offset = self.free[class].pop().expect("a slab holds pieces");
        Ok(Piece { offset, class })
    }

    pub(super) fn give_back(&mut self, piece: Piece) {
        self.free[piece.class].push(piece.offset);
    }
}

#[cfg(test)]
impl Piece {
    fn len(self) -> u64 {
        SMALLEST << self.class
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_large_enough_aligned_and_never_overlap() {
        let arena = Arena::get().unwrap();
        let mut slabs = Slabs::default();
        let mut taken: Vec<(u64, u64)> = Vec::new();
        for len in (1..=LARGEST).step_by(13) {
            let piece = slabs.take(&arena, len).unwrap();
            assert!(piece.len() >= len && piece.offset % piece.len() == 0);
            for (offset, len) in &taken {
                assert!(piece.offset + piece.len() <= *offset || offset + len <= piece.offset);
            }
            taken.push((piece.offset, piece.len()));
        }
        let piece = slabs.take(&arena, 100).unwrap();
        slabs.give_back(piece);
        assert_eq!(slabs.take(&arena, 100).unwrap(), piece);
    }
}
