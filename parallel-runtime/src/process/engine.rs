//! A pool of worker processes, from the program's side: its state, and how a message gets onto the board.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::board::slot::INLINE_ARGUMENTS;
use super::board::word::{State as SlotState, Word};
use super::board::{Board, Layout, MOST_WORKERS, Slot};
use super::handshake::Welcome;
use super::message::{Arguments, Body, Message};
use super::seat::{Occupant, Seat, Worker};
use super::spawn;
use super::supervisor::Supervisor;
use super::ticket::{Outcome, Phase, Ticket};
use super::{futex, hook};
use crate::error::{PoolError, TaskError};
use crate::pool::PoolStats;
use crate::shared::{Arena, Block};

/// Slots of an ordinary pool: what does not fit waits in the program.
const SLOTS: u32 = 4096;

/// Slots of a process that runs a single task.
const SLOTS_ONE_SHOT: u32 = 2;

/// Bytes of a worker's result region. Its pages come when they are touched.
const REGION: u64 = 4 << 20;

/// After so many points for workers in a row that died before they were ready, the pool gives up what is outstanding.
const MOST_FAILED_STARTS: u32 = 300;

/// Points for a worker that ended by itself: a program whose workers cannot start shows it three times.
const FAILED_START: u32 = 100;

/// Points for a worker that was killed from outside, which says little about the next one.
const KILLED_START: u32 = 1;

/// How long a new worker may take until it is ready.
pub(super) const START_LIMIT: Duration = Duration::from_secs(20);

/// A pool of worker processes: what [`ProcessPool`](crate::ProcessPool) stands for once it has been used.
pub(crate) struct Engine {
    workers: usize,
    one_shot: bool,
    memory: OnceLock<Memory>,
    pub(super) state: Mutex<State>,
    /// A seat or the pool's life has changed: what `start` and `stop` wait for. Nothing on the way of a task notifies it, because
    /// that is a system call.
    pub(super) changed: Condvar,
}

/// The pool's part of the arena.
struct Memory {
    arena: Arc<Arena>,
    board: Board,
    block: Block,
}

/// How far the pool's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// Takes no more tasks, and runs those it has.
    Draining,
    Stopped,
}

/// What the program alone knows.
pub(super) struct State {
    pub(super) life: Life,
    /// Slots that hold no task.
    pub(super) free: Vec<u32>,
    /// A place that `head` is known to have reached.
    pub(super) head_seen: u64,
    /// By slot: its current generation.
    pub(super) generations: Vec<u64>,
    /// By slot: the task in it.
    pub(super) in_flight: Vec<Option<InFlight>>,
    /// What found no slot.
    pub(super) queue: VecDeque<(Arc<Ticket>, Message<'static>)>,
    pub(super) seats: Vec<Seat>,
    pub(super) failed_starts: u32,
    /// How often the pool has given up.
    pub(super) given_up: u64,
    pub(super) feeder: bool,
    pub(super) submitted: u64,
    pub(super) finished: u64,
    pub(super) worker_deaths: u64,
    pub(super) last_pid: Option<u32>,
}

/// A task in a slot.
pub(super) struct InFlight {
    pub(super) ticket: Arc<Ticket>,
    pub(super) items: u32,
    pub(super) arguments: Option<Arguments>,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl State {
    pub(super) fn outstanding(&self) -> usize {
        (self.submitted - self.finished) as usize
    }
}

impl Engine {
    /// A pool that starts its workers when there is work for them.
    pub(crate) fn new(workers: usize) -> Arc<Self> {
        Self::with(workers, false)
    }

    /// A process of its own for a single task.
    pub(crate) fn one_shot() -> Arc<Self> {
        Self::with(1, true)
    }

    fn with(workers: usize, one_shot: bool) -> Arc<Self> {
        Arc::new(Self {
            workers,
            one_shot,
            memory: OnceLock::new(),
            state: Mutex::new(State {
                life: Life::Open,
                free: Vec::new(),
                head_seen: 0,
                generations: Vec::new(),
                in_flight: Vec::new(),
                queue: VecDeque::new(),
                seats: Vec::new(),
                failed_starts: 0,
                given_up: 0,
                feeder: false,
                submitted: 0,
                finished: 0,
                worker_deaths: 0,
                last_pid: None,
            }),
            changed: Condvar::new(),
        })
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    pub(super) fn is_one_shot(&self) -> bool {
        self.one_shot
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The board. Only called once there is one: whoever has a ticket or a worker.
    pub(super) fn board(&self) -> &Board {
        &self.memory.get().expect("the board is made before the first task and the first worker").board
    }

    pub(super) fn has_board(&self) -> bool {
        self.memory.get().is_some()
    }

    /// The arena, after making sure that there is a board.
    pub(crate) fn arena(&self) -> Result<&Arc<Arena>, PoolError> {
        if let Some(memory) = self.memory.get() {
            return Ok(&memory.arena);
        }
        if self.workers > MOST_WORKERS {
            return Err(PoolError::TooManyWorkers { asked: self.workers, most: MOST_WORKERS });
        }
        let arena = Arena::get().map_err(PoolError::Memory)?;
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
            // Popped from the end: low slots first, so that a lightly used pool touches few pages.
            state.free = (0..slots).rev().collect();
            state.generations = vec![0; slots as usize];
            state.in_flight.resize_with(slots as usize, || None);
            state.seats.resize_with(self.workers, Seat::default);
            let _ = self.memory.set(Memory { arena, board, block });
        }
        drop(state);
        Ok(&self.memory.get().expect("it was just set").arena)
    }

    /// Hands a message to the workers.
    pub(crate) fn submit(self: &Arc<Self>, message: Message<'_>) -> Result<Arc<Ticket>, TaskError> {
        self.arena().map_err(PoolError::into_task_error)?;
        let ticket = Arc::new(Ticket::new());
        let mut state = self.lock();
        if state.life != Life::Open {
            return Err(TaskError::PoolClosed);
        }
        state.submitted += 1;
        let boarded = if state.queue.is_empty() { self.place(&mut state) } else { None };
        match boarded {
            Some(slot) => self.publish(&mut state, slot, Arc::clone(&ticket), message),
            None => {
                state.queue.push_back((Arc::clone(&ticket), message.keep()));
                self.feed(&mut state);
            }
        }
        let new_seat = self.wanted(&mut state);
        drop(state);
        if boarded.is_some() {
            self.board().wake_one();
        }
        if let Some(seat) = new_seat {
            // Its failure is told to the outstanding tasks, this one among them, if there is no other worker.
            let _ = self.fill(seat);
        }
        Ok(ticket)
    }

    /// A slot for one more task, if there is one.
    pub(super) fn place(&self, state: &mut State) -> Option<u32> {
        if state.free.is_empty() {
            self.harvest(state);
        }
        let board = self.board();
        if !board.ring().has_room(&mut state.head_seen, |slot| board.word(slot)) {
            return None;
        }
        state.free.pop()
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
        slot.timed.store(message.timed.into(), Ordering::Relaxed);
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
        ticket.board(index, generation);
        state.in_flight[position] = Some(InFlight { ticket, items: message.items, arguments });
        slot.word.store(Word::ready(generation).0, Ordering::Release);
        board.ring().publish(index, generation);
    }

    /// A place to fill, if there is more work than workers. It is marked as being filled.
    fn wanted(&self, state: &mut State) -> Option<usize> {
        let filled = state.seats.iter().filter(|seat| !seat.is_free()).count();
        if filled >= self.workers || state.outstanding() <= filled {
            return None;
        }
        self.reserve(state)
    }

    fn reserve(&self, state: &mut State) -> Option<usize> {
        let free = state.seats.iter().position(Seat::is_free)?;
        state.seats[free].occupant = Occupant::Starting;
        Some(free)
    }

    /// Starts a worker for a place that was reserved.
    pub(super) fn fill(self: &Arc<Self>, seat: usize) -> io::Result<()> {
        let filled = self.try_fill(seat);
        if let Err(error) = &filled {
            let mut state = self.lock();
            state.seats[seat].occupant = Occupant::Nobody;
            self.give_up(&mut state, error);
        }
        self.changed.notify_all();
        filled
    }

    fn try_fill(self: &Arc<Self>, seat: usize) -> io::Result<()> {
        let memory = self.memory.get().expect("there is a board before there are workers");
        let supervisor = Supervisor::get()?;
        {
            let mut state = self.lock();
            if state.seats[seat].region.is_none() {
                state.seats[seat].region = Some(memory.arena.take(REGION).map_err(io::Error::other)?);
            }
            let region = state.seats[seat].region.as_ref().expect("it was just made");
            let record = memory.board.record(seat as u32);
            record.region_offset.store(region.offset(), Ordering::Relaxed);
            record.region_len.store(REGION, Ordering::Relaxed);
            record.wake.store(0, Ordering::Relaxed);
            record.searching.store(0, Ordering::Relaxed);
        }
        let welcome = Welcome::new(
            memory.arena.segment().len(),
            memory.block.offset(),
            memory.board.layout().workers,
            memory.board.layout().slots,
            seat as u32,
            self.one_shot,
        );
        let started = spawn::spawn(&memory.arena, &welcome)?;
        let key = supervisor.new_key();
        let mut worker = Box::new(Worker { started, key, since: Instant::now(), ready: false, late: false });
        let mut state = self.lock();
        if state.life == Life::Stopped {
            drop(state);
            worker.kill();
            return Err(io::Error::other("the pool was stopped"));
        }
        if let Err(error) = supervisor.watch(self, seat, &worker) {
            // Nobody would see its death, so it must not live; it may have claimed a task already.
            let pid = worker.pid();
            worker.kill();
            self.bury(&mut state, seat as u32, || TaskError::WorkerDied {
                function: "",
                pid,
                signal: Some(libc::SIGKILL),
                exit_code: None,
            });
            return Err(error);
        }
        state.last_pid = Some(worker.pid());
        state.seats[seat].occupant = Occupant::Worker(worker);
        Ok(())
    }

    /// Ends all that is outstanding, because no worker can be had.
    pub(super) fn give_up(&self, state: &mut State, error: &io::Error) {
        state.failed_starts = 0;
        state.given_up += 1;
        if !state.seats.iter().all(Seat::is_free) {
            // The workers that there are go on with what there is.
            return;
        }
        self.end_all(state, || {
            TaskError::Spawn(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            })
        });
    }

    /// Counts a worker that died before it was ready. True if there have been too many in a row.
    pub(super) fn count_failed_start(state: &mut State, killed: bool) -> bool {
        state.failed_starts += if killed { KILLED_START } else { FAILED_START };
        state.failed_starts >= MOST_FAILED_STARTS
    }

    /// Ends all that is outstanding. No worker may be running any of it.
    fn end_all(&self, state: &mut State, error: impl Fn() -> TaskError) {
        for (ticket, _) in std::mem::take(&mut state.queue) {
            ticket.finish(Outcome::error(error()));
            state.finished += 1;
        }
        for index in 0..state.in_flight.len() {
            if state.in_flight[index].is_some() {
                self.finish_with(state, index as u32, |_, _| Outcome::error(error()));
            }
        }
        self.notify_waiters();
    }

    /// Wakes the threads that wait for any task to be done.
    pub(super) fn notify_waiters(&self) {
        let header = self.board().header();
        if header.done_waiters.0.load(Ordering::SeqCst) != 0 {
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
        let position = index as usize;
        let Some(task) = state.in_flight[position].take() else { return };
        let mut outcome = collect(state, &task);
        let slot: &Slot = self.board().slot(index);
        // From here on no entry of the ring and no completion matches the slot.
        slot.word.store(Word::free(state.generations[position]).0, Ordering::SeqCst);
        state.free.push(index);
        state.finished += 1;
        if let Some(arguments) = task.arguments.filter(|arguments| !arguments.marks.is_empty()) {
            outcome.rare().arguments = Some(arguments);
        }
        task.ticket.finish(outcome);
        if slot.waiter.load(Ordering::SeqCst) != 0 {
            futex::wake_all(slot.futex());
        }
    }

    /// Cancels a task that no worker has claimed. True if it will never run.
    pub(crate) fn cancel(&self, ticket: &Ticket) -> bool {
        let mut state = self.lock();
        let cancelled = match ticket.phase() {
            Phase::Finished => false,
            Phase::Queued => {
                let position = state.queue.iter().position(|(queued, _)| std::ptr::eq(&**queued, ticket));
                if let Some((queued, _)) = position.and_then(|position| state.queue.remove(position)) {
                    state.finished += 1;
                    queued.finish(Outcome::error(TaskError::Cancelled));
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

    /// Starts all workers and waits until they are ready.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), PoolError> {
        self.arena()?;
        if hook::in_worker() {
            return Ok(());
        }
        let mut state = self.lock();
        if state.life != Life::Open {
            return Err(PoolError::Closed);
        }
        let given_up = state.given_up;
        let mut seats = Vec::new();
        while let Some(seat) = self.reserve(&mut state) {
            seats.push(seat);
        }
        drop(state);
        // All are started before any is waited for.
        let mut failure = None;
        for seat in seats {
            if let Err(error) = self.fill(seat) {
                failure = Some(error);
            }
        }
        if let Some(error) = failure {
            return Err(PoolError::Spawn(error));
        }
        let mut state = self.lock();
        while !state.seats.iter().all(|seat| seat.worker().is_some_and(|worker| worker.ready)) {
            if state.life != Life::Open {
                return Err(PoolError::Closed);
            }
            if state.given_up != given_up || state.seats.iter().any(Seat::is_free) {
                return Err(PoolError::Spawn(io::Error::other("workers end before they are ready")));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
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
        let mut state = self.lock();
        if self.has_board() {
            self.harvest(&mut state);
        }
        let claimed = |task: &(usize, &Option<InFlight>)| {
            task.1.is_some() && self.board().slot(task.0 as u32).load().state() == SlotState::Claimed
        };
        let running = state.in_flight.iter().enumerate().filter(claimed).count() as u64;
        PoolStats {
            workers: self.workers,
            workers_alive: state.seats.iter().filter(|seat| seat.worker().is_some()).count(),
            submitted: state.submitted,
            finished: state.finished,
            running,
            queued: (state.submitted - state.finished).saturating_sub(running),
            worker_deaths: state.worker_deaths,
        }
    }

    /// Takes no more tasks, waits until those it has are done, and ends the workers.
    pub(crate) fn shutdown(&self) {
        {
            let mut state = self.lock();
            if state.life == Life::Open {
                state.life = Life::Draining;
            }
        }
        if self.has_board() {
            self.wait_until(|| {
                let mut state = self.lock();
                self.harvest(&mut state);
                self.refill(&mut state);
                state.outstanding() == 0
            });
        }
        let mut workers = self.stop();
        for worker in &mut workers {
            // The end of its control socket is the worker's end.
            let _ = rustix::net::shutdown(&worker.started.socket, rustix::net::Shutdown::Both);
        }
        for worker in &mut workers {
            let _ = worker.started.child.wait();
        }
        self.release_memory();
    }

    /// Takes no more tasks, and ends workers and tasks at once.
    pub(crate) fn kill(&self) {
        let mut workers = self.stop();
        for worker in &mut workers {
            let _ = worker.started.child.kill();
        }
        for worker in &mut workers {
            // After this nobody writes into the tasks' memory.
            let _ = worker.started.child.wait();
        }
        if self.has_board() {
            let mut state = self.lock();
            self.harvest(&mut state);
            self.end_all(&mut state, || TaskError::Cancelled);
        }
        drop(workers);
        self.release_memory();
    }

    /// Marks the pool as stopped and empties its places.
    #[expect(clippy::vec_box, reason = "they come out of their places as they are")]
    fn stop(&self) -> Vec<Box<Worker>> {
        let mut state = self.lock();
        state.life = Life::Stopped;
        // Whoever is just starting a worker will find the pool stopped, and end it again.
        while state.seats.iter().any(|seat| matches!(seat.occupant, Occupant::Starting)) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let workers: Vec<_> = state.seats.iter_mut().filter_map(Seat::take).collect();
        drop(state);
        if let Some(supervisor) = Supervisor::running() {
            for worker in &workers {
                supervisor.forget(worker);
            }
        }
        self.changed.notify_all();
        workers
    }

    /// Gives back the result regions. No worker is left to write them.
    fn release_memory(&self) {
        for seat in &mut self.lock().seats {
            seat.region = None;
            seat.grants.clear();
        }
    }
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
