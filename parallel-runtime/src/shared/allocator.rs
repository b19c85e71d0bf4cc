//! Which parts of the arena are taken.
//!
//! The program alone allocates and frees, and keeps the records in its private memory, so that no worker can damage them.
//! Sizes are rounded up to classes, four to each doubling; a freed block waits in its class and keeps its pages, because
//! copying into fresh pages takes five times as long as into warm ones. Rounding costs address space, not memory.

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
    /// Bytes in freed blocks that keep their pages.
    warm: u64,
    /// Something was taken since `was_used` was last asked.
    used: bool,
}

impl Allocator {
    pub(super) fn new(start: u64, end: u64) -> Self {
        Self { top: start, end, free: vec![Vec::new(); CLASSES], warm: 0, used: false }
    }

    /// Takes a range of at least `len` bytes, and says whether its pages have been used before.
    pub(super) fn take(&mut self, len: u64) -> Option<(Range, bool)> {
        let class = class_of(len)?;
        let found = self.free[class].pop().or_else(|| self.fresh(class)).or_else(|| {
            // A larger block is better than none.
            self.free[class + 1..].iter_mut().find_map(Vec::pop)
        })?;
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

    /// Gives a range back.
    pub(super) fn give_back(&mut self, range: Range, warm: bool) {
        if warm {
            self.warm += range.len;
        }
        if let Some(class) = class_of(range.len) {
            self.free[class].push(Free { range, warm });
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

    /// Bytes that were never taken, for messages: a block of this size may or may not be had.
    pub(super) fn untouched(&self) -> u64 {
        self.end - self.top
    }

    /// The pages of a block that was marked as cold could not be discarded.
    pub(super) fn is_warm_again(&mut self, range: Range) {
        let free = self.free.iter_mut().flatten().find(|free| free.range == range);
        if let Some(free) = free {
            free.warm = true;
            self.warm += range.len;
        }
    }

    /// Marks all freed blocks as cold, and gives those whose pages are to be discarded.
    pub(super) fn cool(&mut self) -> Vec<Range> {
        self.warm = 0;
        let warm = self.free.iter_mut().flatten().filter(|free| free.warm);
        warm.map(|free| {
            free.warm = false;
            free.range
        })
        .collect()
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
