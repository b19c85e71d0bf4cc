//! What the attribute says about a function, as a constant that generated code builds.

use std::sync::OnceLock;
use std::time::Duration;

use super::any::AnyPool;
#[cfg(feature = "dask")]
use super::dask::DaskPool;
use super::default;
use super::process::ProcessPool;
use super::thread::ThreadPool;
use crate::backend::Target;
use crate::environment;
use crate::error::TaskError;
use crate::options::{CallOptions, Mode, WorkerOptions};
use crate::sandbox::Sandbox;

/// The pool that a function names.
#[derive(Debug, Clone, Copy)]
enum Source {
    /// A default pool of so many workers; 0 stands for one per CPU.
    Default(usize),
    Pool(&'static dyn AnyPool),
}

/// What the attribute says.
#[derive(Debug)]
#[doc(hidden)]
pub struct Spec {
    pub(crate) name: &'static str,
    mode: Mode,
    source: Source,
    pub(crate) call: CallOptions,
    workers: WorkerOptions,
    target: OnceLock<Target>,
}

impl Spec {
    pub const fn new(name: &'static str, mode: Mode) -> Self {
        assert!(
            cfg!(feature = "dask") || !matches!(mode, Mode::Dask),
            "`mode = \"dask\"` needs the feature of that name: `parallel-runtime = {{ version = \"...\", features = [\"dask\"] }}`"
        );
        Self {
            name,
            mode,
            source: Source::Default(0),
            call: CallOptions::NONE,
            workers: WorkerOptions::NONE,
            target: OnceLock::new(),
        }
    }

    pub const fn workers(mut self, workers: usize) -> Self {
        self.source = Source::Default(workers);
        self
    }

    pub const fn thread_pool(mut self, pool: &'static ThreadPool) -> Self {
        self.source = Source::Pool(pool);
        self
    }

    pub const fn process_pool(mut self, pool: &'static ProcessPool) -> Self {
        self.source = Source::Pool(pool);
        self
    }

    #[cfg(feature = "dask")]
    pub const fn dask_pool(mut self, pool: &'static DaskPool) -> Self {
        self.source = Source::Pool(pool);
        self
    }

    pub const fn chunk(mut self, items: usize) -> Self {
        self.call = self.call.with_chunk(items);
        self
    }

    pub const fn timeout(mut self, nanoseconds: u64) -> Self {
        self.call = self.call.with_timeout(Duration::from_nanos(nanoseconds));
        self
    }

    pub const fn retries(mut self, retries: u32) -> Self {
        self.call = self.call.with_retries(retries);
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

    pub const fn state(mut self, keep: fn() -> Result<(), TaskError>) -> Self {
        self.workers.state = Some(keep);
        self
    }

    pub const fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.workers.sandbox = Some(sandbox);
        self
    }

    /// The mode after `PARALLEL_MODE`, for functions without a pool of their own.
    fn effective_mode(&self) -> Mode {
        match environment::mode() {
            // Nor is a sandbox given up for a variable of the environment.
            _ if self.workers.sandbox.is_some() => self.mode,
            // A function that was not written for processes cannot be forced into one, nor onto a cluster.
            Some(Mode::Process) if self.mode != Mode::Process && self.mode != Mode::Dask => self.mode,
            Some(Mode::Dask) if self.mode != Mode::Dask => self.mode,
            Some(mode) => mode,
            #[cfg(feature = "dask")]
            // Without a cluster, this machine is one.
            None if self.mode == Mode::Dask && environment::dask().is_none() => Mode::Process,
            None => self.mode,
        }
    }

    /// The pool on which this function's calls run.
    pub(crate) fn target(&self) -> &Target {
        self.target.get_or_init(|| match self.source {
            Source::Pool(pool) => match (pool.movable_from(), environment::mode()) {
                (Some(own), Some(mode)) if mode != own => default::pool(mode, 0, *pool.worker_options()),
                _ => pool.target().clone(),
            },
            Source::Default(workers) => default::pool(self.effective_mode(), workers, self.workers),
        })
    }

    /// The options of workers: for a process or thread outside every pool.
    pub(crate) fn worker_options(&self) -> &WorkerOptions {
        match self.source {
            Source::Pool(pool) => pool.worker_options(),
            Source::Default(_) => &self.workers,
        }
    }
}
