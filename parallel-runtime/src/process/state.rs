//! What the program alone knows of a pool: its books, which no worker can write.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::audit::{Quarantine, Suspect};
use super::life::Failure;
use super::limits::Limited;
use super::seat::Seat;
use super::stderr::Stderr;
use crate::error::TaskError;
use crate::ipc::board::ring::Place;
use crate::observe::{self, Fate, Pool, Run, Seen, Tally, timeline};
use crate::panics;
use crate::remote::message::{Arguments, Loan, Message, Retry};
use crate::remote::task_state::{Outcome, TaskState};
use crate::sys::fork;
use crate::sys::role;
use crate::wait::notify::{Watchers, call_back};

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
    pub(super) queue: Queue,
    /// The same, of `async fn`s: they do not wait for those that keep their worker, nor the other way round.
    pub(super) async_queue: Queue,
    /// Tasks in slots that keep their worker.
    pub(super) boarded: usize,
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
    /// Tasks that their workers were asked to drop, and until when.
    pub(super) dismissed: Vec<(u32, u64, Instant)>,
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
    fired: Arc<Fired>,
    /// A thread looks after those tasks: see [`reactor`](super::reactor).
    pub(super) reactor: bool,
    /// It has nothing to do, and stays a while.
    pub(super) reactor_lingers: bool,
    pub(super) pool: Pool,
    pub(super) tally: Tally,
    pub(super) submitted: u64,
    pub(super) finished: u64,
    pub(super) worker_deaths: u64,
    pub(super) timed_out: u64,
    pub(super) retried: u64,
    pub(super) replaced: u64,
    pub(super) last_pid: Option<u32>,
}

/// Messages that wait for a slot.
pub(super) type Queue = VecDeque<(Arc<TaskState>, Message<'static>)>;

/// A task in a slot.
pub(super) struct InFlight {
    pub(super) ticket: Arc<TaskState>,
    pub(super) items: u32,
    pub(super) is_async: bool,
    pub(super) arguments: Option<Arguments>,
    pub(super) limited: Option<Box<Limited>>,
    pub(super) retry: Option<Box<Retry>>,
    pub(super) loan: Option<Box<Loan>>,
    pub(super) seen: Option<Box<Seen>>,
    /// Its caller knows already that it has ended; it holds its slot until its worker lets go of it.
    pub(super) is_over: bool,
}

impl State {
    pub(super) fn new(pool: Pool, fired: Arc<Fired>) -> Self {
        Self {
            life: Life::Open,
            free: Vec::new(),
            place: Place::default(),
            generations: Vec::new(),
            in_flight: Vec::new(),
            queue: Queue::new(),
            async_queue: Queue::new(),
            boarded: 0,
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
            dismissed: Vec::new(),
            quarantine: Vec::new(),
            looked: None,
            admitted: 0,
            abandoned: false,
            exiting: false,
            watched: 0,
            fired,
            reactor: false,
            reactor_lingers: false,
            pool,
            tally: Tally::default(),
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

    /// A task has ended. `seen`, `run`: if it is looked at, and if it has run; `name`: if it was on the board, `generation | slot`.
    pub(super) fn end(
        &mut self,
        ticket: &TaskState,
        outcome: Outcome,
        seen: Option<Box<Seen>>,
        run: Option<Run>,
        name: Option<u64>,
    ) {
        self.finished += 1;
        let fate = outcome.fate();
        self.tally.end(fate, seen.as_deref(), run);
        if let Some(seen) = seen {
            self.tell(*seen, run, fate, name);
        }
        let watchers = ticket.finish(outcome);
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

    pub(super) fn queue_of(&mut self, is_async: bool) -> &mut Queue {
        if is_async { &mut self.async_queue } else { &mut self.queue }
    }

    /// All that waits for a slot.
    pub(super) fn queued(&self) -> impl Iterator<Item = &(Arc<TaskState>, Message<'static>)> {
        self.queue.iter().chain(&self.async_queue)
    }

    pub(super) fn is_queue_empty(&self) -> bool {
        self.queue.is_empty() && self.async_queue.is_empty()
    }

    pub(super) fn outstanding(&self) -> usize {
        (self.submitted - self.finished) as usize
    }
}

/// Who is to be told that tasks have ended.
#[derive(Default)]
pub(super) struct Fired {
    any: AtomicBool,
    told: Mutex<Told>,
}

/// The span of a call that has ended: when and where it ran, how it ended, and the name of its task.
struct Closing {
    seen: Seen,
    run: Option<Run>,
    fate: Fate,
    task: Option<(u32, u64)>,
}

#[derive(Default)]
struct Told {
    /// What workers have sent before.
    events: Vec<(Arc<Stderr>, u64)>,
    /// Spans of calls that have ended, and the names of their tasks.
    spans: Vec<Closing>,
    watchers: Watchers,
}

impl Told {
    fn tell(self) {
        for (stderr, task) in self.events {
            panics::discard(|| stderr.end_task(task));
        }
        for Closing { seen, run, fate, task } in self.spans {
            let Seen { submitted, span, .. } = seen;
            panics::discard(|| span.close(submitted, run, fate, task));
        }
        self.watchers.fire();
    }
}

impl Fired {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn add(&self, add: impl FnOnce(&mut Told)) {
        add(&mut self.told());
        self.any.store(true, Ordering::Relaxed);
    }

    #[cold]
    fn tell(&self) {
        self.any.store(false, Ordering::Relaxed);
        let told = std::mem::take(&mut *self.told());
        if role::is_supervisor() {
            // All pools need that thread, and a waker may take its time.
            call_back(Box::new(|| told.tell()));
        } else {
            told.tell();
        }
    }
}

/// Tells who is to be told when it is dropped.
struct Telling<'e>(&'e Fired);

impl Drop for Telling<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.any.load(Ordering::Relaxed) {
            self.0.tell();
        }
    }
}

/// The books of an engine, while this thread reads or writes them. Who is to be told of the end of a task is told afterwards.
pub(super) struct Access<'e> {
    // The order matters: first the lock is free, then they are told.
    state: MutexGuard<'e, State>,
    telling: Telling<'e>,
}

impl<'e> Access<'e> {
    #[inline(always)]
    pub(super) fn new(state: &'e Mutex<State>, fired: &'e Fired) -> Self {
        Self { state: state.lock().unwrap_or_else(PoisonError::into_inner), telling: Telling(fired) }
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
