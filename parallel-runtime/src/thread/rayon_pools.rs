//! The rayon pools on which the maps of a thread pool run.
//!
//! A map has one to itself: on one that it shared, it could wait for a thread that waits for something of the other map. They are kept, so
//! that one map after the other uses the same. When there are enough of them all permits are taken anyway, and one more map runs on
//! its caller's thread.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::fork;
use crate::wait::blocking::released;

/// So many maps run on rayon at a time.
const MOST: usize = 4;

pub(super) struct RayonPools {
    pools: Mutex<Pools>,
    /// How their threads are called, and how large the stacks of those are.
    name: &'static str,
    stack_size: Option<usize>,
}

#[derive(Default)]
struct Pools {
    leased: usize,
    free: Vec<rayon::ThreadPool>,
}

impl RayonPools {
    pub(super) fn new(name: &'static str, stack_size: Option<usize>) -> Self {
        Self { pools: Mutex::default(), name, stack_size }
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A pool that nothing uses. `None` if there are enough in use.
    fn take(&self, workers: usize) -> io::Result<Option<rayon::ThreadPool>> {
        let mut pools = self.pools();
        if pools.leased >= MOST {
            return Ok(None);
        }
        pools.leased += 1;
        let pool = pools.free.pop();
        drop(pools);
        if let Some(pool) = pool {
            return Ok(Some(pool));
        }
        fork::watch();
        let name = self.name;
        let mut builder =
            rayon::ThreadPoolBuilder::new().num_threads(workers).thread_name(move |index| format!("{name}-{index}"));
        if let Some(size) = self.stack_size {
            builder = builder.stack_size(size);
        }
        let threads = builder.build();
        if threads.is_err() {
            self.pools().leased -= 1;
        }
        threads.map(Some).map_err(io::Error::other)
    }

    /// Runs `run` on a pool of its own, if there is one; `Err` gives it back.
    ///
    /// # Errors
    ///
    /// If threads cannot be started.
    pub(super) fn run<R: Send, F: FnOnce() -> R + Send>(&self, workers: usize, run: F) -> io::Result<Result<R, F>> {
        let Some(pool) = self.take(workers)? else { return Ok(Err(run)) };
        let result = released(|| panic::catch_unwind(AssertUnwindSafe(|| pool.install(run))));
        let mut pools = self.pools();
        pools.leased -= 1;
        pools.free.push(pool);
        drop(pools);
        Ok(Ok(result.unwrap_or_else(|payload| panic::resume_unwind(payload))))
    }
}
