//! The program's side of a cluster: which requests wait, and which are under way.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::away::Away;
use super::bridge::Bridge;
use super::question::Question;
use super::request::{Request, Terms};
use super::sent_state::SentState;
use crate::error::{PoolError, TaskError};
use crate::function::pool_state::PoolState;
use crate::observe::counters::Counters;
use crate::observe::stats::PoolStats;
use crate::options::{CallOptions, WorkerOptions};
use crate::remote::task_state::{Owner, TaskRef};
use crate::shared::handle::Handle;
use crate::sys::fork;
use crate::wait::notify::Watchers;

/// What is said again if the cluster is wanted so soon after it could not be reached.
const REMEMBERED: Duration = Duration::from_secs(1);

/// Where a cluster's scheduler is.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    Given(Cow<'static, str>),
    /// In the environment.
    Environment,
}

impl Address {
    pub(crate) fn resolve(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Given(address) => Some(address.clone()),
            Self::Environment => crate::environment::dask().map(Cow::Owned),
        }
    }
}

/// A cluster: what [`DaskPool`](crate::DaskPool) stands for once it has been used.
pub(crate) struct Engine {
    /// Which of the clusters' pools of this program.
    pub(crate) id: u64,
    address: Address,
    pub(super) connect_timeout: Duration,
    pub(super) options: WorkerOptions,
    /// What each worker keeps, if the pool says so; and the same as it is sent.
    kept: Option<Arc<PoolState>>,
    state_to_send: OnceLock<Result<SentState, TaskError>>,
    defaults: CallOptions,
    state: Mutex<State>,
    /// The life of the pool has changed, or an answer has come.
    pub(super) changed: Condvar,
    /// Counts requests that have ended, for those who wait for some.
    pub(super) ended: Mutex<u64>,
    pub(super) more_ended: Condvar,
    /// Threads of the cluster.
    pub(super) threads: AtomicUsize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// What there is runs out.
    Draining,
    Stopped,
}

pub(super) struct State {
    pub(super) life: Life,
    pub(super) bridge: Option<Bridge>,
    /// A thread is connecting.
    connecting: bool,
    /// When it could not connect, and why.
    failed: Option<(Instant, String)>,
    /// When bridges have died.
    pub(super) deaths: VecDeque<Instant>,
    pub(super) waiting: VecDeque<Waiting>,
    /// Submissions under way, by their numbers.
    pub(super) sent: BTreeMap<u64, Sent>,
    /// In which submission a request is.
    pub(super) submission_of: HashMap<u64, u64>,
    next: u64,
    pub(super) admitted: usize,
    pub(super) questions: HashMap<u64, Question>,
    /// How long an item of a function takes, in nanoseconds.
    pub(super) rates: HashMap<u64, f64>,
    /// What is on the machines of the cluster, and who has it here.
    pub(super) blobs: HashMap<String, Weak<Handle>>,
    pub(super) workers: usize,
    pub(super) counters: Counters,
    pub(super) submitted: u64,
    pub(super) finished: u64,
    pub(super) retried: u64,
    pub(super) timed_out: u64,
    pub(super) died: u64,
}

/// A request that waits for its submission, or is in it.
pub(super) struct Waiting {
    pub(super) id: u64,
    pub(super) task_state: TaskRef,
    pub(super) request: Request,
    pub(super) terms: Terms,
    /// It travels alone: its submission has failed with it before.
    pub(super) alone: bool,
}

/// A submission under way.
pub(super) struct Sent {
    pub(super) requests: Vec<Waiting>,
    /// Its reply has stayed on the cluster.
    pub(super) away: Option<Weak<Away>>,
}

/// Something of several requests that is not cut short by a shutdown.
pub(crate) struct Admission(Arc<Engine>);

impl Drop for Admission {
    fn drop(&mut self) {
        if fork::check().is_ok() {
            self.0.lock().admitted -= 1;
            self.0.changed.notify_all();
        }
    }
}

/// Who is to be told, without a lock; and what must not be dropped under it.
#[derive(Default)]
pub(super) struct Told(pub(super) Vec<Watchers>, pub(super) Vec<Arc<Away>>, pub(super) Vec<Waker>);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(
        address: Address,
        connect_timeout: Duration,
        options: WorkerOptions,
        kept: Option<Arc<PoolState>>,
        defaults: CallOptions,
    ) -> Arc<Self> {
        // Requests of several programs meet on a node: so their numbers begin anywhere.
        let next = RandomState::new().hash_one(std::process::id()) & !0xffff_ffff;
        let state = State {
            life: Life::Open,
            bridge: None,
            connecting: false,
            failed: None,
            deaths: VecDeque::new(),
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
            submission_of: HashMap::new(),
            next,
            admitted: 0,
            questions: HashMap::new(),
            rates: HashMap::new(),
            blobs: HashMap::new(),
            workers: 0,
            counters: Counters::default(),
            submitted: 0,
            finished: 0,
            retried: 0,
            timed_out: 0,
            died: 0,
        };
        static ID: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: ID.fetch_add(1, Ordering::Relaxed),
            address,
            connect_timeout,
            options,
            kept,
            state_to_send: OnceLock::new(),
            defaults,
            state: Mutex::new(state),
            changed: Condvar::new(),
            ended: Mutex::new(0),
            more_ended: Condvar::new(),
            threads: AtomicUsize::new(0),
        })
    }

    /// The pool's state, as it is sent.
    pub(super) fn state_to_send(&self) -> Result<&SentState, TaskError> {
        let sent =
            self.state_to_send.get_or_init(|| self.kept.as_deref().map_or(Ok(SentState::default()), SentState::new));
        sent.as_ref().map_err(TaskError::clone)
    }

    pub(crate) fn worker_options(&self) -> WorkerOptions {
        self.options
    }

    pub(crate) fn defaults(&self) -> CallOptions {
        self.defaults
    }

    /// Threads of the cluster, as far as is known.
    pub(crate) fn workers(&self) -> usize {
        self.threads.load(Ordering::Relaxed).max(1)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is called so in messages.
    pub(super) fn place(&self) -> String {
        self.address.resolve().map_or_else(|| "an address that is not given".to_owned(), Cow::into_owned)
    }

    pub(super) fn lost(&self, reason: &str) -> TaskError {
        TaskError::Cluster { address: self.place(), reason: reason.to_owned() }
    }

    /// Connects, if it is not connected.
    ///
    /// # Errors
    ///
    /// If the cluster cannot be reached or used, or if the pool is shut down.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), PoolError> {
        fork::check().map_err(PoolError::Spawn)?;
        let mut state = self.lock();
        loop {
            if state.life == Life::Stopped {
                return Err(PoolError::Closed);
            }
            if state.bridge.is_some() {
                return Ok(());
            }
            if !state.connecting {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some((when, reason)) = &state.failed
            && when.elapsed() < REMEMBERED
        {
            return Err(PoolError::Cluster { address: self.place(), reason: reason.clone() });
        }
        state.connecting = true;
        drop(state);
        let connected = match self.address.resolve() {
            Some(address) => Bridge::start(Arc::clone(self), self.id, &address, self.connect_timeout),
            None => {
                Err("no address is given: pass one to `DaskPool::connect`, or set PARALLEL_DASK=tcp://host:8786 (or \
                         DASK_SCHEDULER_ADDRESS); PARALLEL_MODE=process runs the same functions on this machine"
                    .to_owned())
            }
        };
        let mut state = self.lock();
        state.connecting = false;
        if state.life == Life::Stopped {
            drop(state);
            self.changed.notify_all();
            connected.into_iter().for_each(Bridge::leave);
            return Err(PoolError::Closed);
        }
        let result = match connected {
            Ok(bridge) if bridge.is_dead() => {
                let reason = "the connection was lost as soon as it was made".to_owned();
                Err(PoolError::Cluster { address: self.place(), reason })
            }
            Ok(bridge) => {
                state.failed = None;
                state.bridge = Some(bridge);
                // What a bridge that died had taken along.
                self.send_again(&mut state);
                self.pump(&mut state);
                Ok(())
            }
            Err(reason) => {
                state.failed = Some((Instant::now(), reason.clone()));
                Err(PoolError::Cluster { address: self.place(), reason })
            }
        };
        drop(state);
        self.changed.notify_all();
        result
    }

    /// The same, for a task.
    pub(crate) fn prepare(self: &Arc<Self>) -> Result<(), TaskError> {
        self.start().map_err(PoolError::into_task_error)
    }

    /// Accepts something of several requests. `again`: it is part of something that was accepted before.
    pub(crate) fn admit(self: &Arc<Self>, again: bool) -> Result<Admission, TaskError> {
        self.prepare()?;
        let mut state = self.lock();
        state.check_open(again)?;
        state.admitted += 1;
        Ok(Admission(Arc::clone(self)))
    }

    /// Hands a request to the cluster. `admitted`: it is part of something that was accepted before.
    pub(crate) fn submit(
        self: &Arc<Self>,
        terms: Terms,
        request: Request,
        admitted: bool,
        owner: Option<Owner>,
    ) -> Result<TaskRef, TaskError> {
        self.prepare()?;
        let task_state = TaskRef::new(owner);
        let mut state = self.lock();
        state.check_open(admitted)?;
        while state.bridge.is_none() {
            // It has died since. If nothing was under way, nothing has started another one.
            drop(state);
            self.prepare()?;
            state = self.lock();
            state.check_open(admitted)?;
        }
        state.submitted += 1;
        state.counters.bytes_copied += request.len() as u64;
        state.counters.bytes_shared += request.shared;
        let id = state.number();
        task_state.set_request(id);
        state.waiting.push_back(Waiting { id, task_state: task_state.clone(), request, terms, alone: false });
        self.pump(&mut state);
        Ok(task_state)
    }

    pub(crate) fn count_retry(&self) {
        let mut state = self.lock();
        state.retried += 1;
        // The try that failed was no task of its own.
        state.submitted = state.submitted.saturating_sub(1);
        state.finished = state.finished.saturating_sub(1);
        state.counters.failed = state.counters.failed.saturating_sub(1);
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let state = self.lock();
        PoolStats {
            workers_alive: state.workers,
            submitted: state.submitted,
            finished: state.finished,
            done: state.counters.done,
            failed: state.counters.failed,
            cancelled: state.counters.cancelled,
            running: 0,
            queued: state.submitted.saturating_sub(state.finished),
            worker_deaths: state.died,
            timed_out: state.timed_out,
            retried: state.retried,
            bytes_copied: state.counters.bytes_copied,
            bytes_shared: state.counters.bytes_shared,
            ..PoolStats::empty(self.threads.load(Ordering::Relaxed))
        }
    }
}

impl State {
    fn check_open(&self, admitted: bool) -> Result<(), TaskError> {
        match self.life {
            Life::Open => Ok(()),
            Life::Draining if admitted => Ok(()),
            _ => Err(TaskError::PoolClosed),
        }
    }

    /// A number that nothing else of this program has.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
