//! The event, the semaphore and the barrier, in memory of this process.

#[path = "../../../../../parallel-runtime/src/shared/sync/barrier.rs"]
pub(crate) mod barrier;
#[path = "../../../../../parallel-runtime/src/shared/sync/event.rs"]
pub(crate) mod event;
#[path = "object.rs"]
mod object;
#[path = "../../../../../parallel-runtime/src/shared/sync/semaphore.rs"]
pub(crate) mod semaphore;
