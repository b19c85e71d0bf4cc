//! What the supervisor does when a worker says something, or dies.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::collect::Blame;
use super::engine::Engine;
use super::exit_status::ExitStatus;
use super::state::workers::Failure;
use super::state::{Life, State};
use super::supervisor::{Supervised, Supervisor};
use super::worker_slot::{Occupant, Worker, WorkerSlot};
use crate::error::TaskError;
use crate::ipc::board::layout::phase;
use crate::ipc::control::{ControlRequest, Received};
use crate::observe::timeline;
use crate::shared::objects;
use crate::sys::child::{Signal, is_kill};
use crate::sys::{fork, futex};

/// The most requests that a dead worker may have left in its channel. Children of a task may hold it, and send without end.
const MOST_WORDS: usize = 4096;

/// How long a process may take from the end of its descriptors to its own.
const DYING: Duration = Duration::from_millis(20);

/// How long a worker that has closed its control channel may go on with the message that it runs.
const LAST_MESSAGE: Duration = Duration::from_secs(1);

/// A worker that has lived so long, and then dies without having run a task, does not die of its start.
const GROWN_UP: Duration = Duration::from_secs(1);

impl Supervised for Engine {
    fn fill(self: Arc<Self>, supervisor: &Supervisor, worker_slot: usize) {
        Engine::fill(&self, supervisor, worker_slot);
    }
    fn give_start_up(&self, worker_slot: usize) {
        Engine::give_start_up(self, worker_slot);
    }
    fn on_channel(self: Arc<Self>, supervisor: &Supervisor, worker_slot: usize, key: u64) {
        Engine::on_channel(&self, supervisor, worker_slot, key);
    }
    fn on_death(self: Arc<Self>, supervisor: &Supervisor, worker_slot: usize, key: u64) {
        Engine::on_death(&self, supervisor, worker_slot, key);
    }
    fn do_what_is_due(self: Arc<Self>) -> Option<Instant> {
        Engine::do_what_is_due(&self)
    }
    fn break_down(&self) {
        Engine::break_down(self);
    }
    fn retire_idle(&self, deadline: Instant) -> Vec<usize> {
        Engine::retire_idle(self, deadline)
    }
    fn await_retired(&self, worker_slots: &[usize], deadline: Instant) {
        Engine::await_retired(self, worker_slots, deadline);
    }
    fn worker_pids(&self) -> Vec<u32> {
        Engine::worker_pids(self)
    }
}

impl Engine {
    /// Serves a worker's control channel.
    fn on_channel(self: &Arc<Self>, supervisor: &Supervisor, worker_slot: usize, key: u64) {
        let mut state = self.lock();
        let Some(worker) = state.workers.worker_slots[worker_slot].worker_mut().filter(|worker| worker.key == key)
        else {
            return;
        };
        match ControlRequest::receive(&worker.started.channel) {
            Received::Nothing => {}
            Received::Request(
                request @ (ControlRequest::Hello
                | ControlRequest::Ready
                | ControlRequest::Retire
                | ControlRequest::Failed(_)),
            ) => {
                note(&mut state, worker_slot, request);
                drop(state);
                self.changed.notify_all();
            }
            Received::Request(request) => {
                self.serve(&mut state, worker_slot, &request);
                if matches!(request, ControlRequest::Grant(_)) {
                    self.refill(&mut state);
                    drop(state);
                    self.notify_waiters();
                }
            }
            Received::End => {
                supervisor.forget_channel(worker);
                worker.started.unwatched = true;
                if !worker.is_gone_by(Instant::now() + DYING) {
                    if !worker.ready {
                        worker.mute = true;
                        worker.signal(Signal::Kill);
                    } else {
                        // The task that has closed it may be over, and the worker may have begun another.
                        worker.hung_up = Some(Instant::now());
                        let record = self.board().record(worker_slot as u32);
                        record.retiring.store(1, Ordering::Relaxed);
                        record.wake.store(1, Ordering::Release);
                        futex::wake(&record.wake, 1);
                    }
                }
            }
        }
    }

    /// A worker is dead: its task ends or is sent again, and its place is filled.
    fn on_death(self: &Arc<Self>, supervisor: &Supervisor, worker_slot: usize, key: u64) {
        let mut state = self.lock();
        if state.workers.worker_slots[worker_slot].worker().is_none_or(|worker| worker.key != key) {
            return;
        }
        // Its last words may still be in the channel.
        for _ in 0..MOST_WORDS {
            let Some(worker) = state.workers.worker_slots[worker_slot].worker() else { break };
            match ControlRequest::receive(&worker.started.channel) {
                Received::Request(ControlRequest::Unstore { container, object }) if !self.is_isolated() => {
                    objects::unstore(container, object, Some(&worker.process));
                }
                Received::Request(request) => note(&mut state, worker_slot, request),
                Received::Nothing | Received::End => break,
            }
        }
        let Some(mut worker) = state.workers.worker_slots[worker_slot].take() else { return };
        supervisor.forget(&worker);
        // Killing what is dead does nothing; what only closed its channel must be dead before its memory is used again.
        let status = worker.kill();
        // Before a thread is told that the task has ended: its locks are free by then.
        worker.process.mark_dead();
        let (signal, exit_code) = status.map_or((None, None), |status| (status.signal, status.code));
        let board = self.board();
        let record = board.record(worker_slot as u32);
        let limit = self.options.memory_limit;
        let death = ExitStatus::new(&worker, record, signal, exit_code, limit);
        record.phase.store(phase::NONE, Ordering::Relaxed);

        if !worker.retired && !state.workers.exiting && matches!(state.life, Life::Open | Life::Draining) {
            let why = || match &worker.terminating {
                Some(terminating) if terminating.is_for_time() => "ended: its task was over its time limit".to_owned(),
                Some(_) => "ended: its task was killed".to_owned(),
                None => death.reason().to_owned(),
            };
            timeline::death(state.pool, worker_slot, worker.pid(), why);
        }

        let blame = match (worker.accused, worker.unwilling) {
            (true, _) => Blame::Accused,
            (false, true) => Blame::BeganNothing,
            (false, false) => Blame::RanThem,
        };
        // What it had completed is collected, what it had claimed is lost.
        let lost =
            self.end_tasks_of(&mut state, worker_slot as u32, worker.terminating.as_ref(), blame, || death.error());
        state.workers.worker_slots[worker_slot].grants.clear();
        state.workers.worker_slots[worker_slot].kept.clear();
        state.workers.worker_slots[worker_slot].stderr = None;
        let completed = record.completed_tail.0.load(Ordering::Relaxed);
        state.workers.worker_slots[worker_slot].completed_head = completed;
        // A wake-up may have gone to it, or may not have been made because it was searching.
        board.sleepers().withdraw(worker_slot as u32);
        record.searching.store(0, Ordering::Relaxed);
        record.end_busy();
        record.pid.store(0, Ordering::Relaxed);
        // It may have written over anything before it died.
        self.audit(&mut state);

        let did_nothing = lost == 0 && completed == state.workers.worker_slots[worker_slot].completed_before;
        let mut replace = state.life == Life::Open || state.life == Life::Draining;
        let has_left = worker.retired || (worker.hung_up.is_some() && exit_code == Some(0));
        if has_left && lost == 0 {
            state.metrics.replaced += u64::from(!state.workers.exiting && !worker.idle);
        } else if worker.terminating.is_none() {
            if !self.one_shot || !worker.ready || lost > 0 {
                state.metrics.worker_deaths += 1;
            }
            if !did_nothing {
                state.workers.failed_starts = 0;
            } else if !state.workers.exiting && (!worker.ready || worker.since.elapsed() < GROWN_UP) {
                let failure = Failure::Text(match (&worker.failure, worker.late) {
                    (Some(failure), _) => failure.clone(),
                    (None, true) => "the process does not become a worker: is the start-up hook of parallel-runtime in this executable, and does it run?".to_owned(),
                    (None, false) => format!("workers end before they run a task: {}", death.describe()),
                });
                // On a busy machine a process that was killed may take long from the end of its descriptors to its own.
                let killed = is_kill(signal) && !worker.late && !(worker.mute && worker.ready);
                self.fail(&mut state, worker_slot, &failure, Self::points(killed));
                replace &= killed && state.workers.start_after.is_none();
            }
        }
        if self.one_shot || state.workers.exiting || (worker.idle && worker.retired) {
            replace &= state.metrics.outstanding() > 0;
        }
        self.refill(&mut state);
        if replace {
            state.workers.begin_start(worker_slot);
            supervisor.start(Arc::clone(self) as _, worker_slot);
        } else {
            self.start_wanted(&mut state);
        }
        drop(state);
        // Its bit was cleared, or it had cleared another's and not woken it yet: the thread that sleeps looks again.
        board.wake_all();
        self.notify_waiters();
        self.changed.notify_all();
    }

    /// Ends workers that have closed their control channels, and have not left by themselves. Gives when the next one is due.
    pub(super) fn look_at_hung_up(state: &mut State, now: Instant) -> Option<Instant> {
        let workers = state.workers.worker_slots.iter_mut().filter_map(WorkerSlot::worker_mut);
        let mut next: Option<Instant> = None;
        for worker in workers.filter(|worker| !worker.mute) {
            let Some(due) = worker.hung_up.map(|since| since + LAST_MESSAGE) else { continue };
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
            } else {
                worker.mute = true;
                worker.signal(Signal::Kill);
            }
        }
        next
    }

    /// Ends a pool whose descriptors the program has closed.
    fn break_down(&self) {
        let mut state = self.lock();
        if state.life == Life::Broken || state.life == Life::Stopped {
            return;
        }
        state.life = Life::Broken;
        let mut workers: Vec<_> = state.workers.worker_slots.iter_mut().filter_map(WorkerSlot::take).collect();
        for worker_slot in &mut state.workers.worker_slots {
            if matches!(worker_slot.occupant, Occupant::Starting) {
                worker_slot.occupant = Occupant::Vacant;
            }
        }
        for worker in &mut workers {
            // By its number: the descriptors may belong to the program by now.
            worker.started.child.kill_by_number();
        }
        for mut worker in workers {
            let _ = worker.started.child.wait();
            let Worker { started, process, .. } = *worker;
            drop(process);
            // Nor may they be closed.
            std::mem::forget(started);
        }
        self.collect(&mut state);
        self.end_quarantine(&mut state);
        self.end_all(&mut state, || TaskError::Spawn(fork::closed_descriptors()));
        drop(state);
        self.changed.notify_all();
    }
}

/// Notes what a worker says about itself.
fn note(state: &mut State, worker_slot: usize, request: ControlRequest) {
    let Some(worker) = state.workers.worker_slots[worker_slot].worker_mut() else { return };
    match request {
        ControlRequest::Hello => worker.greeted = true,
        ControlRequest::Ready => {
            worker.greeted = true;
            worker.ready = true;
        }
        ControlRequest::Retire => {
            worker.retired = true;
            worker.last_seen.1 = Instant::now();
        }
        ControlRequest::Failed(why) => worker.failure = Some(why),
        _ => {}
    }
}
