//! The pool of worker processes.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::any::AnyPool;
use crate::backend::Target;
use crate::backend::serial::Serial;
use crate::environment::resolve_workers;
use crate::error::PoolError;
use crate::function::configured;
use crate::function::pool_state::PoolState;
use crate::observe::stats::PoolStats;
use crate::options::{CallOptions, WorkerOptions};
use crate::process::Engine;
use crate::remote::backend::RemoteBackend;
#[cfg(feature = "sandbox")]
use crate::sandbox::Sandbox;
use crate::sys::role;

/// A pool of worker processes.
///
/// A worker is this executable, run again. It starts when there is work for it, up to the pool's size. A worker that dies costs the task that it ran, and
/// is replaced at once. Workers end with the program, however it ends.
///
/// Where there are no worker processes (Windows, 32 bits) a pool can be declared, and returns an error when it starts.
///
/// Its options can be set in a `static`:
///
/// ```
/// use std::time::Duration;
/// use parallel_runtime::ProcessPool;
///
/// static RENDER: ProcessPool = ProcessPool::new(4)
///     .timeout(Duration::from_secs(5))
///     .retries(1)
///     .max_tasks_per_worker(100)
///     .memory_limit(512 << 20);
/// # assert_eq!(RENDER.workers(), 4);
/// ```
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
#[doc(alias("Pool", "ProcessPoolExecutor", "multiprocessing"))]
pub struct ProcessPool {
    workers: usize,
    options: WorkerOptions,
    state: Option<Arc<PoolState>>,
    defaults: CallOptions,
    started: OnceLock<Started>,
}

/// A pool that has been used: its engine, and the same for the verbs. There is no engine inside a worker, where calls run in place.
#[derive(Debug)]
struct Started {
    engine: Option<Arc<Engine>>,
    target: Target,
}

/// A pool inside a worker: its tasks run in place, but for those that get a process of their own.
pub(super) fn in_worker(options: WorkerOptions, state: Option<Arc<PoolState>>, defaults: CallOptions) -> Target {
    // It starts nothing itself.
    let engine = Engine::new(1, options, state.clone(), defaults);
    Arc::new(Serial::in_worker(state, Arc::new(RemoteBackend::new(engine))))
}

impl ProcessPool {
    /// Creates a pool of `workers` worker processes, at most 1,024. 0 stands for `PARALLEL_WORKERS`, or else for one worker for each CPU that this
    /// process may use.
    pub const fn new(workers: usize) -> Self {
        Self {
            workers,
            options: WorkerOptions::NONE,
            state: None,
            defaults: CallOptions::NONE,
            started: OnceLock::new(),
        }
    }

    /// Sets the time limit of a task, counted from its start, for functions and calls that set none. A task that exceeds it ends as
    /// [`TaskError::TimedOut`](crate::TaskError::TimedOut), and its worker is replaced.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.defaults = self.defaults.with_timeout(limit);
        self
    }

    /// Sets how many more times a task is tried after its worker died or it timed out, for functions and calls that do not set it. A panic or an `Err` is
    /// not tried again.
    pub const fn retries(mut self, retries: u32) -> Self {
        self.defaults = self.defaults.with_retries(retries);
        self
    }

    /// Sets the number of items in one message, like [`Call::chunk`](crate::Call::chunk).
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    pub const fn chunk(mut self, items: usize) -> Self {
        self.defaults = self.defaults.with_chunk(items);
        self
    }

    /// Replaces a worker after so many tasks, against libraries that leak or get slower. Each item of a map is a task.
    ///
    /// # Panics
    ///
    /// If `tasks` is 0.
    #[doc(alias("maxtasksperchild", "max_tasks_per_child"))]
    pub const fn max_tasks_per_worker(mut self, tasks: u64) -> Self {
        assert!(tasks > 0, "a worker runs at least one task");
        self.options.max_tasks_per_worker = Some(tasks);
        self
    }

    /// Limits the private memory of a worker, in bytes beyond what a fresh worker has: its heap, anonymous mappings and thread stacks at their full size,
    /// as the kernel counts them (`RLIMIT_DATA`). Memory that it shares with the program does not count.
    ///
    /// An allocation beyond the limit fails, which in Rust ends the worker and so costs this task
    /// ([`TaskError::WorkerDied`](crate::TaskError::WorkerDied)). A worker is replaced between two tasks when more than half of the memory that `init`
    /// has left is in use, so a task that needs at most half of the limit does not fail because of earlier tasks.
    ///
    /// Linux only: elsewhere the pool returns an error when it starts.
    ///
    /// # Panics
    ///
    /// If `bytes` is 0.
    pub const fn memory_limit(mut self, bytes: u64) -> Self {
        assert!(bytes > 0, "no worker can run in zero bytes: leave the limit out for none");
        self.options.memory_limit = Some(bytes);
        self
    }

    /// Limits the program's memory that one result may take, in bytes; for a map, the results of one message.
    ///
    /// A worker that hostile input has taken over can send a few bytes that claim to be a large value: each `None` in a `Vec<Option<[u64; 32]>>` is one
    /// byte in a message and 264 in memory. A result beyond the limit fails with [`TaskError::Decode`](crate::TaskError::Decode). The default is 64 MiB
    /// plus 32 times the bytes that came, which results made of numbers and text do not reach.
    ///
    /// ```
    /// use parallel_runtime::{ProcessPool, TaskError, parallel};
    ///
    /// static SMALL: ProcessPool = ProcessPool::new(1).result_limit(1 << 20);
    ///
    /// #[parallel(pool = SMALL, mode = "process")]
    /// fn nothing(count: usize) -> Vec<Option<[u64; 8]>> {
    ///     vec![None; count]
    /// }
    ///
    /// assert_eq!(nothing(1000).len(), 1000);
    /// assert!(matches!(nothing::submit(100_000).join(), Err(TaskError::Decode { .. })));
    /// ```
    ///
    /// # Panics
    ///
    /// If `bytes` is 0.
    pub const fn result_limit(mut self, bytes: u64) -> Self {
        assert!(bytes > 0, "no result takes zero bytes");
        self.options.result_limit = Some(bytes);
        self
    }

    /// Sets a function that runs once in each worker before its first task, to open a library for example. If it panics or its process dies, tasks end as
    /// [`TaskError::Spawn`](crate::TaskError::Spawn) with the reason.
    #[doc(alias("initializer"))]
    pub const fn init(mut self, init: fn()) -> Self {
        self.options.init = Some(init);
        self
    }

    /// Confines the workers, after `init` and before the first task, for tasks that handle untrusted input: see [`Sandbox`].
    ///
    /// If the kernel lacks Landlock (Linux 6.2) or seccomp, or if `init` has started threads, no worker starts, and the error says why.
    #[cfg(feature = "sandbox")]
    pub const fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.options.sandbox = Some(sandbox);
        self
    }

    /// Names the pool: in the names of its processes, its statistics, the timeline, spans, and [`current_worker`](crate::current_worker).
    pub const fn name(mut self, name: &'static str) -> Self {
        self.options.name = Some(name);
        self
    }

    /// Sets environment variables of the workers, before they start: for libraries that read them when they are loaded.
    ///
    /// ```
    /// use parallel_runtime::{ProcessPool, parallel};
    ///
    /// static POOL: ProcessPool = ProcessPool::new(2).env(&[("OMP_NUM_THREADS", "1")]);
    ///
    /// #[parallel(pool = POOL, mode = "process")]
    /// fn threads() -> String {
    ///     std::env::var("OMP_NUM_THREADS").unwrap()
    /// }
    ///
    /// assert_eq!(threads(), "1");
    /// ```
    pub const fn env(mut self, variables: &'static [(&'static str, &'static str)]) -> Self {
        self.options.env = variables;
        self
    }

    /// Saves each task that ends as `WorkerDied` or `TimedOut`, after its last try, in a file in this directory, which is made if it is missing:
    /// [`TaskError::saved`](crate::TaskError::saved) is its path, and the error's message names it. With the variable `PARALLEL_REPLAY` set to the path the program runs just
    /// that task, in place of `main`, and ends as it does: `PARALLEL_REPLAY=failures/parse-4711-1.task gdb --args ./program`.
    ///
    /// `PARALLEL_FAILURES=directory` says the same for all pools of the program. At most 64 MiB of arguments are saved
    /// (`PARALLEL_FAILURES_LIMIT=1GiB` allows more), and at most 100 files by one process. Only this user can read them. What a task refers to in a
    /// [`SharedSlice`](crate::SharedSlice) or a [`SharedVec`](crate::SharedVec) is copied; arguments that hold a handle of
    /// another shared object cannot be saved. The arguments of each task that is outstanding are kept twice in memory.
    ///
    /// ```no_run
    /// use parallel_runtime::{ProcessPool, parallel};
    ///
    /// static PARSERS: ProcessPool = ProcessPool::new(4).save_failures("failures");
    ///
    /// #[parallel(pool = PARSERS, mode = "process")]
    /// fn parse(document: Vec<u8>) -> usize {
    ///     document.len()
    /// }
    ///
    /// if let Err(error) = parse::submit(vec![1, 2, 3]).join() {
    ///     println!("saved as {:?}", error.saved());
    /// }
    /// ```
    pub const fn save_failures(mut self, directory: &'static str) -> Self {
        self.options.save_failures = Some(directory);
        self
    }

    /// Ends workers that have been idle for so long, with the values that they keep. They start again when there is work.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        assert!(!limit.is_zero(), "a worker that leaves at once would never do anything");
        self.options.idle_timeout = Some(limit);
        self
    }

    /// Limits the submitted tasks that are outstanding: `submit` waits while there are so many, and `try_submit` returns the arguments. Maps and plain
    /// calls are not limited, because they hold no more than they need.
    ///
    /// # Panics
    ///
    /// If `tasks` is 0.
    pub const fn queue(mut self, tasks: usize) -> Self {
        assert!(tasks > 0, "a pool that takes no task runs none");
        self.options.queue = Some(tasks);
        self
    }

    /// Sets the value that each worker of the pool keeps between tasks. `make` is called in each worker that needs the value, with `config`, which is
    /// sent like an argument. Functions get the value as their `#[worker]` parameter. The closure captures nothing.
    ///
    /// The value is made before the first task that needs it, and before a sandbox closes. It is dropped when the worker ends in order, and made again
    /// after a task that used it has panicked. If `make` panics, tasks that need the value end as [`TaskError::Spawn`](crate::TaskError::Spawn) with the
    /// reason.
    ///
    /// ```
    /// use parallel_runtime::{ProcessPool, parallel};
    ///
    /// struct Model {
    ///     weight: u64,
    /// }
    ///
    /// #[parallel(mode = "process")]
    /// fn predict(#[worker] model: &Model, input: u64) -> u64 {
    ///     model.weight * input
    /// }
    ///
    /// let pool = ProcessPool::new(2).state_with(3, |weight: &u64| Model { weight: *weight });
    /// assert_eq!(predict::on(&pool).map([1, 2, 3]), [3, 6, 9]);
    /// ```
    pub fn state_with<C, S, F>(mut self, config: C, make: F) -> Self
    where
        C: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
        S: 'static,
        F: Fn(&C) -> S + Copy + Send + Sync + 'static,
    {
        self.state = Some(Arc::new(configured::remote(config, make)));
        self
    }

    fn started(&self) -> &Started {
        self.started.get_or_init(|| {
            if role::in_worker() {
                return Started { engine: None, target: in_worker(self.options, self.state.clone(), self.defaults) };
            }
            let engine = Engine::new(resolve_workers(self.workers), self.options, self.state.clone(), self.defaults);
            Started { target: Arc::new(RemoteBackend::new(Arc::clone(&engine))), engine: Some(engine) }
        })
    }

    fn engine(&self) -> Option<&Arc<Engine>> {
        self.started().engine.as_ref()
    }

    /// Starts all workers, and returns when they are ready.
    ///
    /// # Errors
    ///
    /// If workers cannot be started, if there is no memory for the pool, or if it is shut down.
    pub fn start(&self) -> Result<(), PoolError> {
        self.engine().map_or(Ok(()), Engine::start)
    }

    /// Returns the number of workers that the pool may have.
    pub fn workers(&self) -> usize {
        self.engine().map_or_else(|| resolve_workers(self.workers), |engine| engine.workers())
    }

    /// Returns the process ids of the workers that are alive. Empty inside a worker.
    pub fn worker_pids(&self) -> Vec<u32> {
        self.engine().map_or_else(Vec::new, |engine| engine.worker_pids())
    }

    /// Returns what the pool has done so far.
    pub fn stats(&self) -> PoolStats {
        match self.engine() {
            Some(engine) => engine.stats(),
            None => PoolStats::empty(self.workers()),
        }
    }

    /// Cancels the tasks that have not started, and returns their number. They end as [`TaskError::Cancelled`](crate::TaskError::Cancelled), and so does
    /// a map whose items have not all started. Followed by [`shutdown`](Self::shutdown) it is Python's `shutdown(cancel_futures=True)`.
    ///
    /// ```
    /// use parallel_runtime::{TaskError, ProcessPool, parallel};
    ///
    /// #[parallel(mode = "process")]
    /// fn nap() {
    ///     std::thread::sleep(std::time::Duration::from_millis(200));
    /// }
    ///
    /// let pool = ProcessPool::new(1);
    /// let first = nap::on(&pool).submit(());
    /// while !first.is_running() {
    ///     std::thread::yield_now();
    /// }
    /// let others = [(), ()].map(|()| nap::on(&pool).submit(()));
    /// assert_eq!(pool.cancel_queued(), 2);
    /// pool.shutdown();
    /// assert!(first.join().is_ok());
    /// assert!(others.into_iter().all(|task| matches!(task.join(), Err(TaskError::Cancelled))));
    /// ```
    pub fn cancel_queued(&self) -> usize {
        self.engine().map_or(0, |engine| engine.cancel_queued())
    }

    /// Accepts no more tasks, waits until all have ended, and ends the workers.
    ///
    /// A map that has begun is run to its end, with all items of its iterator. An `imap` or a stream is not: items that it has not sent, or has to send
    /// again, end as `PoolClosed`. Later submissions return [`TaskError::PoolClosed`](crate::TaskError::PoolClosed).
    #[doc(alias("close"))]
    pub fn shutdown(&self) {
        if let Some(engine) = self.engine() {
            engine.shutdown();
        }
    }

    /// Ends the workers at once. Outstanding tasks end as [`TaskError::Cancelled`](crate::TaskError::Cancelled).
    #[doc(alias("terminate"))]
    pub fn kill(&self) {
        if let Some(engine) = self.engine() {
            engine.kill();
        }
    }
}

#[expect(private_interfaces, reason = "this trait cannot be named outside")]
impl AnyPool for ProcessPool {
    fn target(&self) -> &Target {
        &self.started().target
    }

    fn worker_options(&self) -> &WorkerOptions {
        &self.options
    }
}

/// A panic leaves no state half changed here: poisoned locks are taken over.
impl UnwindSafe for ProcessPool {}
/// A panic leaves no state half changed here: poisoned locks are taken over.
impl RefUnwindSafe for ProcessPool {}

impl Drop for ProcessPool {
    /// As [`shutdown`](ProcessPool::shutdown).
    fn drop(&mut self) {
        if let Some(engine) = self.started.get().and_then(|started| started.engine.as_ref()) {
            engine.shutdown();
        }
    }
}
