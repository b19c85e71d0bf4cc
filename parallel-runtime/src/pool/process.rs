//! The pool of worker processes.

use std::sync::{Arc, OnceLock};

use super::{PoolStats, Target};
use crate::error::PoolError;
use crate::options::resolve_workers;
use crate::process::{Engine, hook};

/// A pool of worker processes.
///
/// A worker is this executable, run again. It starts when there is work for it, up to the pool's size; one that dies costs the
/// task it ran and is replaced at once. Workers end with the program, however it ends.
///
/// Inside a worker, calls of `mode = "process"` functions run in place: there are no pools of pools.
///
/// ```
/// use parallel_runtime::{ProcessPool, parallel};
///
/// static POOL: ProcessPool = ProcessPool::new(2);
///
/// #[parallel(pool = POOL, mode = "process")]
/// fn pid(_: u32) -> u32 {
///     std::process::id()
/// }
///
/// assert_ne!(pid(0), std::process::id());
/// assert!(POOL.worker_pids().contains(&pid(0)));
/// ```
#[derive(Debug)]
pub struct ProcessPool {
    workers: usize,
    target: OnceLock<Target>,
}

impl ProcessPool {
    /// A pool of so many worker processes; 0 stands for `PARALLEL_WORKERS`, or else one per CPU that this process may use. At
    /// most 1,024.
    pub const fn new(workers: usize) -> Self {
        Self { workers, target: OnceLock::new() }
    }

    pub(crate) fn target(&self) -> &Target {
        self.target.get_or_init(|| {
            if hook::in_worker() { Target::Here } else { Target::Process(Engine::new(resolve_workers(self.workers))) }
        })
    }

    fn engine(&self) -> Option<&Arc<Engine>> {
        match self.target() {
            Target::Process(engine) => Some(engine),
            _ => None,
        }
    }

    /// Starts all workers now, and returns when they are ready.
    ///
    /// # Errors
    ///
    /// If workers cannot be started, if there is no memory for the pool, or if it is shut down.
    pub fn start(&self) -> Result<(), PoolError> {
        self.engine().map_or(Ok(()), Engine::start)
    }

    /// How many workers the pool may have.
    pub fn workers(&self) -> usize {
        self.engine().map_or_else(|| resolve_workers(self.workers), |engine| engine.workers())
    }

    /// Process ids of the workers that are alive now. Empty inside a worker.
    pub fn worker_pids(&self) -> Vec<u32> {
        self.engine().map_or_else(Vec::new, |engine| engine.worker_pids())
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> PoolStats {
        match self.engine() {
            Some(engine) => engine.stats(),
            None => PoolStats {
                workers: self.workers(),
                workers_alive: 0,
                submitted: 0,
                finished: 0,
                running: 0,
                queued: 0,
                worker_deaths: 0,
            },
        }
    }

    /// Takes no more tasks, waits until all have ended, and ends the workers. Later submissions give
    /// [`TaskError::PoolClosed`](crate::TaskError::PoolClosed).
    pub fn shutdown(&self) {
        if let Some(engine) = self.engine() {
            engine.shutdown();
        }
    }

    /// Ends the workers at once. What was outstanding ends as [`TaskError::Cancelled`](crate::TaskError::Cancelled).
    pub fn kill(&self) {
        if let Some(engine) = self.engine() {
            engine.kill();
        }
    }
}

impl Drop for ProcessPool {
    /// As [`shutdown`](ProcessPool::shutdown).
    fn drop(&mut self) {
        if let Some(Target::Process(engine)) = self.target.get() {
            engine.shutdown();
        }
    }
}
