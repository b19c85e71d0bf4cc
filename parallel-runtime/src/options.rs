//! Where functions run, and the options of calls and of workers.

use std::time::Duration;

use crate::error::TaskError;
use crate::sandbox::Sandbox;

/// Where a function runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[doc(hidden)]
pub enum Mode {
    /// In place.
    Serial,
    /// On threads.
    Thread,
    /// In worker processes.
    Process,
    /// On a Dask cluster.
    Dask,
}

/// Makes what a function keeps, on the thread that calls it, unless it is there.
pub(crate) type Keep = fn() -> Result<(), TaskError>;

/// Options of the workers of a pool. Functions that agree in them, in mode and in size share a default pool.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WorkerOptions {
    pub(crate) max_tasks_per_worker: Option<u64>,
    /// In bytes.
    pub(crate) memory_limit: Option<u64>,
    pub(crate) init: Option<fn()>,
    /// Makes what the functions of the pool keep, on the thread that calls it.
    pub(crate) state: Option<Keep>,
    pub(crate) sandbox: Option<Sandbox>,
    /// What one result may take in the program's memory, in bytes.
    pub(crate) result_limit: Option<u64>,
    /// What the pool is called.
    pub(crate) name: Option<&'static str>,
    /// What is set in the environment of processes.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// Where failed tasks are saved; `PARALLEL_FAILURES` says it for all pools.
    pub(crate) save_failures: Option<&'static str>,
    /// Of threads, in bytes.
    pub(crate) stack_size: Option<usize>,
    /// How many submitted tasks may be outstanding.
    pub(crate) queue: Option<usize>,
    /// After so long without a task a worker ends.
    pub(crate) idle_timeout: Option<Duration>,
}

/// See [`WorkerOptions::key`].
pub(crate) type WorkerKey = (Option<u64>, Option<u64>, usize, usize, Option<Sandbox>);

impl WorkerOptions {
    pub(crate) const NONE: Self = Self {
        max_tasks_per_worker: None,
        memory_limit: None,
        init: None,
        state: None,
        sandbox: None,
        result_limit: None,
        name: None,
        env: &[],
        save_failures: None,
        stack_size: None,
        queue: None,
        idle_timeout: None,
    };

    /// What two functions must agree in to share a pool.
    pub(crate) fn key(self) -> WorkerKey {
        let init = self.init.map_or(0, |init| init as usize);
        let state = self.state.map_or(0, |state| state as usize);
        (self.max_tasks_per_worker, self.memory_limit, init, state, self.sandbox)
    }
}

/// Options of calls: those of a `Call`, of a function, or of a pool. The first that says something counts, in this order.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CallOptions {
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: Option<u32>,
    pub(crate) chunk: Option<usize>,
}

impl CallOptions {
    pub(crate) const NONE: Self = Self { timeout: None, retries: None, chunk: None };

    /// These, and where they say nothing the others.
    pub(crate) fn or(self, others: Self) -> Self {
        Self {
            timeout: self.timeout.or(others.timeout),
            retries: self.retries.or(others.retries),
            chunk: self.chunk.or(others.chunk),
        }
    }

    pub(crate) const fn with_timeout(mut self, limit: Duration) -> Self {
        assert!(!limit.is_zero(), "a timeout of zero would end every task at once: leave it out for no limit");
        self.timeout = Some(limit);
        self
    }

    pub(crate) const fn with_retries(mut self, retries: u32) -> Self {
        self.retries = Some(retries);
        self
    }

    pub(crate) const fn with_chunk(mut self, items: usize) -> Self {
        assert!(items > 0, "a chunk holds at least one item");
        self.chunk = Some(items);
        self
    }
}
