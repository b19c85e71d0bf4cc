//! How tasks leave the board: with an outcome, to be tried again, or cancelled.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::engine::Engine;
use super::state::queue::{Entry, Removed};
use super::state::{InFlight, State, Tasks};
use super::stderr::Stderr;
use super::supervisor::Supervisor;
use crate::error::TaskError;
use crate::ipc::board::Slot;
use crate::ipc::board::ring::entry;
use crate::ipc::board::slot::{DEFERRED, SENT};
use crate::ipc::board::word::{State as SlotState, Word};
use crate::observe::{CallSpan, Fate, Run, Seen, worker_events};
use crate::remote::outcome::{Left, Outcome};
use crate::remote::task_state::{Phase, TaskRef};
use crate::sys::{clock, fork, futex};

impl Engine {
    /// Frees a task's slot and gives it the outcome that `collect` makes.
    pub(super) fn finish_with(
        &self,
        state: &mut State,
        index: u32,
        collect: impl FnOnce(&mut State, &InFlight) -> Outcome,
    ) {
        let Some(mut task) = state.slots.in_flight[index as usize].take() else { return };
        let mut outcome = collect(state, &task);
        outcome.record(task.recording.take());
        let seen = task.seen.take();
        let run = seen.as_ref().and_then(|seen| self.run_of(index, &task, seen));
        let events = self.events_of(state, index);
        let name = entry(index, state.slots.generations[index as usize]);
        state.slots.boarded -= usize::from(!task.is_async);
        self.free(state, index);
        if task.is_over {
            return;
        }
        if let Some(events) = events {
            outcome.rare().events = Some(events);
        }
        if let Some(arguments) = task.arguments.filter(|arguments| !arguments.marks.is_empty()) {
            outcome.rare().arguments = Some(Left::Block(arguments));
        }
        if let Some(loan) = task.loan {
            outcome.rare().loan = Some(loan);
        }
        match task.tasks {
            Tasks::One(task_state) => state.end(&task_state, outcome, seen, run, Some(name)),
            Tasks::Pack(pack) => Self::settle_pack(state, pack, outcome),
        }
        self.wake_waiter(index);
    }

    /// Frees a slot, all of whose tasks end with the same.
    pub(super) fn finish_all(&self, state: &mut State, index: u32, error: impl Fn() -> TaskError) {
        let Some(task) = state.slots.in_flight[index as usize].take_if(|task| task.is_pack()) else {
            return self.finish_with(state, index, |_, _| Outcome::error(error()));
        };
        state.slots.boarded -= 1;
        self.free(state, index);
        for task_state in task.into_tasks() {
            state.end(&task_state, Outcome::error(error()), None, None, None);
        }
        self.wake_waiter(index);
    }

    /// If a task has sent events, they are emitted as soon as the lock is free, and before a caller takes an outcome that holds what
    /// this gives.
    #[inline(always)]
    pub(super) fn events_of(&self, state: &State, index: u32) -> Option<Arc<Stderr>> {
        let slot = self.board().slot(index);
        if !worker_events::ARE_SENT || slot.wanted.load(Ordering::Relaxed) & SENT == 0 {
            return None;
        }
        let stderr = state.workers.worker_slots.get(slot.load().worker() as usize)?.stderr.clone()?;
        state.has_events(&stderr, entry(index, state.slots.generations[index as usize]));
        Some(stderr)
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
        let began = match began & !DEFERRED {
            0 => now,
            // With a limit this is when the last item ended.
            last if task.limited.is_some() && began & DEFERRED == 0 && word.state() == SlotState::Done => {
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
        let Some(mut task) = state.slots.in_flight[index as usize].take() else { return };
        // What the next try sends comes after it.
        let _ = self.events_of(state, index);
        let seen = task.seen.take();
        let run = seen.as_ref().and_then(|seen| self.run_of(index, &task, seen));
        let again = seen.as_ref().map(|seen| Seen::new(seen.function, seen.items, seen.weight, seen.span.clone()));
        if let Some(mut seen) = seen {
            // The span goes on.
            seen.span = CallSpan::none();
            state.tell(*seen, run, fate, None);
        }
        state.slots.boarded -= usize::from(!task.is_async);
        let InFlight { tasks: Tasks::One(task_state), retry: Some(retry), recording, loan, .. } = task else { return };
        self.free(state, index);
        let arena = &self.memory.get().expect("a task was on the board").arena;
        // SAFETY: the caller has seen the worker's end, or that it has dropped the task, and with it what it was lent.
        match unsafe { retry.next(arena, loan) } {
            Ok(mut message) => {
                state.metrics.retried += 1;
                message.seen = again;
                message.recording = recording;
                task_state.requeue();
                state.queue.of(message.is_async).push_front(Entry::One(task_state, message));
            }
            Err(error) => state.end(&task_state, Outcome::error(error), again, None, None),
        }
        self.wake_waiter(index);
    }

    /// From here on no entry of the ring and no completion matches the slot.
    fn free(&self, state: &mut State, index: u32) {
        let slot: &Slot = self.board().slot(index);
        slot.word.store(Word::free(state.slots.generations[index as usize]).0, Ordering::SeqCst);
        state.slots.free.push(index);
    }

    pub(super) fn wake_waiter(&self, index: u32) {
        let slot = self.board().slot(index);
        if slot.waiter.load(Ordering::SeqCst) != 0 {
            futex::wake_all(slot.futex());
        }
    }

    /// Cancels all tasks that no worker has claimed, and gives how many those were.
    pub(crate) fn cancel_queued(&self) -> usize {
        if !self.has_board() {
            return 0;
        }
        let state = self.lock();
        let mut tasks: Vec<TaskRef> = Vec::new();
        for entry in state.queue.iter() {
            match entry {
                Entry::One(task, _) => tasks.push(task.clone()),
                Entry::Pack(pack) => tasks.extend(pack.tasks()),
            }
        }
        for in_flight in state.slots.in_flight.iter().flatten() {
            tasks.extend(in_flight.tasks.all());
        }
        drop(state);
        tasks.iter().filter(|task| self.cancel(task)).count()
    }

    /// Cancels a task that no worker has claimed. True if it will never run.
    pub(crate) fn cancel(&self, task_state: &TaskRef) -> bool {
        if fork::check().is_err() {
            return false;
        }
        let mut state = self.lock();
        let cancelled = match task_state.phase() {
            Phase::Finished => false,
            Phase::Queued => {
                if let Some(Removed { task, seen }) = state.queue.remove(task_state) {
                    state.end(&task, Outcome::error(TaskError::Cancelled), seen, None, None);
                    true
                } else {
                    false
                }
            }
            Phase::Boarded { slot, .. } if state.slots.has_pack(slot) => {
                self.cancel_packed(&mut state, slot, task_state)
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

    /// No thread waits for a task any more. If shared memory goes with it, the engine has to see when it ends.
    pub(crate) fn abandon(&self, task_state: &TaskRef) {
        if task_state.is_finished() || fork::check().is_err() {
            return;
        }
        let mut state = self.lock();
        task_state.set_abandoned();
        let has_loan = match task_state.phase() {
            Phase::Boarded { slot, .. } => {
                state.slots.in_flight[slot as usize].as_ref().is_some_and(|task| task.loan.is_some())
            }
            // The queue may be long: the thread that looks after it will see.
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
}
