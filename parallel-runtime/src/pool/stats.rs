//! What a pool has done so far.

use std::fmt;

/// What a pool has done so far, from [`ThreadPool::stats`](crate::ThreadPool::stats) or
/// [`ProcessPool::stats`](crate::ProcessPool::stats). A message of a `map` that holds many items counts as one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Workers that the pool may have.
    pub workers: usize,
    /// Workers that are alive now.
    pub workers_alive: usize,
    /// Tasks that were submitted.
    pub submitted: u64,
    /// Tasks that have ended, well or not.
    pub finished: u64,
    /// Tasks that are running now.
    pub running: u64,
    /// Tasks that wait for a worker.
    pub queued: u64,
    /// Worker processes that died in a task or at their start.
    pub worker_deaths: u64,
}

impl fmt::Display for PoolStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workers, workers_alive, submitted, finished, running, queued, worker_deaths } = self;
        write!(
            f,
            "{workers_alive} of {workers} workers alive, {worker_deaths} died; {submitted} tasks submitted, {finished} ended, {running} running, {queued} waiting"
        )
    }
}
