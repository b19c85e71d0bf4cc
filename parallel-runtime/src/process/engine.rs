//! A pool of worker processes, from the program's side: its state, and how a message gets onto the board. See [`lifecycle`](super::lifecycle)
//! for its workers.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use super::sent_state::SentState;
use super::state::notices::{Fired, Waiters};
use super::state::pack::PackKind;
use super::state::queue::Entry;
use super::state::workers::Failure;
use super::state::{Access, InFlight, Life, State, Tasks};
use super::supervisor::Supervisor;
use super::termination::Limited;
use super::worker_slot::WorkerSlot;
use crate::error::{PoolError, TaskError};
use crate::function::pool_state::PoolState;
use crate::ipc::board::ring::entry;
use crate::ipc::board::slot::{INLINE_ARGUMENTS, LEVEL, PACKED, TIMED};
use crate::ipc::board::word::Word;
use crate::ipc::board::{Board, Layout, MOST_WORKERS, Slot};
use crate::observe::{self, CallSpan, Kind, Pool, dashboard, worker_events};
use crate::options::{CallOptions, WorkerOptions};
use crate::remote::message::{About, Body, Message};
use crate::remote::recording::Recorder;
use crate::remote::task_state::{TaskGroup, TaskRef};
use crate::remote::transport::Ownership;
use crate::shared::{Arena, Block};
use crate::sys::{child, fork, futex, limits, role, sandbox};
use crate::wait::gate::Gate;

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
    /// What each worker keeps, if the pool says so; and the same as it is sent to them, from the first on.
    pub(super) kept: Option<Arc<PoolState>>,
    pub(super) state_to_send: OnceLock<Result<SentState, Failure>>,
    /// How many submitted tasks may be outstanding.
    pub(super) gate: Option<Arc<Gate>>,
    /// Where failed tasks are saved, if they are.
    pub(super) recorder: Option<Arc<Recorder>>,
    /// Of calls that say nothing else.
    pub(crate) defaults: CallOptions,
    /// Threads of the program that sleep until some task is done. The same number is in shared memory for the workers; this is
    /// the one that the program believes.
    pub(super) done_waiters: AtomicU32,
    pub(super) memory: OnceLock<Memory>,
    pub(super) state: Mutex<State>,
    fired: Arc<Fired>,
    pub(super) pool: Pool,
    /// A worker_slot or the pool's life has changed: what `start` and `stop` wait for. Nothing on the way of a task notifies it, because
    /// that is a system call.
    pub(super) changed: Condvar,
}

/// The pool's part of the arena, or its own arena.
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
    pub(crate) fn new(
        workers: usize,
        options: WorkerOptions,
        kept: Option<Arc<PoolState>>,
        defaults: CallOptions,
    ) -> Arc<Self> {
        Self::with(workers, false, options, kept, defaults)
    }

    /// A process of its own for a single task.
    pub(crate) fn one_shot(options: WorkerOptions, kept: Option<Arc<PoolState>>) -> Arc<Self> {
        Self::with(1, true, options, kept, CallOptions::NONE)
    }

    fn with(
        workers: usize,
        one_shot: bool,
        options: WorkerOptions,
        kept: Option<Arc<PoolState>>,
        defaults: CallOptions,
    ) -> Arc<Self> {
        observe::begin_if_asked();
        let fired = Arc::<Fired>::default();
        let pool = Pool::new(if one_shot { Kind::Process } else { Kind::Processes }, workers, options.name);
        let engine = Arc::new(Self {
            workers,
            one_shot,
            options,
            gate: options.queue.map(|most| Arc::new(Gate::new(most))),
            recorder: Recorder::of(&options, kept.as_ref()),
            kept,
            state_to_send: OnceLock::new(),
            defaults,
            done_waiters: AtomicU32::new(0),
            memory: OnceLock::new(),
            state: Mutex::new(State::new(pool, Arc::clone(&fired))),
            fired,
            pool,
            changed: Condvar::new(),
        });
        dashboard::watch(&engine);
        engine
    }

    pub(crate) fn worker_options(&self) -> WorkerOptions {
        self.options
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Whether its workers share no objects with this process: those in a sandbox, and those that a task starts, since the objects of a worker are the
    /// program's.
    pub(super) fn is_isolated(&self) -> bool {
        self.options.sandbox.is_some() || role::in_worker()
    }

    pub(super) fn lock(&self) -> Access<'_> {
        Access::new(&self.state, &self.fired, self)
    }

    /// The board. Only called once there is one: where there is a task or a worker.
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
        let (sandboxed, limited) = (self.options.sandbox.is_some(), self.options.memory_limit.is_some());
        child::check()
            .and_then(|()| if sandboxed { sandbox::check() } else { Ok(()) })
            .and_then(|()| if limited { limits::check() } else { Ok(()) })
            .map_err(PoolError::Spawn)?;
        if self.workers > MOST_WORKERS {
            return Err(PoolError::TooManyWorkers { asked: self.workers, most: MOST_WORKERS });
        }
        let arena = if self.is_isolated() { Arena::isolated() } else { Arena::get() };
        let arena = arena.map_err(PoolError::Memory)?;
        let supervisor = Supervisor::get().map_err(PoolError::Spawn)?;
        let slots = if self.one_shot { SLOTS_ONE_SHOT } else { SLOTS };
        let layout = Layout { workers: self.workers as u32, slots };
        let mut state = self.lock();
        if self.memory.get().is_none() {
            let mut block =
                arena.take_zeroed(layout.size() as u64).map_err(|error| PoolError::Memory(io::Error::other(error)))?;
            if !block.is_zeroed() {
                // Otherwise it is not touched: most of its slots are never used.
                // SAFETY: no worker knows of this block: it was just taken.
                unsafe { block.bytes_mut(layout.size()) }.fill(std::mem::MaybeUninit::new(0));
            }
            // SAFETY: the block is as long as the layout says, starts at a page, holds zeros, and lives as long as `Memory`.
            let board = unsafe { Board::new(block.start(), layout) };
            state.workers.worker_slots.resize_with(self.workers, WorkerSlot::default);
            let _ = self.memory.set(Memory { arena, board, block });
            supervisor.know(&(Arc::clone(self) as _));
        }
        drop(state);
        Ok(&self.memory.get().expect("it was just set").arena)
    }

    /// Hands a message to the workers.
    /// `accepted`: it is part of something that was accepted before, and a pool that is shutting down still runs it.
    pub(crate) fn submit(
        self: &Arc<Self>,
        mut message: Message<'_>,
        about: About,
        accepted: bool,
        owner: Option<Ownership<'_>>,
    ) -> Result<TaskRef, TaskError> {
        self.arena().map_err(PoolError::into_task_error)?;
        let span = CallSpan::open(about.function, message.items, &self.pool);
        let mut state = self.lock();
        match state.life {
            Life::Draining if accepted => {}
            _ => state.check_open()?,
        }
        if let Some(keep) = about.keep {
            self.note_keep(&mut state, keep);
        }
        state.metrics.submitted += 1;
        state.metrics.counters.bytes_copied += message.body.len() as u64;
        state.metrics.counters.bytes_shared += about.shared;
        message.seen = state.metrics.counters.submit(about.function, message.items, span);
        let may_pack = about.packable && self.may_pack(&message);
        message.timed |= may_pack;
        let room = if may_pack { self.packed(&mut state, message.entry) } else { 1 };
        let is_first = state.queue.of(message.is_async).is_empty();
        let mut boarded = None;
        let task = match &message.body {
            Body::Inline(arguments) if room > 1 => {
                let Message { entry, limit, .. } = message;
                let table = owner.map_or(0, |owner| std::ptr::from_ref(owner.function).addr());
                let begin = || TaskGroup::new(owner.map(Ownership::owner), room as u32);
                let (task, is_full) = state.queue.calls.pack(&PackKind { entry, limit, table }, arguments, begin);
                if is_full {
                    self.refill(&mut state);
                }
                task
            }
            _ => {
                let task = TaskRef::new(owner.map(Ownership::owner));
                let is_async = message.is_async;
                boarded = if is_first { self.place(&mut state, is_async, usize::MAX) } else { None };
                if let Some(slot) = boarded {
                    self.publish(&mut state, slot, Tasks::One(task.clone()), message);
                } else {
                    state.queue.of(is_async).push_back(Entry::One(task.clone(), message.keep()));
                    if state.slots.boarded < MOST_THAT_WAIT {
                        // What waits is small, and has waited for more of its kind.
                        self.refill(&mut state);
                    }
                }
                task
            }
        };
        // If none can be started, the outstanding tasks are told, this one among them.
        self.start_wanted(&mut state);
        let has_more = !state.queue.is_empty() || !state.slots.packs.is_empty();
        let unattended = has_more && !std::mem::replace(&mut state.queue.attended, true);
        drop(state);
        if boarded.is_some() {
            self.board().wake_one();
        }
        if let Some(supervisor) = Supervisor::running().filter(|_| unattended) {
            supervisor.kick();
        }
        Ok(task)
    }

    /// Whether a message can be one of several that travel together, if it is the item of a task.
    #[inline(always)]
    fn may_pack(&self, message: &Message<'_>) -> bool {
        let has_nothing_else = message.loan.is_none() && message.retry.is_none() && message.seen.is_none();
        has_nothing_else
            && !message.is_async
            && !self.one_shot
            && matches!(message.body, Body::Inline(_))
            && worker_events::level() == 0
    }

    /// How many tasks of a function travel together: one, where they come one by one.
    #[inline(always)]
    fn packed(&self, state: &mut State, entry: u64) -> usize {
        let number = state.functions.number_of(entry);
        let room = state.functions.packed(number);
        if room == 1 || !state.queue.calls.is_empty() {
            return room;
        }
        // No more than the workers can begin while the next ones are submitted.
        if state.queue.burst.goes_on(4 * self.workers as u64, state.metrics.submitted) { room } else { 1 }
    }

    /// A slot for one more message, if there is one, and no more than `most` are on the board that keep their worker.
    pub(super) fn place(&self, state: &mut State, is_async: bool, most: usize) -> Option<u32> {
        let board = self.board();
        let slots = board.layout().slots as usize;
        // Neither kind keeps the other off the board.
        let is_full = |state: &State| {
            let used = state.slots.in_flight.len() - state.slots.free.len();
            if is_async {
                used - state.slots.boarded >= slots.saturating_sub(MOST_THAT_WAIT).max(1) || used >= slots
            } else {
                state.slots.boarded >= most.min(MOST_THAT_WAIT) || used >= slots
            }
        };
        if is_full(state) {
            self.collect(state);
            if is_full(state) {
                return None;
            }
        }
        if !board.ring().has_room(&mut state.slots.place, |slot| board.word(slot)) {
            return None;
        }
        // One that was used before, so that a lightly used pool touches few pages, and a death few slots.
        let free = state.slots.free.pop();
        if free.is_some() {
            return free;
        }
        state.slots.in_flight.push(None);
        state.slots.generations.push(0);
        Some(state.slots.in_flight.len() as u32 - 1)
    }

    /// Puts a message into a slot that `place` gave. The caller wakes a worker afterwards.
    pub(super) fn publish(&self, state: &mut State, index: u32, tasks: Tasks, message: Message<'_>) {
        let board = self.board();
        let slot = board.slot(index);
        let position = index as usize;
        state.slots.generations[position] += 1;
        let generation = state.slots.generations[position];

        let function = state.functions.number_of(message.entry);
        slot.function.store(function, Ordering::Relaxed);
        slot.items.store(message.items, Ordering::Relaxed);
        slot.waiter.store(0, Ordering::Relaxed);
        let is_timed = message.timed || message.seen.is_some();
        let timed = if is_timed { TIMED } else { 0 };
        let packed = if matches!(tasks, Tasks::Pack(_)) { PACKED } else { 0 };
        slot.wanted.store(timed | packed | (worker_events::level() << LEVEL), Ordering::Relaxed);
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
                if packed != 0 {
                    slot.begin_none();
                }
                Some(arguments)
            }
        };
        let limited = message.limit.map(|limit| {
            slot.began.store(0, Ordering::Relaxed);
            let limited = Limited::new(limit);
            self.watch_limit(state, index, &limited);
            limited
        });
        match &tasks {
            Tasks::One(task) => task.board(index, generation),
            Tasks::Pack(pack) => {
                pack.board(index, generation);
                state.slots.packs.push((index, generation));
            }
        }
        let Message { items, is_async, retry, recording, loan, seen, .. } = message;
        if let Some(seen) = &seen {
            seen.span.begin(&state.pool, entry(index, generation));
        }
        state.slots.boarded += usize::from(!is_async);
        let (is_over, held) = (false, None);
        let task = InFlight {
            tasks,
            items,
            is_async,
            arguments,
            limited,
            retry,
            recording,
            loan,
            seen,
            is_over,
            function,
            held,
        };
        state.slots.in_flight[position] = Some(task);
        slot.word.store(Word::ready(generation).0, Ordering::Release);
        board.ring().publish(&mut state.slots.place, index, generation);
    }

    /// Wakes the threads that wait for any task to be done.
    pub(super) fn notify_waiters(&self) {
        if self.done_waiters.load(Ordering::SeqCst) != 0 {
            let header = self.board().header();
            header.done_count.0.fetch_add(1, Ordering::SeqCst);
            futex::wake_all(&header.done_count.0);
        }
    }
}

impl Waiters for Engine {
    fn notify_waiters(&self) {
        Self::notify_waiters(self);
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
    // SAFETY: the slot has room for `INLINE_ARGUMENTS` bytes; it is FREE, so no worker reads or writes it, and the caller
    // this holds the engine's lock, so no other thread of ours does.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
    slot.arguments_offset.store(0, Ordering::Relaxed);
    slot.arguments_len.store(bytes.len() as u64, Ordering::Relaxed);
}
