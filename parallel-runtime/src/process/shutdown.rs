//! How the workers of a pool end, when they are told to.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::admission::Admission;
use super::engine::Engine;
use super::state::{Life, State};
use super::supervisor::{Supervisor, retry_until};
use super::worker::END_LIMIT;
use super::worker_slot::{Occupant, Worker, WorkerSlot};
use crate::error::TaskError;
use crate::ipc::board::layout::phase;
use crate::remote::recording;
use crate::sys::child::Signal;
use crate::sys::{fork, futex};

/// How long to wait until failed tasks are saved.
const SAVING: Duration = Duration::from_secs(10);

/// How long the workers of a pool that is shut down may take to end by themselves.
const HANG_UP: Duration = Duration::from_millis(600);

impl Engine {
    /// Takes no more tasks, waits until those it has are done, and ends the workers.
    pub(crate) fn shutdown(&self) {
        if fork::check().is_err() {
            return;
        }
        {
            let mut state = self.lock();
            if state.life == Life::Open {
                state.life = Life::Draining;
            }
        }
        let _ = self.is_sound();
        // A map whose items shut the pool down cannot be waited for.
        let own = Admission::of_this_thread(self);
        if self.has_board() {
            self.wait_until(|| {
                let mut state = self.lock();
                self.collect(&mut state);
                self.refill(&mut state);
                state.metrics.outstanding() == 0 && state.admitted <= own
            });
        }
        self.retire_all();
        let mut workers = self.stop();
        for worker in &workers {
            worker.hang_up();
        }
        let deadline = Instant::now() + HANG_UP;
        for worker in &mut workers {
            // One that is stopped, or whose threads do not come to run, is ended by force.
            if !worker.is_gone_by(deadline) {
                worker.signal(Signal::Kill);
            }
            let _ = worker.reap();
            worker.stderr().drain();
        }
        self.release_memory(!workers.is_empty());
        self.wait_until_saved();
    }

    /// Takes no more tasks, and ends workers and tasks at once.
    pub(crate) fn kill(&self) {
        if fork::check().is_err() {
            return;
        }
        let mut workers = self.stop();
        for worker in &mut workers {
            worker.signal(Signal::Kill);
        }
        for worker in &mut workers {
            // After this nothing writes into the tasks' memory.
            let _ = worker.reap();
            worker.process.mark_dead();
            worker.stderr().drain();
        }
        if self.has_board() {
            let mut state = self.lock();
            self.collect(&mut state);
            self.end_all(&mut state, || TaskError::Cancelled);
        }
        self.release_memory(!workers.is_empty());
        self.wait_until_saved();
    }

    /// Waits for the files of tasks that failed without a thread that waits for them.
    fn wait_until_saved(&self) {
        if self.recorder.is_some() {
            recording::wait_until_saved(SAVING);
        }
    }

    /// At the exit of the program: asks workers to end that run no task, if none waits for them. Gives their places. Any thread may hold any lock by
    /// now, and keep it, so none is waited for longer than `deadline`.
    pub(super) fn retire_idle(&self, deadline: Instant) -> Vec<usize> {
        let asked = retry_until(deadline, || {
            let mut state = self.state.try_lock().ok()?;
            if self.memory.get().is_none() || self.has_waiting(&state) {
                return Some(Vec::new());
            }
            // A worker may have run a task before the thread that starts it has noted that it is there.
            let mut worker_slots = state.workers.worker_slots.iter().enumerate();
            let is_unknown = |worker_slot: &WorkerSlot| matches!(worker_slot.occupant, Occupant::Starting);
            if worker_slots.any(|(index, worker_slot)| is_unknown(worker_slot) && self.has_run(index, worker_slot)) {
                return None;
            }
            let busy = self.busy_worker_slots(&state);
            Some(self.retire(&mut state, |worker_slot| !busy.contains(&worker_slot)))
        });
        asked.unwrap_or_default()
    }

    /// Whether the worker in a place has run a task. The program may learn that before it has read that the worker is ready.
    fn has_run(&self, index: usize, worker_slot: &WorkerSlot) -> bool {
        let completed = self.board().record(index as u32).completed_tail.0.load(Ordering::Relaxed);
        completed != worker_slot.completed_before
    }

    /// Waits until workers are gone that were asked to end. Not under the lock: they may still ask for something that they need to end.
    pub(super) fn await_retired(&self, worker_slots: &[usize], deadline: Instant) {
        let is_here = |worker_slot: &usize| {
            let state = self.state.try_lock();
            state.map_or(true, |state| state.workers.worker_slots[*worker_slot].worker().is_some())
        };
        while worker_slots.iter().any(is_here) && Instant::now() < self.limit(deadline) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Asks workers to end between two tasks; no thread takes their places. Gives those that were asked.
    fn retire(&self, state: &mut State, which: impl Fn(usize) -> bool) -> Vec<usize> {
        state.workers.exiting = true;
        let workers = state.workers.worker_slots.iter().enumerate();
        let is_asked = |index: usize, worker_slot: &WorkerSlot| {
            worker_slot.worker().is_some_and(|worker| worker.ready || self.has_run(index, worker_slot))
        };
        let asked = workers.filter(|(index, worker_slot)| which(*index) && is_asked(*index, worker_slot));
        let asked: Vec<usize> = asked.map(|(index, _)| index).collect();
        for index in &asked {
            let record = self.board().record(*index as u32);
            record.retiring.store(1, Ordering::Relaxed);
            record.wake.store(1, Ordering::Release);
            futex::wake(&record.wake, 1);
        }
        asked
    }

    /// Ends the workers of a pool in which nothing is left to do, and waits for them for a while.
    fn retire_all(&self) {
        let mut state = self.lock();
        if state.life != Life::Draining || !self.has_board() {
            return;
        }
        // A worker may have run a task before the thread that starts it has noted that it is there.
        while state.life == Life::Draining && state.workers.worker_slots.iter().any(WorkerSlot::is_in_between) {
            state = self.wait_for_change(state);
        }
        let asked = self.retire(&mut state, |_| true);
        let deadline = Instant::now() + HANG_UP;
        while asked.iter().any(|worker_slot| state.workers.worker_slots[*worker_slot].worker().is_some()) {
            let left = self.limit(deadline).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = match state.wait(&self.changed, left.min(HANG_UP)) {
                Some(state) => state,
                None => self.lock(),
            };
        }
    }

    /// Asks workers to end that had nothing to do for a while. Gives when the next one may have been idle for long enough.
    pub(super) fn look_at_idle(&self, state: &mut State, now: Instant) -> Option<Instant> {
        let limit = self.options.idle_timeout.filter(|_| self.has_board())?;
        let board = self.board();
        let mut next: Option<Instant> = None;
        for (index, worker_slot) in state.workers.worker_slots.iter_mut().enumerate() {
            let Some(worker) = worker_slot.worker_mut().filter(|worker| worker.ready && !worker.idle) else { continue };
            let record = board.record(index as u32);
            let completed = record.completed_tail.0.load(Ordering::Relaxed);
            let rests = board.sleepers().is_asleep(index as u32) && record.deferred.load(Ordering::Relaxed) == 0;
            if completed != worker.last_seen.0 || !rests {
                worker.last_seen = (completed, now);
            }
            let due = worker.last_seen.1 + limit;
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            worker.idle = true;
            record.retiring.store(1, Ordering::Relaxed);
            record.wake.store(1, Ordering::Release);
            futex::wake(&record.wake, 1);
        }
        next
    }

    /// A worker that drops what it keeps, as it says, has more time than `deadline`.
    fn limit(&self, deadline: Instant) -> Instant {
        let mut records = (0..self.workers as u32).map(|index| self.board().record(index));
        let is_ending = records.any(|record| record.phase.load(Ordering::Acquire) == phase::END);
        if is_ending { deadline + END_LIMIT } else { deadline }
    }

    /// Marks the pool as stopped and empties its places.
    #[expect(clippy::vec_box, reason = "they come out of their places as they are")]
    fn stop(&self) -> Vec<Box<Worker>> {
        let _ = self.is_sound();
        let mut state = self.lock();
        if state.life != Life::Broken {
            state.life = Life::Stopped;
        }
        self.changed.notify_all();
        // The supervisor will find the pool stopped; and another thread may be stopping it too.
        while state.workers.worker_slots.iter().any(WorkerSlot::is_in_between) {
            state = self.wait_for_change(state);
        }
        let workers: Vec<_> = state.workers.worker_slots.iter_mut().filter_map(WorkerSlot::take).collect();
        if !workers.is_empty() {
            // Until they are gone their memory is theirs.
            state.workers.worker_slots.iter_mut().for_each(|worker_slot| worker_slot.occupant = Occupant::Ending);
        }
        drop(state);
        if let Some(supervisor) = Supervisor::running() {
            for worker in &workers {
                supervisor.forget(worker);
            }
        }
        self.changed.notify_all();
        workers
    }

    /// Gives back the result regions. No worker is left to write them. `ended`: this thread has ended the workers.
    fn release_memory(&self, ended: bool) {
        let mut state = self.lock();
        for worker_slot in &mut state.workers.worker_slots {
            if ended {
                worker_slot.occupant = Occupant::Vacant;
            }
            worker_slot.region = None;
            worker_slot.grants.clear();
            worker_slot.kept.clear();
            worker_slot.stderr = None;
        }
        self.end_quarantine(&mut state);
        drop(state);
        self.changed.notify_all();
    }
}
