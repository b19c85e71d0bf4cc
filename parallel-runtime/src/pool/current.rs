//! Which worker runs this.

use crate::{process, thread};

/// The worker whose task this thread runs: see [`current_worker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentWorker {
    pool: String,
    index: usize,
    is_process: bool,
}

impl CurrentWorker {
    /// Returns the name of the pool, or its number.
    pub fn pool(&self) -> &str {
        &self.pool
    }

    /// Returns the number of the worker in its pool, from 0. A plain call on a pool of threads runs on its caller's thread, whose number is the number of
    /// the pool's workers.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns whether the worker is a process.
    pub fn is_process(&self) -> bool {
        self.is_process
    }
}

/// Returns the worker whose task this thread runs: Python's `current_process`. `None` outside tasks, and in tasks that run in place outside workers.
///
/// ```
/// use parallel_runtime::{ProcessPool, current_worker, parallel};
///
/// static RENDER: ProcessPool = ProcessPool::new(2).name("render");
///
/// #[parallel(pool = RENDER, mode = "process")]
/// fn place() -> String {
///     let worker = current_worker().unwrap();
///     assert!(worker.is_process() && worker.index() < 2);
///     worker.pool().to_owned()
/// }
///
/// assert_eq!(place(), "render");
/// assert_eq!(current_worker(), None);
/// ```
#[doc(alias("current_process"))]
pub fn current_worker() -> Option<CurrentWorker> {
    if let Some(pool) = thread::current() {
        let index = thread::number().unwrap_or(pool.workers as usize);
        return Some(CurrentWorker { pool: pool.short_name(), index, is_process: false });
    }
    let (pool, index) = process::worker_identity()?;
    Some(CurrentWorker { pool: pool.to_owned(), index, is_process: true })
}
