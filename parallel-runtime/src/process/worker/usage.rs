//! How much memory a worker has, and its limit.
//!
//! What a fresh worker needs for itself is added to the user's limit, so that a small limit leaves room for a task. An allocation beyond it fails; in Rust
//! that aborts, which costs the task. What counts, and how the system keeps a limit: see [`limits`](crate::sys::limits).
//!
//! Memory that tasks leave behind (leaks, caches) must not take from later tasks until one of them fails for it. So between
//! two tasks the worker compares, and retires when more than half of the room that `init` left is taken: a task that needs no
//! more than half of the limit never fails because of others.

use std::cell::Cell;
use std::io;

use crate::function::kept;
use crate::sys::limits::DataSize;

pub(super) struct Usage {
    size: DataSize,
    /// In bytes: what the kernel allows in all.
    most: u64,
    /// In bytes: with more than this it retires.
    high: Cell<u64>,
    /// How many values the worker kept when that was set.
    kept: Cell<u64>,
}

impl Usage {
    /// A limit of so many bytes beyond what the process has now.
    pub(super) fn new(limit: u64) -> io::Result<Self> {
        let size = DataSize::new()?;
        let most = size.now()?.saturating_add(limit);
        Ok(Self { size, most, high: Cell::new(most), kept: Cell::new(0) })
    }

    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// What is taken now belongs to the worker, not to its tasks.
    pub(super) fn init_is_over(&self) {
        let taken = self.size.now().unwrap_or(0);
        self.high.set(taken + self.most.saturating_sub(taken) / 2);
        self.kept.set(kept::made());
    }

    /// Whether tasks have left more behind than they may. Takes about two microseconds.
    pub(super) fn is_high(&self) -> bool {
        if self.kept.get() != kept::made() {
            // A `state` belongs to the worker as what `init` has left.
            self.init_is_over();
        }
        self.size.now().is_ok_and(|taken| taken > self.high.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(parallel_portable, ignore = "it is told by procfs")]
    fn memory_that_is_kept_is_seen() {
        let usage = Usage::new(64 << 20).unwrap();
        usage.init_is_over();
        assert!(!usage.is_high());
        let kept = vec![1_u8; 100 << 20];
        assert!(usage.is_high());
        assert_eq!(std::hint::black_box(kept).len(), 100 << 20);
    }
}
