//! What the program alone knows of a pool: its records, which no worker can write.
//!
//! | module | what |
//! | --- | --- |
//! | [`slots`] | the tasks on the board |
//! | [`functions`] | what numbers of functions on the board stand for |
//! | [`queue`], [`pack`] | messages that wait for a slot; small tasks that travel together |
//! | [`workers`] | the places of workers |
//! | [`limits`] | time limits |
//! | [`quarantine`] | what is not used, because a worker may still write there |
//! | [`metrics`] | what is counted |
//! | [`notices`] | the watchers to wake |

pub(super) mod functions;
pub(super) mod limits;
pub(super) mod metrics;
pub(super) mod notices;
pub(super) mod pack;
pub(super) mod quarantine;
pub(super) mod queue;
pub(super) mod slots;
pub(super) mod workers;

use std::ops::{Deref, DerefMut};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use functions::Functions;
use limits::Limits;
use metrics::Metrics;
use notices::{Closing, Fired, Telling, Waiters};
use quarantine::Quarantine;
use queue::Queue;
use slots::Slots;
pub(super) use slots::{InFlight, Tasks};
use workers::Workers;

use super::stderr::Stderr;
use crate::error::TaskError;
use crate::observe::{self, Fate, Pool, Run, Seen, timeline};
use crate::remote::outcome::Outcome;
use crate::remote::task_state::TaskRef;
use crate::sys::fork;

/// How far the pool's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// Takes no more tasks, and runs those it has.
    Draining,
    Stopped,
    /// The program has closed what the runtime needs: nothing can run any more.
    Broken,
}

/// What the program alone knows.
pub(super) struct State {
    pub(super) life: Life,
    pub(super) slots: Slots,
    pub(super) functions: Functions,
    pub(super) queue: Queue,
    pub(super) workers: Workers,
    pub(super) limits: Limits,
    pub(super) quarantine: Quarantine,
    pub(super) metrics: Metrics,
    /// Something of several tasks that has not ended: see [`Admission`](super::admission::Admission).
    pub(super) admitted: usize,
    /// There may be tasks with shared memory for which no thread waits.
    pub(super) abandoned: bool,
    /// Tasks that have not ended and whose end a watcher is told of.
    pub(super) watched: usize,
    /// Who is to be told, as soon as the lock is free.
    fired: Arc<Fired>,
    /// A thread looks after those tasks: see [`reactor`](super::reactor).
    pub(super) reactor: bool,
    /// There should be one, and none could be started.
    pub(super) unattended: bool,
    /// It has nothing to do, and stays a while.
    pub(super) reactor_lingers: bool,
    pub(super) pool: Pool,
}

impl State {
    pub(super) fn new(pool: Pool, fired: Arc<Fired>) -> Self {
        Self {
            life: Life::Open,
            slots: Slots::default(),
            functions: Functions::default(),
            queue: Queue::default(),
            workers: Workers::default(),
            limits: Limits::default(),
            quarantine: Quarantine::default(),
            metrics: Metrics::default(),
            admitted: 0,
            abandoned: false,
            watched: 0,
            fired,
            reactor: false,
            unattended: false,
            reactor_lingers: false,
            pool,
        }
    }

    /// Whether new tasks are taken.
    pub(super) fn check_open(&self) -> Result<(), TaskError> {
        match self.life {
            Life::Open => Ok(()),
            Life::Broken => Err(TaskError::Spawn(fork::closed_descriptors())),
            Life::Draining | Life::Stopped => Err(TaskError::PoolClosed),
        }
    }

    /// A task has ended. `seen`, `run`: if it is looked at, and if it has run; `name`: if it was on the board, `generation | slot`.
    #[inline]
    pub(super) fn end(
        &mut self,
        task_state: &TaskRef,
        outcome: Outcome,
        seen: Option<Box<Seen>>,
        run: Option<Run>,
        name: Option<u64>,
    ) {
        self.metrics.finished += 1;
        let fate = outcome.fate();
        self.metrics.counters.end(fate, seen.as_deref(), run);
        if let Some(seen) = seen {
            self.tell(*seen, run, fate, name);
        }
        let watchers = task_state.finish(outcome);
        if !watchers.is_empty() {
            self.watched -= 1;
            self.fired.add(|told| told.watchers.append(watchers));
        }
    }

    /// Tells those who record each task.
    #[cold]
    pub(super) fn tell(&self, seen: Seen, run: Option<Run>, fate: Fate, name: Option<u64>) {
        if observe::is_on() {
            timeline::task(self.pool, &seen, run, fate);
        }
        if seen.span.is_some() {
            let task = name.map(|name| (self.pool.id, name));
            self.fired.add(|told| told.spans.push(Closing { seen, run, fate, task }));
        }
    }

    /// A worker may have sent events of a task that has ended.
    pub(super) fn has_events(&self, stderr: &Arc<Stderr>, task: u64) {
        self.fired.add(|told| told.events.push((Arc::clone(stderr), task)));
    }
}

/// The records of an engine, while this thread reads or writes them. Who is to be told of the end of a task is told afterwards.
pub(super) struct Access<'e> {
    // The order matters: first the lock is free, then they are told.
    state: MutexGuard<'e, State>,
    telling: Telling<'e>,
}

impl<'e> Access<'e> {
    #[inline(always)]
    pub(super) fn new(state: &'e Mutex<State>, fired: &'e Fired, waiters: &'e dyn Waiters) -> Self {
        Self { state: state.lock().unwrap_or_else(PoisonError::into_inner), telling: Telling(fired, waiters) }
    }

    /// Waits until `changed` is notified, at most for `limit`. `None` if it was not, or if there was something to do first.
    pub(super) fn wait(self, changed: &Condvar, limit: Duration) -> Option<Self> {
        if self.telling.0.any.load(Ordering::Relaxed) {
            // They are told now, without the lock.
            return None;
        }
        let Self { state, telling } = self;
        let (state, timeout) = changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
        (!timeout.timed_out()).then_some(Self { state, telling })
    }
}

impl Deref for Access<'_> {
    type Target = State;
    #[inline(always)]
    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Access<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}
