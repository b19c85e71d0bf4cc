//! What this process, and this thread, is.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

static IN_WORKER: AtomicBool = AtomicBool::new(false);
static IS_NODE: AtomicBool = AtomicBool::new(false);
static IS_ISOLATED: AtomicBool = AtomicBool::new(false);

thread_local! {
    static IS_SUPERVISOR: Cell<bool> = const { Cell::new(false) };
}

/// Whether this process is a worker.
pub(crate) fn in_worker() -> bool {
    IN_WORKER.load(Ordering::Relaxed)
}

/// This process is a worker. Called before its first thread starts.
pub(crate) fn become_worker() {
    IN_WORKER.store(true, Ordering::Relaxed);
}

/// Whether this process is a worker that has no part in the program's shared objects.
pub(crate) fn is_isolated() -> bool {
    IS_ISOLATED.load(Ordering::Relaxed)
}

/// This process, a worker, has no part in the program's shared objects. Called before it has any.
pub(crate) fn become_isolated() {
    IS_ISOLATED.store(true, Ordering::Relaxed);
}

/// Whether the shared objects that this process knows are another process's, which keeps their records: those of a worker, unless it is isolated.
pub(crate) fn has_borrowed_objects() -> bool {
    in_worker() && !is_isolated()
}

/// Whether this process is a node of a cluster: it has worker processes, and the program is on another machine.
pub(crate) fn is_node() -> bool {
    IS_NODE.load(Ordering::Relaxed)
}

/// This process is a node of a cluster. Called before its first thread starts.
#[cfg(feature = "dask")]
pub(crate) fn become_node() {
    IS_NODE.store(true, Ordering::Relaxed);
}

/// Whether this thread supervises the workers of all pools. It must not wait for anything, nor do anything that takes long.
pub(crate) fn is_supervisor() -> bool {
    IS_SUPERVISOR.get()
}

/// This thread supervises the workers from now on.
pub(crate) fn become_supervisor() {
    IS_SUPERVISOR.set(true);
}
