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
    /// Worker processes that died in a task or at their start, without those that the pool itself ended or replaced.
    pub worker_deaths: u64,
    /// Tasks that ran longer than their `timeout`; each time counts if they are tried again.
    pub timed_out: u64,
    /// Tries after the first: of tasks with `retries` whose worker died, or that timed out.
    pub retried: u64,
    /// Worker processes that were replaced between two tasks, because of `max_tasks_per_worker` or `memory_limit`.
    pub replaced: u64,
    /// Tasks of a thread pool that timed out and still run: nobody can end a thread. Each keeps one of the pool's workers busy.
    pub abandoned: u64,
}

impl PoolStats {
    pub(crate) fn empty(workers: usize) -> Self {
        Self {
            workers,
            workers_alive: 0,
            submitted: 0,
            finished: 0,
            running: 0,
            queued: 0,
            worker_deaths: 0,
            timed_out: 0,
            retried: 0,
            replaced: 0,
            abandoned: 0,
        }
    }
}

impl fmt::Display for PoolStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workers, workers_alive, submitted, finished, running, queued, .. } = self;
        write!(
            f,
            "{workers_alive} of {workers} workers alive; {submitted} tasks submitted, {finished} ended, {running} running, {queued} waiting"
        )?;
        let rare = [
            (self.worker_deaths, "workers died"),
            (self.replaced, "workers replaced"),
            (self.timed_out, "timed out"),
            (self.retried, "tried again"),
            (self.abandoned, "timed out and still running"),
        ];
        for (count, what) in rare.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        Ok(())
    }
}
