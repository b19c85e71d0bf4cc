//! What the attribute says about a function, as a constant that generated code builds.

use std::sync::OnceLock;
use std::time::Duration;

use crate::cpu::cpu_count;
use crate::environment;
use crate::pool::{ProcessPool, Target, ThreadPool, default};

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
}

/// Options of the workers of a pool. Functions that agree in them, in mode and in size share a default pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerOptions {
    pub(crate) max_tasks_per_worker: Option<u64>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) init: Option<fn()>,
}

impl WorkerOptions {
    /// What two functions must agree in to share a pool.
    pub(crate) fn key(self) -> (Option<u64>, Option<u64>, usize) {
        (self.max_tasks_per_worker, self.memory_limit, self.init.map_or(0, |init| init as usize))
    }
}

/// The pool that a function names.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// A default pool of so many workers; 0 stands for one per CPU.
    Default(usize),
    Thread(&'static ThreadPool),
    Process(&'static ProcessPool),
}

/// What the attribute says.
#[derive(Debug)]
#[doc(hidden)]
pub struct Spec {
    pub(crate) name: &'static str,
    mode: Mode,
    source: Source,
    pub(crate) chunk: Option<usize>,
    timeout: Option<Duration>,
    retries: u32,
    workers: WorkerOptions,
    target: OnceLock<Target>,
}

impl Spec {
    pub const fn new(name: &'static str, mode: Mode) -> Self {
        Self {
            name,
            mode,
            source: Source::Default(0),
            chunk: None,
            timeout: None,
            retries: 0,
            workers: WorkerOptions { max_tasks_per_worker: None, memory_limit: None, init: None },
            target: OnceLock::new(),
        }
    }

    pub const fn workers(mut self, workers: usize) -> Self {
        self.source = Source::Default(workers);
        self
    }

    pub const fn thread_pool(mut self, pool: &'static ThreadPool) -> Self {
        self.source = Source::Thread(pool);
        self
    }

    pub const fn process_pool(mut self, pool: &'static ProcessPool) -> Self {
        self.source = Source::Process(pool);
        self
    }

    pub const fn chunk(mut self, items: usize) -> Self {
        self.chunk = Some(items);
        self
    }

    pub const fn timeout(mut self, nanoseconds: u64) -> Self {
        self.timeout = Some(Duration::from_nanos(nanoseconds));
        self
    }

    pub const fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    pub const fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        self.workers.max_tasks_per_worker = Some(tasks);
        self
    }

    pub const fn memory_limit(mut self, bytes: u64) -> Self {
        self.workers.memory_limit = Some(bytes);
        self
    }

    pub const fn init(mut self, init: fn()) -> Self {
        self.workers.init = Some(init);
        self
    }

    /// The mode after `PARALLEL_MODE`, for functions without a pool of their own.
    fn effective_mode(&self) -> Mode {
        match environment::mode() {
            // A function that was not written for processes cannot be forced into one.
            Some(Mode::Process) if self.mode != Mode::Process => self.mode,
            Some(mode) => mode,
            None => self.mode,
        }
    }

    /// The pool on which this function's calls run.
    pub(crate) fn target(&self) -> &Target {
        self.target.get_or_init(|| match self.source {
            Source::Thread(pool) => pool.target().clone(),
            Source::Process(pool) => pool.target().clone(),
            Source::Default(workers) => default::pool(self.effective_mode(), workers, self.workers),
        })
    }
}

/// The number of workers that `asked` stands for: 0 means `PARALLEL_WORKERS`, or else one per CPU.
pub(crate) fn resolve_workers(asked: usize) -> usize {
    if asked > 0 { asked } else { environment::workers().unwrap_or_else(cpu_count) }
}
