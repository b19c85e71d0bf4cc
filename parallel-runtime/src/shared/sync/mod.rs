//! Primitives by which processes wait for each other: lock, event, barrier, semaphore.
//!
//! The process that waits looks for itself after [`LOOK`](super::lock::LOOK) at the latest: so a process that dies before it has woken the
//! others delays them by that, and what a dead process held is found without a notification.

pub(crate) mod barrier;
pub(crate) mod event;
pub(crate) mod mutex;
mod object;
pub(crate) mod semaphore;
