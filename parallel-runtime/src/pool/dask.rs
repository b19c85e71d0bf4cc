//! The pool of a Dask cluster.

use std::borrow::Cow;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::any::AnyPool;
use crate::backend::Target;
use crate::dask::{Address, Engine};
use crate::error::PoolError;
use crate::function::configured;
use crate::function::pool_state::PoolState;
use crate::observe::stats::PoolStats;
use crate::options::{CallOptions, Mode, WorkerOptions};
use crate::remote::backend::RemoteBackend;
#[cfg(feature = "sandbox")]
use crate::sandbox::Sandbox;
use crate::sys::role;

/// How long connecting may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The workers of a Dask cluster.
///
/// Functions with `mode = "dask"` or `mode = "process"` run on it as they run on a [`ProcessPool`](crate::ProcessPool), with the same
/// errors. This executable is brought to the workers of the cluster, and runs there; nothing else need be installed on them. Here it needs
/// Python 3 with the package `distributed`.
///
/// ```no_run
/// use parallel_runtime::{DaskPool, parallel};
///
/// static CLUSTER: DaskPool = DaskPool::connect("tcp://scheduler:8786");
///
/// #[parallel(pool = CLUSTER, mode = "dask")]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// println!("{:?}", square::map(0..1000));
/// ```
///
/// Without `pool` the address comes from `PARALLEL_DASK` or `DASK_SCHEDULER_ADDRESS`; if neither is set, the function runs in worker
/// processes of this machine.
///
/// # What is different from one machine
///
/// * A call takes some ten milliseconds; items of a `map` travel together, so that this does not count.
/// * A task may run **more than once**, if the machine or the connection that it had is lost: what it has done outside has then happened
///   twice. Its result is taken once.
/// * Arguments and results are copied. A [`SharedSlice`](crate::SharedSlice) of 64 KiB or more is brought to each machine once, and mapped
///   there by all workers. A [`SharedVec`](crate::SharedVec) is copied; other shared objects (values, dictionaries, queues, locks) cannot
///   go to another machine, and give [`TaskError::Encode`](crate::TaskError::Encode).
/// * `#[shared]` statics are shared by the workers of each machine, not between them.
/// * A result of 1 MiB or more of a submitted task stays on the cluster until it is asked for, by `join` or `await`.
/// * [`Task::is_running`](crate::Task::is_running), `cancel` and `kill` ask the cluster, and wait for its answer.
#[derive(Debug)]
#[doc(alias("Client", "distributed"))]
pub struct DaskPool {
    address: Address,
    connect_timeout: Duration,
    options: WorkerOptions,
    defaults: CallOptions,
    state: Option<Arc<PoolState>>,
    started: OnceLock<Started>,
}

/// A pool that has been used: its engine, and the same for the verbs. There is no engine inside a worker, where calls run in place.
#[derive(Debug)]
struct Started {
    engine: Option<Arc<Engine>>,
    target: Target,
}

impl DaskPool {
    /// Creates a pool for the cluster whose scheduler has this address (`tcp://host:8786`, or `tls://` with Dask's usual configuration), or which this
    /// file describes (`--scheduler-file`). It connects at first use.
    pub const fn connect(address: &'static str) -> Self {
        Self::with(Address::Given(Cow::Borrowed(address)))
    }

    /// Creates a pool for an address that is known at run time.
    pub fn connect_to(address: impl Into<String>) -> Self {
        Self::with(Address::Given(Cow::Owned(address.into())))
    }

    /// Creates a pool for the cluster that `PARALLEL_DASK`, or else `DASK_SCHEDULER_ADDRESS`, names.
    pub const fn from_env() -> Self {
        Self::with(Address::Environment)
    }

    const fn with(address: Address) -> Self {
        Self {
            address,
            connect_timeout: CONNECT_TIMEOUT,
            options: WorkerOptions::NONE,
            defaults: CallOptions::NONE,
            state: None,
            started: OnceLock::new(),
        }
    }

    /// Sets how long connecting may take. The default is 10 seconds.
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        assert!(!limit.is_zero(), "connecting takes some time");
        self.connect_timeout = limit;
        self
    }

    /// As [`ProcessPool::timeout`](crate::ProcessPool::timeout).
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.defaults = self.defaults.with_timeout(limit);
        self
    }

    /// Like [`ProcessPool::retries`](crate::ProcessPool::retries). What Dask runs again by itself, when one of its workers is lost, does not count.
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

    /// As [`ProcessPool::max_tasks_per_worker`](crate::ProcessPool::max_tasks_per_worker).
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

    /// As [`ProcessPool::memory_limit`](crate::ProcessPool::memory_limit). The memory limits of Dask itself do not see the processes
    /// that tasks run in.
    ///
    /// # Panics
    ///
    /// If `bytes` is 0.
    pub const fn memory_limit(mut self, bytes: u64) -> Self {
        assert!(bytes > 0, "no worker can run in zero bytes: leave the limit out for none");
        self.options.memory_limit = Some(bytes);
        self
    }

    /// As [`ProcessPool::result_limit`](crate::ProcessPool::result_limit).
    ///
    /// # Panics
    ///
    /// If `bytes` is 0.
    pub const fn result_limit(mut self, bytes: u64) -> Self {
        assert!(bytes > 0, "no result takes zero bytes");
        self.options.result_limit = Some(bytes);
        self
    }

    /// As [`ProcessPool::init`](crate::ProcessPool::init): in each worker process of the cluster.
    #[doc(alias("initializer"))]
    pub const fn init(mut self, init: fn()) -> Self {
        self.options.init = Some(init);
        self
    }

    /// As [`ProcessPool::sandbox`](crate::ProcessPool::sandbox).
    #[cfg(feature = "sandbox")]
    pub const fn sandbox(mut self, sandbox: Sandbox) -> Self {
        self.options.sandbox = Some(sandbox);
        self
    }

    /// As [`ProcessPool::state_with`](crate::ProcessPool::state_with): each worker process of the cluster keeps a value of its own. The configuration goes
    /// with each submission, so it should be small.
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
                return Started {
                    engine: None,
                    target: super::process::in_worker(self.options, self.state.clone(), self.defaults),
                };
            }
            let state = self.state.clone();
            let engine = Engine::new(self.address.clone(), self.connect_timeout, self.options, state, self.defaults);
            Started { target: Arc::new(RemoteBackend::new(Arc::clone(&engine))), engine: Some(engine) }
        })
    }

    fn engine(&self) -> Option<&Arc<Engine>> {
        self.started().engine.as_ref()
    }

    /// Connects now, and returns when this executable is ready on all workers of the cluster.
    ///
    /// # Errors
    ///
    /// [`PoolError::Cluster`] with the reason and the way out: Python or `distributed` is missing or does not fit, the scheduler does
    /// not answer, or this executable cannot run on a worker.
    pub fn start(&self) -> Result<(), PoolError> {
        self.engine().map_or(Ok(()), Engine::start)
    }

    /// Returns the number of tasks that the cluster can run at a time: the threads of its workers, or 0 if it is not connected or has none yet.
    pub fn workers(&self) -> usize {
        self.stats().workers
    }

    /// Returns what the pool has done so far. The cluster's dashboard shows how long tasks waited and ran, and how busy workers are.
    pub fn stats(&self) -> PoolStats {
        self.engine().map_or_else(|| PoolStats::empty(0), |engine| engine.stats())
    }

    /// Accepts no more tasks, waits until all have ended, and leaves the cluster. Later submissions return
    /// [`TaskError::PoolClosed`](crate::TaskError::PoolClosed), and so does asking for a large result that is still on the cluster.
    #[doc(alias("close"))]
    pub fn shutdown(&self) {
        if let Some(engine) = self.engine() {
            engine.shutdown();
        }
    }

    /// Ends all tasks at once, as [`TaskError::Cancelled`](crate::TaskError::Cancelled), and leaves the cluster.
    #[doc(alias("terminate"))]
    pub fn kill(&self) {
        if let Some(engine) = self.engine() {
            engine.kill();
        }
    }
}

#[expect(private_interfaces, reason = "this trait cannot be named outside")]
impl AnyPool for DaskPool {
    fn target(&self) -> &Target {
        &self.started().target
    }

    fn worker_options(&self) -> &WorkerOptions {
        &self.options
    }

    /// Which cluster there is, is a matter of where the program runs.
    fn movable_from(&self) -> Option<Mode> {
        Some(Mode::Dask)
    }
}

/// A panic leaves no state half changed here: poisoned locks are taken over.
impl UnwindSafe for DaskPool {}
/// A panic leaves no state half changed here: poisoned locks are taken over.
impl RefUnwindSafe for DaskPool {}

impl Drop for DaskPool {
    /// As [`shutdown`](DaskPool::shutdown).
    fn drop(&mut self) {
        if let Some(engine) = self.started.get().and_then(|started| started.engine.as_ref()) {
            engine.shutdown();
        }
    }
}
