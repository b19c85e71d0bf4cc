//! The pool of threads.

use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::any::AnyPool;
use crate::backend::Target;
use crate::environment::resolve_workers;
use crate::error::PoolError;
use crate::function::configured::configured_by;
use crate::function::pool_state::PoolState;
use crate::observe::stats::PoolStats;
use crate::options::{CallOptions, WorkerOptions};
use crate::thread::Engine;

/// A pool of threads, on rayon.
///
/// A pool of N workers runs at most N tasks at a time, so a pool of one serialises calls of a library that is not thread-safe. A plain call runs on the
/// caller's own thread, as one of the N.
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
#[doc(alias("ThreadPoolExecutor", "Executor"))]
pub struct ThreadPool {
    workers: usize,
    options: WorkerOptions,
    state: Option<Arc<PoolState>>,
    defaults: CallOptions,
    started: OnceLock<Started>,
}

/// A pool that has been used: its engine, and the same for the verbs.
#[derive(Debug)]
struct Started {
    engine: Arc<Engine>,
    target: Target,
}

impl ThreadPool {
    /// Creates a pool of `workers` threads, which start at first use. 0 stands for `PARALLEL_WORKERS`, or else for one thread for each CPU that this
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
    /// [`TaskError::TimedOut`](crate::TaskError::TimedOut), but its thread runs on: see [`Call::timeout`](crate::Call::timeout).
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.defaults = self.defaults.with_timeout(limit);
        self
    }

    /// Sets the least number of items in a piece of a map, like [`Call::chunk`](crate::Call::chunk).
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    pub const fn chunk(mut self, items: usize) -> Self {
        self.defaults = self.defaults.with_chunk(items);
        self
    }

    /// Sets a function that runs once on each thread of the pool before its first task.
    ///
    /// All tasks then run on the pool's own threads, also plain calls and maps. In a pool of one that is always the same thread, except for tasks that
    /// run while another one waits. If the function panics, tasks end as [`TaskError::Spawn`](crate::TaskError::Spawn) with the reason.
    #[doc(alias("initializer"))]
    pub const fn init(mut self, init: fn()) -> Self {
        self.options.init = Some(init);
        self
    }

    /// Names the pool: in the names of its threads, its statistics, the timeline, spans, and [`current_worker`](crate::current_worker).
    pub const fn name(mut self, name: &'static str) -> Self {
        self.options.name = Some(name);
        self
    }

    /// Sets the size of the stacks of the pool's threads, in bytes, also of those of maps. A plain call runs on its caller's thread and stack. The
    /// default is the standard library's (2 MiB, or `RUST_MIN_STACK`).
    ///
    /// ```
    /// use parallel_runtime::{ThreadPool, parallel};
    ///
    /// static DEEP: ThreadPool = ThreadPool::new(2).stack_size(64 << 20);
    ///
    /// #[parallel(pool = DEEP)]
    /// fn depth(left: u32) -> u32 {
    ///     let here = std::hint::black_box([0_u8; 10_000]);
    ///     if left == 0 { u32::from(here[0]) } else { 1 + depth::inline(left - 1) }
    /// }
    ///
    /// assert_eq!(depth::map([2000, 1000]), [2000, 1000]);
    /// ```
    ///
    /// # Panics
    ///
    /// If `bytes` is 0.
    pub const fn stack_size(mut self, bytes: usize) -> Self {
        assert!(bytes > 0, "a thread needs a stack");
        self.options.stack_size = Some(bytes);
        self
    }

    /// Ends threads that have been idle for so long, with the values that they keep. They start again when there is work. Threads of maps stay.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        assert!(!limit.is_zero(), "a thread that leaves at once would never do anything");
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

    /// Sets the value that each thread of the pool keeps between tasks. `make` is called on each thread that needs the value, with `config`. Functions
    /// get the value as their `#[worker]` parameter.
    ///
    /// The value is dropped on its thread when the pool is shut down, and made again after a task that used it has panicked. If `make` panics, the task
    /// that needs the value ends as [`TaskError::Spawn`](crate::TaskError::Spawn) with the reason, and the next task tries again.
    ///
    /// ```
    /// use parallel_runtime::{ThreadPool, parallel};
    ///
    /// struct Counter(u64);
    ///
    /// #[parallel]
    /// fn count(#[worker] counter: &mut Counter, by: u64) -> u64 {
    ///     counter.0 += by;
    ///     counter.0
    /// }
    ///
    /// let pool = ThreadPool::new(1).state_with(100, |start: &u64| Counter(*start));
    /// assert_eq!(count::on(&pool).map([1, 2, 3]), [101, 103, 106]);
    /// ```
    pub fn state_with<C, S, F>(mut self, config: C, make: F) -> Self
    where
        C: Send + Sync + 'static,
        S: 'static,
        F: Fn(&C) -> S + Send + Sync + 'static,
    {
        self.state = Some(Arc::new(configured_by(move || make(&config))));
        self
    }

    fn started(&self) -> &Started {
        self.started.get_or_init(|| {
            let engine = Engine::new(resolve_workers(self.workers), self.options, self.state.clone(), self.defaults);
            Started { target: Arc::new(Arc::clone(&engine)), engine }
        })
    }

    fn engine(&self) -> &Engine {
        &self.started().engine
    }

    /// Starts the threads now instead of at first use.
    ///
    /// # Errors
    ///
    /// If threads cannot be started, or the pool is shut down.
    pub fn start(&self) -> Result<(), PoolError> {
        self.engine().start()
    }

    /// Returns the number of tasks that run at a time.
    pub fn workers(&self) -> usize {
        self.engine().workers()
    }

    /// Returns what the pool has done so far.
    pub fn stats(&self) -> PoolStats {
        self.engine().stats()
    }

    /// Cancels the tasks that have not started, and returns their number. They end as [`TaskError::Cancelled`](crate::TaskError::Cancelled), and so does
    /// a map whose items have not all started. Followed by [`shutdown`](Self::shutdown) it is Python's `shutdown(cancel_futures=True)`.
    ///
    /// ```
    /// use parallel_runtime::{TaskError, ThreadPool, parallel};
    ///
    /// #[parallel(mode = "process")]
    /// fn nap() {
    ///     std::thread::sleep(std::time::Duration::from_millis(200));
    /// }
    ///
    /// let pool = ThreadPool::new(1);
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
        self.engine().cancel_queued()
    }

    /// Accepts no more tasks, and returns when all have ended. Later submissions return [`TaskError::PoolClosed`](crate::TaskError::PoolClosed).
    #[doc(alias("close"))]
    pub fn shutdown(&self) {
        self.engine().shutdown();
    }

    /// Accepts no more tasks, and cancels those that have not started. Running tasks are not waited for, because threads cannot be ended.
    #[doc(alias("terminate"))]
    pub fn kill(&self) {
        self.engine().kill();
    }
}

#[expect(private_interfaces, reason = "this trait cannot be named outside")]
impl AnyPool for ThreadPool {
    fn target(&self) -> &Target {
        &self.started().target
    }

    fn worker_options(&self) -> &WorkerOptions {
        &self.options
    }
}

/// A panic leaves no state half changed here: poisoned locks are taken over.
impl UnwindSafe for ThreadPool {}
/// A panic leaves no state half changed here: poisoned locks are taken over.
impl RefUnwindSafe for ThreadPool {}

impl Drop for ThreadPool {
    /// As [`shutdown`](ThreadPool::shutdown).
    fn drop(&mut self) {
        if let Some(started) = self.started.get() {
            started.engine.shutdown();
        }
    }
}
