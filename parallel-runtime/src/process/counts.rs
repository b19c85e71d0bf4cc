//! What the program tells of a pool.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::engine::Engine;
use super::state::{InFlight, State};
use super::worker_slot::{Occupant, Worker};
#[cfg(feature = "dashboard")]
use crate::ipc::board::slot::DEFERRED;
use crate::ipc::board::word::State as SlotState;
#[cfg(feature = "dashboard")]
use crate::observe::Pool;
#[cfg(feature = "dashboard")]
use crate::observe::dashboard::{LivePool, Running};
use crate::observe::stats::{PoolStats, WorkerLoad};
use crate::remote::task_state::{Phase, TaskRef};
use crate::sys::{clock, fork, processes};

impl Engine {
    /// A task is sent once more by the thread that waits for it.
    pub(crate) fn count_retry(&self) {
        let mut state = self.lock();
        state.metrics.retried += 1;
        // The try that failed was no task of its own.
        state.metrics.submitted -= 1;
        state.metrics.finished -= 1;
        state.metrics.counters.failed -= 1;
    }

    /// Whether a worker has claimed the task and has not completed it.
    pub(crate) fn is_running(&self, task_state: &TaskRef) -> bool {
        match task_state.phase() {
            Phase::Boarded { slot, generation } => {
                let there = self.board().slot(slot);
                let word = there.load();
                if word.generation() != generation || word.state() != SlotState::Claimed {
                    return false;
                }
                let state = self.lock();
                let item = state.slots.item_of(slot, task_state);
                !state.slots.has_pack(slot) || there.done_items(generation) <= item && there.has_begun(item as usize)
            }
            _ => false,
        }
    }

    /// The process id of the worker that was started last.
    pub(crate) fn last_pid(&self) -> Option<u32> {
        self.lock().workers.last_pid
    }

    /// Process ids of the workers that are alive.
    pub(crate) fn worker_pids(&self) -> Vec<u32> {
        let state = self.lock();
        let pids = state.workers.worker_slots.iter().enumerate().filter_map(|(index, worker_slot)| match &worker_slot
            .occupant
        {
            Occupant::Worker(worker) => Some(worker.pid()),
            // It may have run a task before the program has noted that it has started it.
            Occupant::Starting => {
                let said = self.board().record(index as u32).pid.load(Ordering::Relaxed);
                Some(said).filter(|pid| processes::is_child(*pid))
            }
            Occupant::Vacant | Occupant::Ending => None,
        });
        pids.collect()
    }

    pub(crate) fn stats(&self) -> PoolStats {
        if fork::check().is_err() {
            return PoolStats::empty(self.workers);
        }
        let mut state = self.lock();
        if self.has_board() {
            self.collect(&mut state);
        }
        let claimed = |task: &(usize, &Option<InFlight>)| {
            task.1.is_some() && self.board().slot(task.0 as u32).load().state() == SlotState::Claimed
        };
        let running = state.slots.in_flight.iter().enumerate().filter(claimed).count() as u64;
        PoolStats {
            name: self.pool.called,
            workers_alive: state
                .workers
                .worker_slots
                .iter()
                .filter(|worker_slot| worker_slot.worker().is_some())
                .count(),
            submitted: state.metrics.submitted,
            finished: state.metrics.finished,
            done: state.metrics.counters.done,
            failed: state.metrics.counters.failed,
            cancelled: state.metrics.counters.cancelled,
            running,
            queued: (state.metrics.submitted - state.metrics.finished).saturating_sub(running),
            worker_deaths: state.metrics.worker_deaths,
            timed_out: state.metrics.timed_out,
            retried: state.metrics.retried,
            replaced: state.metrics.replaced,
            bytes_copied: state.metrics.counters.bytes_copied,
            bytes_shared: state.metrics.counters.bytes_shared,
            waited: state.metrics.counters.waited.percentiles(),
            ran: state.metrics.counters.ran.percentiles(),
            load: self.load(&state),
            ..PoolStats::empty(self.workers)
        }
    }

    /// How busy the workers are, as they say.
    fn load(&self, state: &State) -> Vec<WorkerLoad> {
        let now = clock::coarse();
        let each = state.workers.worker_slots.iter().enumerate().filter_map(|(index, worker_slot)| {
            let alive = worker_slot.first?.elapsed();
            let record = self.board().record(index as u32);
            let since = record.busy_since.load(Ordering::Relaxed);
            let current = if since == 0 { 0 } else { now.saturating_sub(since) };
            let busy = Duration::from_nanos(record.busy.load(Ordering::Relaxed).saturating_add(current)).min(alive);
            Some(WorkerLoad::new(worker_slot.worker().map(Worker::pid), busy, alive))
        });
        each.collect()
    }
}

#[cfg(feature = "dashboard")]
impl LivePool for Engine {
    fn pool(&self) -> Pool {
        self.pool
    }

    fn stats(&self) -> PoolStats {
        Engine::stats(self)
    }

    fn running(&self) -> Vec<Running> {
        if fork::check().is_err() || !self.has_board() {
            return Vec::new();
        }
        let state = self.lock();
        let tasks = state.slots.in_flight.iter().enumerate().filter_map(|(index, task)| {
            let seen = task.as_ref()?.seen.as_ref()?;
            let slot = self.board().slot(index as u32);
            let word = slot.load();
            if word.state() != SlotState::Claimed {
                return None;
            }
            // A worker may have written anything there.
            let place = word.worker();
            let worker = state.workers.worker_slots.get(place as usize)?.worker()?;
            let (began, now) = (slot.began.load(Ordering::Relaxed) & !DEFERRED, clock::now());
            let began = if began == 0 { now } else { began.clamp(seen.submitted, now) };
            Some(Running { function: seen.function, place, pid: worker.pid(), began })
        });
        tasks.collect()
    }
}
