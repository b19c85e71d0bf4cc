//! The workers of a pool: when they are started, and what happens if they cannot be.
//!
//! All workers are started on the supervisor's thread, which lives as long as the program: the kernel ends a worker when the
//! thread ends that started it.
//!
//! A worker that dies in a task is replaced at once; its death costs that task. One that dies before it has done anything would
//! die again: after the first it is tried again with a growing pause, and from the third on everything that is outstanding ends
//! with the reason, unless another worker lives.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::collect::Blame;
use super::engine::Engine;
use super::spawn;
use super::state::queue::Entry;
use super::state::workers::Failure;
use super::state::{Access, InFlight, Life, State, Tasks};
use super::stderr::Stderr;
use super::supervisor::Supervisor;
use super::worker_slot::{Occupant, Worker, WorkerSlot};
use crate::error::{PoolError, TaskError};
use crate::function::init;
use crate::ipc::board::layout::phase;
use crate::observe::{timeline, worker_events};
use crate::process::welcome::Welcome;
use crate::remote::outcome::Outcome;
use crate::remote::task_state::TaskRef;
use crate::sandbox::Sandbox;
use crate::shared::Token;
use crate::shared::containers::sweep;
use crate::shared::objects::Process;
use crate::sys::child::{KILLED, Signal};
use crate::sys::clock;
use crate::sys::fork;
use crate::sys::role;
use crate::sys::streams::Standard;

/// Bytes of a worker's result region. Its pages come when they are touched.
const REGION: u64 = 4 << 20;

/// With so many points the pool gives up what is outstanding.
const MOST_FAILED_STARTS: u32 = 300;

/// Points for a worker that ended by itself: a program whose workers cannot start shows it three times.
const FAILED_START: u32 = 100;

/// Points for a worker that was killed from outside, which says little about the next one.
const KILLED_START: u32 = 1;

/// The pause before the second try, which doubles from one to the next.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// After so long without another, failures are no longer "in a row".
const FORGET: Duration = Duration::from_secs(10);

/// How long a new process may take until it says that it is a worker.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long a thread waits at most for the supervisor before it looks whether there is one.
const LOOK: Duration = Duration::from_secs(1);

/// How often it is looked whether tasks have ended for which no thread waits, and with which shared memory goes.
const ABANDONED_LOOK: Duration = Duration::from_millis(50);

/// The end of what a process has claimed whose death would not be seen.
fn unwatched(pid: u32) -> TaskError {
    TaskError::WorkerDied {
        function: "",
        pid,
        signal: KILLED,
        exit_code: None,
        reason: "it could not be watched, so it was ended".to_owned(),
        stderr: None,
        tries: 1,
        saved: None,
    }
}

impl Engine {
    /// Starts as many workers as there is work for, unless a pause is on.
    pub(super) fn start_wanted(self: &Arc<Self>, state: &mut State) {
        if state.workers.start_after.is_some_and(|after| after > Instant::now()) {
            return;
        }
        state.workers.start_after = None;
        let filled = state.workers.worker_slots.iter().filter(|worker_slot| !worker_slot.is_free()).count();
        let wanted = state.metrics.outstanding().min(self.workers).saturating_sub(filled);
        for _ in 0..wanted {
            let Some(worker_slot) = Self::reserve(state) else { return };
            Supervisor::running().expect("it runs before there are pools").start(Arc::clone(self) as _, worker_slot);
        }
    }

    fn reserve(state: &mut State) -> Option<usize> {
        let free = state.workers.worker_slots.iter().position(WorkerSlot::is_free)?;
        state.workers.begin_start(free);
        Some(free)
    }

    /// Supervisor: a start has panicked.
    pub(super) fn give_start_up(&self, worker_slot: usize) {
        let mut state = self.lock();
        if matches!(state.workers.worker_slots[worker_slot].occupant, Occupant::Starting) {
            state.workers.worker_slots[worker_slot].occupant = Occupant::Vacant;
            let failure = Failure::Text("the start of a worker has panicked".to_owned());
            self.fail(&mut state, worker_slot, &failure, MOST_FAILED_STARTS);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Supervisor: starts a worker for a place that was reserved.
    pub(super) fn fill(self: &Arc<Self>, supervisor: &Supervisor, worker_slot: usize) {
        if let Err(error) = self.try_fill(supervisor, worker_slot) {
            let mut state = self.lock();
            // A process that could not be watched may have claimed a task already.
            let pid = self.board().record(worker_slot as u32).pid.load(Ordering::Relaxed);
            self.end_tasks_of(&mut state, worker_slot as u32, None, Blame::RanThem, || unwatched(pid));
            state.workers.worker_slots[worker_slot].occupant = Occupant::Vacant;
            if matches!(state.life, Life::Stopped | Life::Broken) {
                drop(state);
                self.changed.notify_all();
                return;
            }
            // Such an error is about the program, not about the worker: the next try would not be better.
            self.fail(&mut state, worker_slot, &Failure::of(&error), MOST_FAILED_STARTS);
        }
        self.changed.notify_all();
    }

    fn try_fill(self: &Arc<Self>, supervisor: &Supervisor, worker_slot: usize) -> io::Result<()> {
        let memory = self.memory.get().expect("there is a board before there are workers");
        let stderr = Stderr::new(self.pool.id, Standard::Error)?;
        let completed_before = {
            let mut state = self.lock();
            if matches!(state.life, Life::Stopped | Life::Broken) {
                return Err(io::Error::other("the pool was stopped"));
            }
            if state.workers.worker_slots[worker_slot].region.is_none() {
                state.workers.worker_slots[worker_slot].region =
                    Some(memory.arena.take(REGION).map_err(io::Error::other)?);
            }
            let region = state.workers.worker_slots[worker_slot].region.as_ref().expect("it was just made");
            let record = memory.board.record(worker_slot as u32);
            record.region_offset.store(region.offset(), Ordering::Relaxed);
            record.region_len.store(REGION, Ordering::Relaxed);
            record.wake.store(0, Ordering::Relaxed);
            record.searching.store(0, Ordering::Relaxed);
            record.terminating.store(0, Ordering::Relaxed);
            record.retiring.store(0, Ordering::Relaxed);
            record.fault_signal.store(0, Ordering::Relaxed);
            record.pid.store(0, Ordering::Relaxed);
            record.deferred.store(0, Ordering::Relaxed);
            record.phase.store(phase::NONE, Ordering::Relaxed);
            // It may have run a task before it is known here otherwise.
            state.workers.worker_slots[worker_slot].stderr = worker_events::ARE_SENT.then(|| Arc::clone(&stderr.0));
            let completed = record.completed_tail.0.load(Ordering::Relaxed);
            state.workers.worker_slots[worker_slot].completed_before = completed;
            completed
        };
        if self.options.sandbox.is_some() && memory.arena.segment().is_scarce() {
            // A worker could make the file shorter, which would end the program: only a memfd can be sealed.
            return Err(io::Error::other(
                "a sandbox needs shared memory that can be sealed (memfd), and here it is in /dev/shm",
            ));
        }
        let init = self.options.init.map(init::offset_of).transpose()?;
        let keeps = self.kept_at_once(&self.lock())?;
        let state = self.sent_state(&memory.arena)?;
        let process = if role::in_worker() {
            Process::apart()
        } else {
            sweep::enable();
            Process::new().map_err(io::Error::other)?
        };
        let welcome = Welcome {
            magic: 0,
            fingerprint: 0,
            arena_len: memory.arena.segment().len(),
            arena_scarce: memory.arena.segment().is_scarce().into(),
            board_offset: memory.block.offset(),
            workers: memory.board.layout().workers,
            slots: memory.board.layout().slots,
            worker: worker_slot as u32,
            one_shot: self.one_shot.into(),
            max_tasks: self.options.max_tasks_per_worker.unwrap_or(0),
            memory_limit: self.options.memory_limit.unwrap_or(0),
            init: init.unwrap_or(0),
            keeps,
            state_entry: state.map_or(0, |state| state.entry),
            state_offset: state.map_or(0, |state| state.arguments.block.offset()),
            state_len: state.map_or(0, |state| state.arguments.len as u64),
            sandbox: self.options.sandbox.is_some().into(),
            isolated: self.is_isolated().into(),
            token: process.token().map_or(0, Token::bits),
            far: role::is_node().into(),
            inherited: 0,
            pool_name: Welcome::name_of(&self.pool.short_name()),
            functions: self.lock().functions.first(),
        };
        let allowed = self.options.sandbox.map(Sandbox::allowed);
        let started = spawn::spawn(&memory.arena, &welcome, &self.options, allowed.as_ref(), stderr)?;
        let mut worker = Box::new(Worker::new(started, process, supervisor.new_key(), completed_before));
        let mut state = self.lock();
        if matches!(state.life, Life::Stopped | Life::Broken) {
            drop(state);
            worker.kill();
            return Err(io::Error::other("the pool was stopped"));
        }
        if let Err(error) = supervisor.watch(Arc::clone(self) as _, worker_slot, &worker) {
            // No thread would see its death, so it must not live; it may have claimed a task already.
            let pid = worker.pid();
            worker.kill();
            self.end_tasks_of(&mut state, worker_slot as u32, None, Blame::RanThem, || unwatched(pid));
            return Err(error);
        }
        state.workers.last_pid = Some(worker.pid());
        state.workers.worker_slots[worker_slot].first.get_or_insert_with(Instant::now);
        timeline::worker(state.pool, worker_slot, worker.pid());
        state.workers.worker_slots[worker_slot].occupant = Occupant::Worker(worker);
        Ok(())
    }

    /// A worker could not start, or died before it did anything. With too many in a row, all that is outstanding ends, unless
    /// another worker can run it.
    pub(super) fn fail(&self, state: &mut State, worker_slot: usize, failure: &Failure, points: u32) {
        let now = Instant::now();
        if state.workers.failed_at.replace(now).is_none_or(|last| now - last > FORGET) {
            state.workers.failed_starts = 0;
        }
        let before = state.workers.failed_starts;
        state.workers.failed_starts = before.saturating_add(points);
        if points > KILLED_START {
            state.workers.note_failure(worker_slot, failure);
        }
        // The first try after a failure comes at once.
        let failures = (before / FAILED_START).min(10);
        if failures > 0 {
            let pause = FIRST_PAUSE.saturating_mul(1 << (failures - 1)).min(LONGEST_PAUSE);
            state.workers.start_after = Some(now + pause);
        }
        if state.workers.failed_starts >= MOST_FAILED_STARTS
            && state.workers.worker_slots.iter().all(WorkerSlot::is_free)
        {
            self.end_all(state, || TaskError::Spawn(failure.to_error()));
        }
    }

    /// The points of a worker that died before it did anything.
    pub(super) fn points(killed: bool) -> u32 {
        if killed { KILLED_START } else { FAILED_START }
    }

    /// Ends all that is outstanding. No worker may be running any of it.
    pub(super) fn end_all(&self, state: &mut State, error: impl Fn() -> TaskError) {
        let (queue, others) = (std::mem::take(&mut state.queue.calls), std::mem::take(&mut state.queue.futures));
        for entry in queue.into_entries().chain(others.into_entries()) {
            match entry {
                Entry::One(task, message) => state.end(&task, Outcome::error(error()), message.seen, None, None),
                Entry::Pack(pack) => {
                    pack.tasks().for_each(|task| state.end(&task, Outcome::error(error()), None, None, None));
                }
            }
        }
        for index in 0..state.slots.in_flight.len() {
            if state.slots.in_flight[index].is_some() {
                self.finish_all(state, index as u32, &error);
            }
        }
        self.notify_waiters();
    }

    /// Supervisor: does what is due by now, and gives when the next thing will be.
    pub(super) fn do_what_is_due(self: &Arc<Self>) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.lock();
        let finished = state.metrics.finished;
        let mut next = Self::look_at_terminating(&mut state, now);
        let dismissed = self.look_at_dismissed(&mut state, now);
        let mut sooner = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        dismissed.into_iter().for_each(&mut sooner);
        Self::look_at_hung_up(&mut state, now).into_iter().for_each(&mut sooner);
        self.look_at_idle(&mut state, now).into_iter().for_each(&mut sooner);
        for worker in
            state.workers.worker_slots.iter_mut().filter_map(WorkerSlot::worker_mut).filter(|worker| !worker.greeted)
        {
            if worker.since + START_LIMIT > now {
                sooner(worker.since + START_LIMIT);
            } else if !worker.late {
                worker.late = true;
                worker.signal(Signal::Kill);
            }
        }
        if let Some(after) = state.workers.start_after {
            if after > now {
                sooner(after);
            } else {
                self.start_wanted(&mut state);
            }
        }
        self.attend_queue(&mut state, now).into_iter().for_each(&mut sooner);
        if let Some(look) = self.attend(&mut state) {
            sooner(now + look);
        }
        if state.abandoned {
            self.collect(&mut state);
            self.refill(&mut state);
            let unwaited = |task_state: &TaskRef, loan: &Option<_>| loan.is_some() && task_state.is_abandoned();
            let on_board =
                |task: &InFlight| matches!(&task.tasks, Tasks::One(task_state) if unwaited(task_state, &task.loan));
            // Those of a pack have no shared memory.
            let waits = |entry: &Entry| matches!(entry, Entry::One(task, message) if unwaited(task, &message.loan));
            state.abandoned = state.slots.in_flight.iter().flatten().any(on_board) || state.queue.iter().any(waits);
            if state.abandoned {
                sooner(now + ABANDONED_LOOK);
            }
        }
        if state.limits.next_look != u64::MAX {
            self.look_at_limits(&mut state);
            if let Some(terminating) = Self::look_at_terminating(&mut state, now) {
                sooner(terminating);
            }
            if state.limits.next_look != u64::MAX {
                let left = state.limits.next_look.saturating_sub(clock::now());
                sooner(Instant::now() + Duration::from_nanos(left));
            }
        }
        let some_ended = state.metrics.finished != finished;
        drop(state);
        if some_ended {
            self.notify_waiters();
        }
        next
    }

    /// Starts all workers and waits until they are ready.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), PoolError> {
        if role::in_worker() {
            return Ok(());
        }
        self.arena()?;
        let mut state = self.lock();
        let before = state.workers.starts;
        loop {
            match state.life {
                Life::Open => {}
                Life::Broken => return Err(PoolError::Spawn(fork::closed_descriptors())),
                Life::Draining | Life::Stopped => return Err(PoolError::Closed),
            }
            if let Some(failure) = state.workers.failure_after(before) {
                return Err(PoolError::Spawn(failure.to_error()));
            }
            // All are started before any is waited for.
            while let Some(worker_slot) = Self::reserve(&mut state) {
                Supervisor::running()
                    .expect("it runs before there are pools")
                    .start(Arc::clone(self) as _, worker_slot);
            }
            if state
                .workers
                .worker_slots
                .iter()
                .all(|worker_slot| worker_slot.worker().is_some_and(|worker| worker.ready))
            {
                return Ok(());
            }
            state = self.wait_for_change(state);
        }
    }

    /// Waits until something has changed, or a while has passed; then it makes sure that workers are there to change it.
    pub(super) fn wait_for_change<'e>(&'e self, state: Access<'e>) -> Access<'e> {
        if let Some(state) = state.wait(&self.changed, LOOK) {
            return state;
        }
        let _ = self.is_sound();
        self.lock()
    }

    /// Waits until the process of a single task is started, or cannot be.
    pub(crate) fn wait_for_start(&self) {
        let mut state = self.lock();
        while state.workers.last_pid.is_none()
            && state.workers.worker_slots.iter().any(|worker_slot| matches!(worker_slot.occupant, Occupant::Starting))
        {
            state = self.wait_for_change(state);
        }
    }
}
