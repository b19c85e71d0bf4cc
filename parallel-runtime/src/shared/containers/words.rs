//! Writes to the words of a container.

use std::sync::atomic::{AtomicU64, Ordering};

/// Writes a word of a container. The process that sees it sees what this process has written before.
#[inline(always)]
pub(super) fn set(word: &AtomicU64, value: u64) {
    #[cfg(test)]
    step();
    word.store(value, Ordering::Release);
}

#[cfg(test)]
pub(super) use dying::{Death, LEFT, step};

/// Threads that die before one of their writes.
#[cfg(test)]
mod dying {
    use std::cell::Cell;
    use std::panic::resume_unwind;

    use crate::shared::lock::DYING;

    thread_local! {
        /// After so many more writes this thread dies.
        pub(in crate::shared::containers) static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
    }

    pub(in crate::shared::containers) struct Death;

    /// A write to shared memory.
    pub(in crate::shared::containers) fn step() {
        match LEFT.get() {
            None => {}
            Some(0) => {
                LEFT.set(None);
                DYING.set(true);
                resume_unwind(Box::new(Death));
            }
            Some(left) => LEFT.set(Some(left - 1)),
        }
    }
}
