//! Which parts of the arena are taken.
//!
//! The program alone allocates and frees, and keeps the records in its private memory, so that no worker can damage them.
//! Sizes are rounded up to classes, four to each doubling; a freed block waits in its class and keeps its pages, because
//! copying into fresh pages takes five times as long as into warm ones. Rounding costs address space, not memory.
//!
//! When no address is left that was never taken, freed blocks are joined with their neighbours, and cut anew: so memory
//! that was taken in any sizes can be had again in any other.

use std::collections::BTreeMap;

/// The unit of allocation, in bytes.
pub(super) const PAGE: u64 = 4096;

/// Four classes to each doubling, from one page to 2^40 pages.
const CLASSES: usize = 4 * 41;

/// A range of the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// A freed range, and whether its pages are still there.
#[derive(Debug, Clone, Copy)]
struct Free {
    range: Range,
    warm: bool,
}

pub(super) struct Allocator {
    /// Everything from here to `end` was never taken.
    top: u64,
    end: u64,
    free: Vec<Vec<Free>>,
    /// Freed ranges of any length that were joined, by offset: their length, and whether pages are still there.
    joined: BTreeMap<u64, (u64, bool)>,
    /// Something was given back since freed blocks were joined.
    can_be_joined: bool,
    /// Bytes in freed blocks that keep their pages.
    warm: u64,
    /// Something was taken since `was_used` was last asked.
    used: bool,
}

impl Allocator {
    pub(super) fn new(start: u64, end: u64) -> Self {
        Self {
            top: start,
            end,
            free: vec![Vec::new(); CLASSES],
            joined: BTreeMap::new(),
            can_be_joined: false,
            warm: 0,
            used: false,
        }
    }

    /// Takes a range of at least `len` bytes, and says whether its pages have been used before.
    pub(super) fn take(&mut self, len: u64) -> Option<(Range, bool)> {
        let class = class_of(len)?;
        let found = self.free[class].pop().or_else(|| self.fresh(class)).or_else(|| self.cut(class_len(class)))?;
        if found.warm {
            self.warm -= found.range.len;
        }
        self.used = true;
        Some((found.range, found.warm))
    }

    fn fresh(&mut self, class: usize) -> Option<Free> {
        let len = class_len(class);
        if self.end - self.top < len {
            return None;
        }
        let range = Range { offset: self.top, len };
        self.top += len;
        Some(Free { range, warm: false })
    }

    /// Cuts a block out of what was freed.
    #[cold]
    fn cut(&mut self, len: u64) -> Option<Free> {
        let fits = |joined: &BTreeMap<u64, (u64, bool)>| {
            // The smallest: what is large stays large.
            joined
                .iter()
                .filter(|(_, (room, _))| *room >= len)
                .min_by_key(|(_, (room, _))| *room)
                .map(|(offset, _)| *offset)
        };
        let offset = fits(&self.joined).or_else(|| {
            self.join();
            fits(&self.joined)
        })?;
        let (room, warm) = self.joined.remove(&offset)?;
        if room > len {
            self.joined.insert(offset + len, (room - len, warm));
        }
        Some(Free { range: Range { offset, len }, warm })
    }

    /// Joins freed blocks with their neighbours.
    fn join(&mut self) {
        if !std::mem::take(&mut self.can_be_joined) {
            return;
        }
        for free in self.free.iter_mut().flat_map(std::mem::take) {
            self.joined.insert(free.range.offset, (free.range.len, free.warm));
        }
        let mut before: Option<(u64, u64, bool)> = None;
        for (offset, (len, warm)) in std::mem::take(&mut self.joined) {
            before = match before {
                Some((start, length, was_warm)) if start + length == offset => {
                    // All of it counts as warm then, and is cooled together.
                    self.warm += if warm == was_warm {
                        0
                    } else if warm {
                        length
                    } else {
                        len
                    };
                    Some((start, length + len, warm || was_warm))
                }
                Some((start, length, was_warm)) => {
                    self.joined.insert(start, (length, was_warm));
                    Some((offset, len, warm))
                }
                None => Some((offset, len, warm)),
            };
        }
        if let Some((start, length, warm)) = before {
            self.joined.insert(start, (length, warm));
        }
    }

    /// Gives a range back.
    pub(super) fn give_back(&mut self, range: Range, warm: bool) {
        if warm {
            self.warm += range.len;
        }
        if let Some(class) = class_of(range.len) {
            self.free[class].push(Free { range, warm });
            self.can_be_joined = true;
        }
    }

    /// Whether something was taken since the last call.
    pub(super) fn was_used(&mut self) -> bool {
        std::mem::take(&mut self.used)
    }

    /// Bytes in freed blocks that keep their pages.
    pub(super) fn warm(&self) -> u64 {
        self.warm
    }

    /// Bytes that are not taken, for messages: a block of this size may or may not be had.
    pub(super) fn left(&self) -> u64 {
        let freed = self.free.iter().flatten().map(|free| free.range.len).sum::<u64>();
        self.end - self.top + freed + self.joined.values().map(|(len, _)| len).sum::<u64>()
    }

    /// The pages of a block that was marked as cold could not be discarded.
    pub(super) fn is_warm_again(&mut self, range: Range) {
        let free = self.free.iter_mut().flatten().find(|free| free.range == range).map(|free| &mut free.warm);
        let joined = self.joined.get_mut(&range.offset).map(|(_, warm)| warm);
        if let Some(warm) = free.or(joined) {
            *warm = true;
            self.warm += range.len;
        }
    }

    /// Marks all freed blocks as cold, and gives those whose pages are to be discarded.
    pub(super) fn cool(&mut self) -> Vec<Range> {
        self.warm = 0;
        let blocks = self.free.iter_mut().flatten().map(|free| (free.range, &mut free.warm));
        let joined = self.joined.iter_mut().map(|(&offset, (len, warm))| (Range { offset, len: *len }, warm));
        blocks.chain(joined).filter_map(|(range, warm)| std::mem::take(warm).then_some(range)).collect()
    }
}

/// The class whose blocks hold `len` bytes.
fn class_of(len: u64) -> Option<usize> {
    let pages = len.div_ceil(PAGE).max(1);
    // All classes below this one are too small.
    let first = 4 * pages.ilog2() as usize;
    (first..CLASSES).find(|class| class_pages(*class) >= pages)
}

/// 1, 1, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, ... pages.
fn class_pages(class: usize) -> u64 {
    let (doubling, quarter) = (class / 4, (class % 4) as u64);
    let base = 1_u64 << doubling;
    base + base * quarter / 4
}

fn class_len(class: usize) -> u64 {
    class_pages(class) * PAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_what_it_was_asked_for_and_wastes_a_quarter_at_most() {
        for pages in 1..5_000_u64 {
            let len = class_len(class_of(pages * PAGE).expect("in range")) / PAGE;
            assert!(len >= pages && len * 4 <= pages * 5 + 4, "{pages} pages were given {len}");
        }
    }

    #[test]
    fn taken_ranges_never_overlap() {
        let mut allocator = Allocator::new(PAGE, 1 << 30);
        let mut taken: Vec<Range> = Vec::new();
        let mut state = 1_u64;
        for step in 0..5_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if step % 3 == 2 && !taken.is_empty() {
                let range = taken.swap_remove((state >> 33) as usize % taken.len());
                allocator.give_back(range, true);
            } else if let Some((range, _)) = allocator.take((state >> 33) % 200_000) {
                for other in &taken {
                    assert!(range.offset + range.len <= other.offset || other.offset + other.len <= range.offset);
                }
                taken.push(range);
            }
        }
    }

    #[test]
    fn a_freed_block_is_used_again_before_fresh_memory() {
        let mut allocator = Allocator::new(0, 1 << 30);
        let (first, warm) = allocator.take(10_000).expect("room");
        assert!(!warm);
        allocator.give_back(first, true);
        assert_eq!(allocator.take(9_000), Some((first, true)));
    }

    #[test]
    fn what_was_taken_in_any_sizes_can_be_had_again_in_any_other() {
        const END: u64 = 1 << 30;
        let mut state = 1_u64;
        let mut allocator = Allocator::new(0, END);
        for round in 0..20 {
            let mut taken = Vec::new();
            let mut size = END;
            loop {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                match allocator.take(size) {
                    Some((range, _)) => taken.push(range),
                    None if size == PAGE => break,
                    None => size = (size / 8 * (1 + (state >> 33) % 7)).max(PAGE),
                }
            }
            assert!(allocator.left() < PAGE, "round {round}: {} bytes cannot be had", allocator.left());
            assert_eq!(taken.iter().map(|range| range.len).sum::<u64>(), END);
            for (index, range) in taken.into_iter().enumerate() {
                allocator.give_back(range, index % 3 == 0);
            }
        }
        let (whole, _) = allocator.take(END).expect("all of it in one piece");
        assert_eq!((whole.offset, whole.len), (0, END));
        allocator.give_back(whole, true);
        assert_eq!(allocator.warm(), END);
        assert_eq!(allocator.cool(), [whole]);
        assert_eq!(allocator.warm(), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut allocator = Allocator::new(0, 1 << 20);
        assert_eq!(allocator.take(1 << 21), None);
        assert!(allocator.take(1 << 20).is_some());
        assert_eq!(allocator.take(1), None);
    }

    #[test]
    fn cooling_names_each_warm_block_once() {
        let mut allocator = Allocator::new(0, 1 << 30);
        let (range, _) = allocator.take(PAGE).expect("room");
        allocator.give_back(range, true);
        assert_eq!(allocator.cool(), [range]);
        assert_eq!(allocator.cool(), []);
        assert_eq!(allocator.take(PAGE), Some((range, false)));
    }
}
