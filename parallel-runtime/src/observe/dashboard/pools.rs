//! The pools of the program.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::observe::stats::PoolStats;
use crate::observe::task::Pool;

/// A task that a worker runs now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Running {
    pub(crate) function: &'static str,
    /// The place of its worker in the pool.
    pub(crate) place: u32,
    pub(crate) pid: u32,
    /// In nanoseconds of the monotonic clock.
    pub(crate) began: u64,
}

/// A pool as the page shows it.
pub(crate) trait LivePool: Send + Sync {
    fn pool(&self) -> Pool;

    fn stats(&self) -> PoolStats;

    /// What its worker processes run. What threads run is in the record of tasks.
    fn running(&self) -> Vec<Running> {
        Vec::new()
    }
}

/// Whether there is a page to show.
static IS_ON: AtomicBool = AtomicBool::new(false);

static POOLS: Mutex<Vec<Weak<dyn LivePool>>> = Mutex::new(Vec::new());

/// From now on pools are shown.
pub(super) fn begin() {
    IS_ON.store(true, Ordering::Relaxed);
}

/// From now on pools are not shown.
pub(super) fn end() {
    IS_ON.store(false, Ordering::Relaxed);
}

/// Shows a new pool, if pools are shown.
pub(crate) fn watch<P: LivePool + 'static>(pool: &Arc<P>) {
    if !IS_ON.load(Ordering::Relaxed) {
        return;
    }
    let weak = Arc::downgrade(pool);
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools.retain(|pool| pool.strong_count() > 0);
    pools.push(weak);
}

/// The pools that live.
pub(super) fn all() -> Vec<Arc<dyn LivePool>> {
    POOLS.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade).collect()
}
