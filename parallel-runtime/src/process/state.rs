//! What the program alone knows of a pool: its books, which no worker can write.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::audit::{Quarantine, Suspect};
use super::board::ring::Place;
use super::fork;
use super::life::Failure;
use super::limits::Limited;
use super::message::{Arguments, Loan, Message, Retry};
use super::seat::Seat;
use super::ticket::{Outcome, Ticket};
use crate::error::TaskError;
use crate::task::watch::Watchers;

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
    /// Slots that hold no task.
    pub(super) free: Vec<u32>,
    /// Where the ring is.
    pub(super) place: Place,
    /// By slot: its current generation.
    pub(super) generations: Vec<u64>,
    /// By slot: the task in it.
    pub(super) in_flight: Vec<Option<InFlight>>,
    /// What found no slot.
    pub(super) queue: VecDeque<(Arc<Ticket>, Message<'static>)>,
    pub(super) seats: Vec<Seat>,
    /// Points for workers in a row that died before they did anything: see [`life`](super::life).
    pub(super) failed_starts: u32,
    /// When the last of them died.
    pub(super) failed_at: Option<Instant>,
    /// No worker is started before then.
    pub(super) start_after: Option<Instant>,
    /// Workers that could not start by their own fault.
    pub(super) failures: u64,
    pub(super) last_failure: Option<Failure>,
    pub(super) feeder: bool,
    /// Slots whose tasks have a time limit, and some that had one.
    pub(super) limited: Vec<(u32, u64)>,
    /// When the first of them may be over it, in nanoseconds of the monotonic clock.
    pub(super) next_look: u64,
    /// Slots whose claims an earlier audit has found to look false.
    pub(super) suspects: Vec<Suspect>,
    pub(super) quarantine: Vec<Quarantine>,
    /// When a thread that waited has last looked for what may be wrong.
    pub(super) looked: Option<Instant>,
    /// How many of these have not ended: see [`Admission`].
    pub(super) admitted: usize,
    /// There may be tasks with shared memory for which nobody waits.
    pub(super) abandoned: bool,
    /// The program is exiting: workers that end need no successors.
    pub(super) exiting: bool,
    /// Tasks that have not ended and whose end somebody is told of.
    pub(super) watched: usize,
    /// Who is to be told, as soon as the lock is free.
    pub(super) fired: Watchers,
    /// A thread looks after those tasks: see [`reactor`](super::reactor).
    pub(super) reactor: bool,
    pub(super) submitted: u64,
    pub(super) finished: u64,
    pub(super) worker_deaths: u64,
    pub(super) timed_out: u64,
    pub(super) retried: u64,
    pub(super) replaced: u64,
    pub(super) last_pid: Option<u32>,
}

/// A task in a slot.
pub(super) struct InFlight {
    pub(super) ticket: Arc<Ticket>,
    pub(super) items: u32,
    pub(super) arguments: Option<Arguments>,
    pub(super) limited: Option<Box<Limited>>,
    pub(super) retry: Option<Box<Retry>>,
    pub(super) loan: Option<Box<Loan>>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            life: Life::Open,
            free: Vec::new(),
            place: Place::default(),
            generations: Vec::new(),
            in_flight: Vec::new(),
            queue: VecDeque::new(),
            seats: Vec::new(),
            failed_starts: 0,
            failed_at: None,
            start_after: None,
            failures: 0,
            last_failure: None,
            feeder: false,
            limited: Vec::new(),
            next_look: u64::MAX,
            suspects: Vec::new(),
            quarantine: Vec::new(),
            looked: None,
            admitted: 0,
            abandoned: false,
            exiting: false,
            watched: 0,
            fired: Watchers::default(),
            reactor: false,
            submitted: 0,
            finished: 0,
            worker_deaths: 0,
            timed_out: 0,
            retried: 0,
            replaced: 0,
            last_pid: None,
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

    /// A task has ended.
    pub(super) fn end(&mut self, ticket: &Ticket, outcome: Outcome) {
        self.finished += 1;
        let watchers = ticket.finish(outcome);
        if !watchers.is_empty() {
            self.watched -= 1;
            self.fired.append(watchers);
        }
    }

    pub(super) fn outstanding(&self) -> usize {
        (self.submitted - self.finished) as usize
    }
}

/// The books of an engine, while this thread reads or writes them. Who is to be told of the end of a task is told afterwards.
pub(super) struct Access<'e> {
    state: Option<MutexGuard<'e, State>>,
}

impl<'e> Access<'e> {
    pub(super) fn new(state: &'e Mutex<State>) -> Self {
        Self { state: Some(state.lock().unwrap_or_else(PoisonError::into_inner)) }
    }

    /// Waits until `changed` is notified, at most for `limit`. `None` if it was not, or if there was something to do first.
    pub(super) fn wait(mut self, changed: &Condvar, limit: Duration) -> Option<Self> {
        if !self.fired.is_empty() {
            // They are told now, without the lock.
            return None;
        }
        let state = self.state.take()?;
        let (state, timeout) = changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
        let access = Self { state: Some(state) };
        (!timeout.timed_out()).then_some(access)
    }
}

impl Deref for Access<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        self.state.as_ref().expect("it is there until the end")
    }
}

impl DerefMut for Access<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_mut().expect("it is there until the end")
    }
}

impl Drop for Access<'_> {
    #[inline]
    fn drop(&mut self) {
        let Some(state) = &mut self.state else { return };
        if state.fired.is_empty() {
            return;
        }
        let fired = std::mem::take(&mut state.fired);
        self.state = None;
        fired.fire();
    }
}
