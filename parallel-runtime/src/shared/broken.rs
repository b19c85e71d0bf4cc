//! Errors of locks and barriers. `unwrap` shows them by `Debug`, so that says what there is to do, as `Display` does.

use std::fmt;

/// A holder of the lock died or panicked, and what the lock guards may be half changed.
///
/// As with [`std::sync::Mutex`]: every `lock` gives this until `clear_poison`.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "poisoned: a process died, or panicked, while it handle this lock, and what it guards may be half changed; set it right and call `clear_poison`"
)]
pub struct Poisoned;

/// A process died while it waited at the barrier, or one has waited too long: every process that waits or comes gets this, until
/// [`SharedBarrier::reset`](crate::SharedBarrier::reset).
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the barrier is broken: a process died while it waited there, or waited too long; `reset` makes it usable again"
)]
pub struct BrokenBarrier;

impl fmt::Debug for Poisoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Poisoned ({self})")
    }
}

impl fmt::Debug for BrokenBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokenBarrier ({self})")
    }
}
