//! The pool of threads.

use std::sync::{Arc, OnceLock};

use super::{PoolStats, Target};
use crate::error::PoolError;
use crate::options::resolve_workers;
use crate::thread::Engine;

/// A pool of threads, on rayon.
///
/// A pool of N workers runs at most N tasks at a time, so a pool of one serialises a library that is not thread-safe. A plain
/// call runs on the caller's own thread, as one of the N.
///
/// ```
/// use parallel_runtime::{ThreadPool, parallel};
///
/// static POOL: ThreadPool = ThreadPool::new(2);
///
/// #[parallel(pool = POOL)]
/// fn double(x: u64) -> u64 {
///     2 * x
/// }
///
/// #[parallel]
/// fn triple(x: u64) -> u64 {
///     3 * x
/// }
///
/// assert_eq!(double(4), 8);
/// // Any annotated function runs on any pool of threads.
/// let local = ThreadPool::new(2);
/// assert_eq!(triple::on(&local).map([1, 2, 3]), [3, 6, 9]);
/// ```
#[derive(Debug)]
pub struct ThreadPool {
    workers: usize,
    target: OnceLock<Target>,
}

impl ThreadPool {
    /// A pool of so many threads; 0 stands for `PARALLEL_WORKERS`, or else one per CPU that this process may use. The threads
    /// are started at first use.
    pub const fn new(workers: usize) -> Self {
        Self { workers, target: OnceLock::new() }
    }

    pub(crate) fn target(&self) -> &Target {
        self.target.get_or_init(|| Target::Thread(Arc::new(Engine::new(resolve_workers(self.workers)))))
    }

    fn engine(&self) -> &Engine {
        match self.target() {
            Target::Thread(engine) => engine,
            _ => unreachable!("a pool of threads is made of threads"),
        }
    }

    /// Starts the threads now instead of at first use.
    ///
    /// # Errors
    ///
    /// If threads cannot be started, or the pool is shut down.
    pub fn start(&self) -> Result<(), PoolError> {
        self.engine().start()
    }

    /// How many tasks run at a time.
    pub fn workers(&self) -> usize {
        self.engine().workers()
    }

    /// What the pool has done so far.
    pub fn stats(&self) -> PoolStats {
        self.engine().stats()
    }

    /// Takes no more tasks, and returns when all have ended. Later submissions give
    /// [`TaskError::PoolClosed`](crate::TaskError::PoolClosed).
    pub fn shutdown(&self) {
        self.engine().shutdown();
    }

    /// Takes no more tasks, and cancels those that have not started. Threads cannot be ended: what runs, runs to its end, and
    /// is not waited for.
    pub fn kill(&self) {
        self.engine().kill();
    }
}

impl Drop for ThreadPool {
    /// As [`shutdown`](ThreadPool::shutdown).
    fn drop(&mut self) {
        if let Some(Target::Thread(engine)) = self.target.get() {
            engine.shutdown();
        }
    }
}
