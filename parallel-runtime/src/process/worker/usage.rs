//! How much memory a worker has, and its limit.
//!
//! The kernel keeps the limit (`RLIMIT_DATA`): it counts private writable memory, that is the heap, anonymous mappings and
//! stacks of threads, and neither the arena nor the executable. What a fresh worker needs for itself is added to the user's limit, so that a
//! small limit leaves room for a task. An allocation beyond it fails; in Rust that aborts, which costs the task.
//!
//! Memory that tasks leave behind (leaks, caches) must not take from later tasks until one of them fails for it. So between
//! two tasks the worker compares, and retires when more than half of the room that `init` left is taken: a task that needs no
//! more than half of the limit never fails because of others.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::function::kept;

pub(super) struct Usage {
    statm: File,
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
        let statm = File::open("/proc/self/statm")?;
        let most = data(&statm)?.saturating_add(limit);
        Ok(Self { statm, most, high: Cell::new(most), kept: Cell::new(0) })
    }

    pub(super) fn most(&self) -> u64 {
        self.most
    }

    /// What is taken now belongs to the worker, not to its tasks.
    pub(super) fn init_is_over(&self) {
        let taken = data(&self.statm).unwrap_or(0);
        self.high.set(taken + self.most.saturating_sub(taken) / 2);
        self.kept.set(kept::made());
    }

    /// Whether tasks have left more behind than they may. Takes about two microseconds.
    pub(super) fn is_high(&self) -> bool {
        if self.kept.get() != kept::made() {
            // A `state` belongs to the worker as what `init` has left.
            self.init_is_over();
        }
        data(&self.statm).is_ok_and(|taken| taken > self.high.get())
    }
}

/// Private writable memory of this process, in bytes: the sixth field of `statm`, as in proc(5).
fn data(statm: &File) -> io::Result<u64> {
    let mut text = [0_u8; 256];
    let len = statm.read_at(&mut text, 0)?;
    let field = text[..len].split(|byte| *byte == b' ').nth(5).and_then(|field| std::str::from_utf8(field).ok());
    let pages: u64 =
        field.and_then(|field| field.trim().parse().ok()).ok_or_else(|| io::Error::other("it has an unknown form"))?;
    Ok(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_kept_is_seen() {
        let usage = Usage::new(64 << 20).unwrap();
        usage.init_is_over();
        assert!(!usage.is_high());
        let kept = vec![1_u8; 100 << 20];
        assert!(usage.is_high());
        assert_eq!(std::hint::black_box(kept).len(), 100 << 20);
    }
}
