//! A pool of worker processes, from the program's side: its state, and how a message gets onto the board. See [`life`](super::life)
//! for its workers.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use super::admission::Admission;
use super::board::ring::entry;
use super::board::slot::{ASIDE, INLINE_ARGUMENTS, LEVEL, TIMED};
use super::board::word::{State as SlotState, Word};
use super::board::{Board, Layout, MOST_WORKERS, Slot};
use super::limits::Limited;
use super::message::{About, Body, Message};
use super::seat::{Seat, Worker};
use super::state::Fired;
pub(super) use super::state::{Access, InFlight, Life, Queue, State};
use super::supervisor::Supervisor;
use super::ticket::{Outcome, Phase, Ticket};
use super::{clock, fork, futex};
use crate::error::{PoolError, TaskError};
use crate::observe::{CallSpan, Fate, Kind, Pool, Run, Seen, spans, timeline};
use crate::options::{CallOptions, WorkerOptions};
use crate::pool::{PoolStats, WorkerLoad};
use crate::shared::{Arena, Block};

/// Slots of an ordinary pool: what does not fit waits in the program. Those that are never used take no memory.
const SLOTS: u32 = 1 << 14;

/// How many of them may hold tasks that keep their worker, not counting those of `async fn`s: all are looked through when a
/// worker dies.
const MOST_THAT_WAIT: usize = 1 << 12;

/// Slots of a process that runs a single task.
const SLOTS_ONE_SHOT: u32 = 2;

/// A pool of worker processes: what [`ProcessPool`](crate::ProcessPool) stands for once it has been used.
pub(crate) struct Engine {
    pub(super) workers: usize,
    pub(super) one_shot: bool,
    pub(super) options: WorkerOptions,
    /// Of calls that say nothing else.
    pub(crate) defaults: CallOptions,
    /// Threads of the program that sleep until some task is done. The same number is in shared memory for the workers; this is
    /// the one that the program believes.
    pub(super) done_waiters: AtomicU32,
    pub(super) memory: OnceLock<Memory>,
    pub(super) state: Mutex<State>,
    fired: Arc<Fired>,
    pub(super) pool: Pool,
    /// A seat or the pool's life has changed: what `start` and `stop` wait for. Nothing on the way of a task notifies it, because
    /// that is a system call.
    pub(super) changed: Condvar,
}

/// The pool's part of the arena.
pub(super) struct Memory {
    pub(super) arena: Arc<Arena>,
    pub(super) board: Board,
    pub(super) block: Block,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Engine {
    /// A pool that starts its workers when there is work for them.
    pub(crate) fn new(workers: usize, options: WorkerOptions, defaults: CallOptions) -> Arc<Self> {
        Self::with(workers, false, options, defaults)
    }

    /// A process of its own for a single task.
    pub(crate) fn one_shot(options: WorkerOptions) -> Arc<Self> {
        Self::with(1, true, options, CallOptions::NONE)
    }

    fn with(workers: usize, one_shot: bool, options: WorkerOptions, defaults: CallOptions) -> Arc<Self> {
        timeline::begin_if_asked();
        let fired = Arc::<Fired>::default();
        let pool = Pool::new(if one_shot { Kind::Process } else { Kind::Processes }, workers);
        Arc::new(Self {
            workers,
            one_shot,
            options,
            defaults,
            done_waiters: AtomicU32::new(0),
            memory: OnceLock::new(),
            state: Mutex::new(State::new(pool, Arc::clone(&fired))),
            fired,
            pool,
            changed: Condvar::new(),
        })
    }

    pub(crate) fn worker_options(&self) -> WorkerOptions {
        self.options
    }

    pub(crate) fn has_sandbox(&self) -> bool {
        self.options.sandbox.is_some()
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    pub(super) fn lock(&self) -> Access<'_> {
        Access::new(&self.state, &self.fired)
    }

    /// The board. Only called once there is one: whoever has a ticket or a worker.
    pub(super) fn board(&self) -> &Board {
        &self.memory.get().expect("the board is made before the first task and the first worker").board
    }

    pub(super) fn has_board(&self) -> bool {
        self.memory.get().is_some()
    }

    /// The arena, after making sure that there is a board.
    pub(crate) fn arena(self: &Arc<Self>) -> Result<&Arc<Arena>, PoolError> {
        fork::check().map_err(PoolError::Spawn)?;
        if let Some(memory) = self.memory.get() {
            return Ok(&memory.arena);
        }
        if self.workers > MOST_WORKERS {
            return Err(PoolError::TooManyWorkers { asked: self.workers, most: MOST_WORKERS });
        }
        let arena = Arena::get().map_err(PoolError::Memory)?;
        let supervisor = Supervisor::get().map_err(PoolError::Spawn)?;
        let slots = if self.one_shot { SLOTS_ONE_SHOT } else { SLOTS };
        let layout = Layout { workers: self.workers as u32, slots };
        let mut state = self.lock();
        if self.memory.get().is_none() {
            let mut block =
                arena.take(layout.size() as u64).map_err(|error| PoolError::Memory(io::Error::other(error)))?;
            // SAFETY: no worker knows of this block: it was just taken.
            unsafe { block.bytes_mut(layout.size()) }.fill(std::mem::MaybeUninit::new(0));
            // SAFETY: the block is as long as the layout says, starts at a page, holds zeros, and lives as long as `Memory`.
            let board = unsafe { Board::new(block.start(), layout) };
            state.seats.resize_with(self.workers, Seat::default);
            let _ = self.memory.set(Memory { arena, board, block });
            supervisor.know(self);
        }
        drop(state);
        Ok(&self.memory.get().expect("it was just set").arena)
    }

    /// Hands a message to the workers.
    /// `admitted`: it is part of something that was accepted before, and a pool that is shutting down still runs it.
    pub(crate) fn submit(
        self: &Arc<Self>,
        mut message: Message<'_>,
        about: About,
        admitted: Option<&Admission>,
    ) -> Result<Arc<Ticket>, TaskError> {
        self.arena().map_err(PoolError::into_task_error)?;
        let ticket = Arc::new(Ticket::new());
        let span = CallSpan::open(about.function, message.items, &self.pool);
        let mut state = self.lock();
        match state.life {
            Life::Draining if admitted.is_some() => {}
            _ => state.check_open()?,
        }
        state.submitted += 1;
        state.tally.bytes_copied += message.body.len() as u64;
        state.tally.bytes_shared += about.shared;
        message.seen = state.tally.submit(about.function, message.items, span);
        let is_first = state.queue_of(message.is_async).is_empty();
        let boarded = if is_first { self.place(&mut state, message.is_async) } else { None };
        match boarded {
            Some(slot) => self.publish(&mut state, slot, Arc::clone(&ticket), message),
            None => {
                let is_async = message.is_async;
                state.queue_of(is_async).push_back((Arc::clone(&ticket), message.keep()));
                self.feed(&mut state);
            }
        }
        // If none can be started, the outstanding tasks are told, this one among them.
        self.start_wanted(&mut state);
        drop(state);
        if boarded.is_some() {
            self.board().wake_one();
        }
        Ok(ticket)
    }

    /// A slot for one more task, if there is one.
    pub(super) fn place(&self, state: &mut State, is_async: bool) -> Option<u32> {
        let board = self.board();
        let slots = board.layout().slots as usize;
        // Neither kind keeps the other off the board.
        let is_full = |state: &State| {
            let used = state.in_flight.len() - state.free.len();
            if is_async {
                used - state.boarded >= slots.saturating_sub(MOST_THAT_WAIT).max(1) || used >= slots
            } else {
                state.boarded >= MOST_THAT_WAIT || used >= slots
            }
        };
        if is_full(state) {
            self.harvest(state);
            if is_full(state) {
                return None;
            }
        }
        if !board.ring().has_room(&mut state.place, |slot| board.word(slot)) {
            return None;
        }
        // One that was used before, so that a lightly used pool touches few pages, and a death few slots.
        let free = state.free.pop();
        if free.is_some() {
            return free;
        }
        state.in_flight.push(None);
        state.generations.push(0);
        Some(state.in_flight.len() as u32 - 1)
    }

    /// Puts a message into a slot that `place` gave. Whoever calls it wakes a worker afterwards.
    pub(super) fn publish(&self, state: &mut State, index: u32, ticket: Arc<Ticket>, message: Message<'_>) {
        let board = self.board();
        let slot = board.slot(index);
        let position = index as usize;
        state.generations[position] += 1;
        let generation = state.generations[position];

        slot.entry.store(message.entry, Ordering::Relaxed);
        slot.items.store(message.items, Ordering::Relaxed);
        slot.waiter.store(0, Ordering::Relaxed);
        let is_timed = message.timed || message.seen.is_some();
        let timed = if is_timed { TIMED } else { 0 };
        slot.wanted.store(timed | (spans::level() << LEVEL), Ordering::Relaxed);
        if is_timed || message.is_async {
            slot.began.store(0, Ordering::Relaxed);
        }
        slot.limited.store(message.limit.map_or(0, milliseconds), Ordering::Relaxed);
        let arguments = match message.body {
            Body::Inline(bytes) => {
                put_inline(slot, bytes);
                None
            }
            Body::Kept(bytes) => {
                put_inline(slot, &bytes);
                None
            }
            Body::Block(arguments) => {
                slot.arguments_offset.store(arguments.block.offset(), Ordering::Relaxed);
                slot.arguments_len.store(arguments.len as u64, Ordering::Relaxed);
                Some(arguments)
            }
        };
        let limited = message.limit.map(|limit| {
            slot.began.store(0, Ordering::Relaxed);
            let limited = Limited::new(limit);
            self.watch_limit(state, index, &limited);
            limited
        });
        ticket.board(index, generation);
        let Message { items, is_async, retry, loan, seen, .. } = message;
        if let Some(seen) = &seen {
            seen.span.begin(&state.pool, entry(index, generation));
        }
        state.boarded += usize::from(!is_async);
        state.in_flight[position] =
            Some(InFlight { ticket, items, is_async, arguments, limited, retry, loan, seen, is_over: false });
        slot.word.store(Word::ready(generation).0, Ordering::Release);
        board.ring().publish(&mut state.place, index, generation);
    }

    /// Wakes the threads that wait for any task to be done.
    pub(super) fn notify_waiters(&self) {
        if self.done_waiters.load(Ordering::SeqCst) != 0 {
            let header = self.board().header();
            header.done_count.0.fetch_add(1, Ordering::SeqCst);
            futex::wake_all(&header.done_count.0);
        }
    }

    /// Frees a task's slot and gives it the outcome that `collect` makes.
    pub(super) fn finish_with(
        &self,
        state: &mut State,
        index: u32,
        collect: impl FnOnce(&mut State, &InFlight) -> Outcome,
    ) {
        let Some(mut task) = state.in_flight[index as usize].take() else { return };
        let mut outcome = collect(state, &task);
        let seen = task.seen.take();
        let run = seen.as_ref().and_then(|seen| self.run_of(index, &task, seen));
        if spans::level() > 0 {
            self.note_events(state, index, &mut outcome);
        }
        let name = entry(index, state.generations[index as usize]);
        state.boarded -= usize::from(!task.is_async);
        self.free(state, index);
        if task.is_over {
            return;
        }
        if let Some(arguments) = task.arguments.filter(|arguments| !arguments.marks.is_empty()) {
            outcome.rare().arguments = Some(arguments);
        }
        if let Some(loan) = task.loan {
            outcome.rare().loan = Some(loan);
        }
        state.end(&task.ticket, outcome, seen, run, Some(name));
        self.wake_waiter(index);
    }

    /// If the worker of a task has sent events, they are emitted before anybody sees the end of the task.
    #[cold]
    fn note_events(&self, state: &mut State, index: u32, outcome: &mut Outcome) {
        let place = self.board().slot(index).load().worker();
        let Some(seat) = state.seats.get_mut(place as usize) else { return };
        let sent = self.board().record(place).events.load(Ordering::Acquire);
        let has_sent = std::mem::replace(&mut seat.events, sent) != sent;
        if let Some(stderr) = seat.stderr.clone() {
            state.has_events(&stderr, entry(index, state.generations[index as usize]));
            outcome.rare().events = Some(stderr).filter(|_| has_sent);
        }
    }

    /// From when to when a task ran, and where. What its worker says is not believed further than it can be true.
    #[cold]
    fn run_of(&self, index: u32, task: &InFlight, seen: &Seen) -> Option<Run> {
        let slot = self.board().slot(index);
        let word = slot.load();
        let place = word.worker();
        if !matches!(word.state(), SlotState::Claimed | SlotState::Done) || place as usize >= self.workers {
            return None;
        }
        let now = clock::now().max(seen.submitted);
        let (began, time) = (slot.began.load(Ordering::Relaxed), slot.nanoseconds.load(Ordering::Relaxed));
        let began = match began & !ASIDE {
            0 => now,
            // With a limit this is when the last item ended.
            last if task.limited.is_some() && began & ASIDE == 0 && word.state() == SlotState::Done => {
                last.saturating_sub(time)
            }
            began => began,
        };
        let began = began.clamp(seen.submitted, now);
        let is_done = word.state() == SlotState::Done;
        let ended = if is_done { began.saturating_add(time).min(now) } else { now };
        let pid = self.board().record(place).pid.load(Ordering::Relaxed);
        Some(Run { began, ended, place, pid })
    }

    /// Takes a task off the board, to be sent once more: its worker is gone, or has dropped it.
    pub(super) fn run_again(&self, state: &mut State, index: u32, fate: Fate) {
        let Some(mut task) = state.in_flight[index as usize].take() else { return };
        let seen = task.seen.take();
        let run = seen.as_ref().and_then(|seen| self.run_of(index, &task, seen));
        let again = seen.as_ref().map(|seen| Seen::new(seen.function, seen.items, seen.weight, seen.span.clone()));
        if let Some(mut seen) = seen {
            // The span goes on.
            seen.span = CallSpan::none();
            state.tell(*seen, run, fate, None);
        }
        state.boarded -= usize::from(!task.is_async);
        let InFlight { ticket, retry: Some(retry), loan, .. } = task else { return };
        self.free(state, index);
        let arena = &self.memory.get().expect("a task was on the board").arena;
        // SAFETY: whoever calls this has seen the worker's end, or that it has dropped the task, and with it what it was lent.
        match unsafe { retry.next(arena, loan) } {
            Ok(mut message) => {
                state.retried += 1;
                message.seen = again;
                ticket.requeue();
                state.queue_of(message.is_async).push_front((ticket, message));
            }
            Err(error) => state.end(&ticket, Outcome::error(error), again, None, None),
        }
        self.wake_waiter(index);
    }

    /// From here on no entry of the ring and no completion matches the slot.
    fn free(&self, state: &mut State, index: u32) {
        let slot: &Slot = self.board().slot(index);
        slot.word.store(Word::free(state.generations[index as usize]).0, Ordering::SeqCst);
        state.free.push(index);
    }

    pub(super) fn wake_waiter(&self, index: u32) {
        let slot = self.board().slot(index);
        if slot.waiter.load(Ordering::SeqCst) != 0 {
            futex::wake_all(slot.futex());
        }
    }

    /// Cancels a task that no worker has claimed. True if it will never run.
    pub(crate) fn cancel(&self, ticket: &Ticket) -> bool {
        if fork::check().is_err() {
            return false;
        }
        let mut state = self.lock();
        let cancelled = match ticket.phase() {
            Phase::Finished => false,
            Phase::Queued => {
                let take = |queue: &mut Queue| {
                    let position = queue.iter().position(|(queued, _)| std::ptr::eq(&**queued, ticket))?;
                    queue.remove(position)
                };
                let taken = take(&mut state.queue).or_else(|| take(&mut state.async_queue));
                if let Some((queued, message)) = taken {
                    state.end(&queued, Outcome::error(TaskError::Cancelled), message.seen, None, None);
                    true
                } else {
                    false
                }
            }
            Phase::Boarded { slot, generation } => {
                let ready = Word::ready(generation).0;
                let free = Word::free(generation).0;
                let word = &self.board().slot(slot).word;
                // If this succeeds no worker will claim it; if a worker was faster, it runs.
                if word.compare_exchange(ready, free, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                    self.finish_with(&mut state, slot, |_, _| Outcome::error(TaskError::Cancelled));
                    self.refill(&mut state);
                    true
                } else {
                    false
                }
            }
        };
        drop(state);
        if cancelled {
            self.notify_waiters();
        }
        cancelled
    }

    /// Nobody waits for a task any more. If shared memory goes with it, somebody has to see when it ends.
    pub(crate) fn abandon(&self, ticket: &Ticket) {
        if ticket.is_finished() || fork::check().is_err() {
            return;
        }
        let mut state = self.lock();
        ticket.abandon();
        let has_loan = match ticket.phase() {
            Phase::Boarded { slot, .. } => {
                state.in_flight[slot as usize].as_ref().is_some_and(|task| task.loan.is_some())
            }
            // The queue may be long: whoever looks after it will see.
            Phase::Queued => true,
            Phase::Finished => false,
        };
        if !state.abandoned && has_loan {
            state.abandoned = true;
            drop(state);
            if let Some(supervisor) = Supervisor::running() {
                supervisor.kick();
            }
        }
    }

    /// A task is sent once more by whoever waits for it.
    pub(super) fn count_retry(&self) {
        let mut state = self.lock();
        state.retried += 1;
        // The try that failed was no task of its own.
        state.submitted -= 1;
        state.finished -= 1;
        state.tally.failed -= 1;
    }

    /// Whether a worker has claimed the task and has not completed it.
    pub(crate) fn is_running(&self, ticket: &Ticket) -> bool {
        match ticket.phase() {
            Phase::Boarded { slot, generation } => {
                let word = self.board().slot(slot).load();
                word.generation() == generation && word.state() == SlotState::Claimed
            }
            _ => false,
        }
    }

    /// The process id of the worker that was started last.
    pub(crate) fn last_pid(&self) -> Option<u32> {
        self.lock().last_pid
    }

    /// Process ids of the workers that are alive.
    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        self.lock().seats.iter().filter_map(|seat| seat.worker().map(Worker::pid)).collect()
    }

    pub(crate) fn stats(&self) -> PoolStats {
        if fork::check().is_err() {
            return PoolStats::empty(self.workers);
        }
        let mut state = self.lock();
        if self.has_board() {
            self.harvest(&mut state);
        }
        let claimed = |task: &(usize, &Option<InFlight>)| {
            task.1.is_some() && self.board().slot(task.0 as u32).load().state() == SlotState::Claimed
        };
        let running = state.in_flight.iter().enumerate().filter(claimed).count() as u64;
        PoolStats {
            workers_alive: state.seats.iter().filter(|seat| seat.worker().is_some()).count(),
            submitted: state.submitted,
            finished: state.finished,
            done: state.tally.done,
            failed: state.tally.failed,
            cancelled: state.tally.cancelled,
            running,
            queued: (state.submitted - state.finished).saturating_sub(running),
            worker_deaths: state.worker_deaths,
            timed_out: state.timed_out,
            retried: state.retried,
            replaced: state.replaced,
            bytes_copied: state.tally.bytes_copied,
            bytes_shared: state.tally.bytes_shared,
            waited: state.tally.waited.percentiles(),
            ran: state.tally.ran.percentiles(),
            load: self.load(&state),
            ..PoolStats::empty(self.workers)
        }
    }

    /// How busy the workers are, as they say.
    fn load(&self, state: &State) -> Vec<WorkerLoad> {
        let now = clock::coarse();
        let each = state.seats.iter().enumerate().filter_map(|(index, seat)| {
            let alive = seat.first?.elapsed();
            let record = self.board().record(index as u32);
            let since = record.busy_since.load(Ordering::Relaxed);
            let current = if since == 0 { 0 } else { now.saturating_sub(since) };
            let busy = Duration::from_nanos(record.busy.load(Ordering::Relaxed).saturating_add(current)).min(alive);
            Some(WorkerLoad::new(seat.worker().map(Worker::pid), busy, alive))
        });
        each.collect()
    }
}

/// A limit as the worker is told it.
fn milliseconds(limit: Duration) -> u32 {
    u32::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

/// Copies arguments into a slot.
fn put_inline(slot: &Slot, bytes: &[u8]) {
    assert!(bytes.len() <= INLINE_ARGUMENTS, "inline arguments fit into a slot");
    let target = slot.arguments.0.get().cast::<u8>();
    // SAFETY: the slot has room for `INLINE_ARGUMENTS` bytes; it is FREE, so no worker reads or writes it, and whoever calls
    // this holds the engine's lock, so no other thread of ours does.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
    slot.arguments_offset.store(0, Ordering::Relaxed);
    slot.arguments_len.store(bytes.len() as u64, Ordering::Relaxed);
}
