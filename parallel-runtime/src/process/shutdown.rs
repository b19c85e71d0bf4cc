//! How the workers of a pool end, when they are told to.

use std::time::{Duration, Instant};

use super::admission::Admission;
use super::engine::Engine;
use super::state::{Life, State};
use super::supervisor::Supervisor;
use super::worker_slot::{Occupant, Worker, WorkerSlot};
use crate::error::TaskError;
use crate::sys::fork;

/// How long the workers of a pool that is shut down may take to end by themselves.
const END_LIMIT: Duration = Duration::from_millis(600);

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
        let mut workers = self.stop();
        for worker in &workers {
            worker.hang_up();
        }
        let deadline = Instant::now() + END_LIMIT;
        for worker in &mut workers {
            // One that is stopped, or whose threads do not come to run, is ended by force.
            if !worker.is_gone_by(deadline) {
                worker.signal(rustix::process::Signal::KILL);
            }
            let _ = worker.reap();
            worker.stderr().drain();
        }
        self.release_memory(!workers.is_empty());
    }

    /// Takes no more tasks, and ends workers and tasks at once.
    pub(crate) fn kill(&self) {
        if fork::check().is_err() {
            return;
        }
        let mut workers = self.stop();
        for worker in &mut workers {
            worker.signal(rustix::process::Signal::KILL);
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
    }

    /// At the exit of the program: ends workers that run no task, if none waits for them.
    pub(super) fn end_idle(&self, state: &mut State, deadline: Instant) {
        if self.memory.get().is_none() || self.has_waiting(state) {
            return;
        }
        // Their deaths are seen as any others; but no thread takes their places.
        state.workers.exiting = true;
        let busy = self.busy_worker_slots(state);
        let idle =
            state.workers.worker_slots.iter_mut().enumerate().filter(|(worker_slot, _)| !busy.contains(worker_slot));
        let mut idle: Vec<_> = idle.filter_map(|(_, worker_slot)| worker_slot.worker_mut()).collect();
        idle.iter().for_each(|worker| worker.hang_up());
        for worker in &mut idle {
            worker.is_gone_by(deadline);
        }
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
        let in_between =
            |worker_slot: &WorkerSlot| matches!(worker_slot.occupant, Occupant::Starting | Occupant::Ending);
        while state.workers.worker_slots.iter().any(in_between) {
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
