//! Time limits, and ending a worker for the task that it runs.
//!
//! A limit counts from when an item begins, as the worker says in the slot; but no earlier than the task was published, and no
//! later than the program has first seen the item run: so a worker that says nonsense gets twice the time at most. The
//! supervisor looks when the first limit can have passed, not before, and only while tasks with limits are on the board.
//!
//! A worker that runs the futures of many `async fn`s looks at their limits itself, and drops a future that is over its limit. Only if it
//! does not, because one of them keeps its thread, is it ended as a whole.
//!
//! A worker whose task is over its limit is marked as terminating ([`board::terminate`](crate::ipc::board::terminate)), gets SIGTERM, which a library
//! may use to clean up, and after [`GRACE`] SIGKILL, which nothing can block. The task ends when the process is gone: what it
//! held is then free.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::state::{State, Tasks};
use super::supervisor::Supervisor;
use super::termination::{GRACE, Limited, Reason, Termination, nanoseconds};
use crate::error::TaskError;
use crate::ipc::board::layout::phase;
use crate::ipc::board::ring::{entry, split};
use crate::ipc::board::slot::{DEFERRED, DISMISSED};
use crate::ipc::board::terminate;
use crate::ipc::board::word::{State as SlotState, Word};
use crate::remote::outcome::Outcome;
use crate::remote::task_state::{Phase, TaskRef};
use crate::sys::child::Signal;
use crate::sys::{clock, fork, futex};

/// How often limits are looked at, at most.
const SHORTEST_LOOK: Duration = Duration::from_millis(1);

/// How long a task is looked for that is to be killed, and is always just somewhere else.
const PATIENCE: Duration = Duration::from_secs(2);

/// If the supervisor comes so much too late, the whole program has been stopped (Ctrl-Z, a suspended machine), and the tasks
/// with it.
const PAUSE: u64 = 1_000_000_000;

impl Engine {
    /// Schedules a look for the time when a task that is published now can be over its limit.
    pub(super) fn watch_limit(&self, state: &mut State, index: u32, limited: &Limited) {
        let generation = state.slots.generations[index as usize];
        if state.limits.limited.len() > 2 * state.slots.in_flight.len() {
            state.limits.drop_old(&state.slots);
        }
        state.limits.limited.push((index, generation));
        let at = limited.published.saturating_add(nanoseconds(limited.limit));
        if at < state.limits.next_look {
            state.limits.next_look = at;
            if let Some(supervisor) = Supervisor::running() {
                supervisor.kick();
            }
        }
    }

    /// Ends workers whose tasks are over their limits, and sets when to look again.
    pub(super) fn look_at_limits(&self, state: &mut State) {
        let now = clock::now();
        if now < state.limits.next_look {
            return;
        }
        let paused = state.limits.next_look != 0 && now - state.limits.next_look > PAUSE;
        state.limits.drop_old(&state.slots);
        let (mut next, mut again) = (u64::MAX, Vec::new());
        for (index, generation) in state.limits.limited.clone() {
            let slot = self.board().slot(index);
            let word = slot.load();
            let Some(task) = state.slots.in_flight[index as usize].as_mut() else { continue };
            let item = slot.done_items(generation).min(task.items.saturating_sub(1));
            let Some(limited) = task.limited.as_mut() else { continue };
            if paused {
                limited.published = now;
                limited.seen = None;
            }
            let limit = limited.limit;
            let deadline = match word.state() {
                SlotState::Claimed
                    if state.limits.may_make_state
                        && self.is_making_state(word.worker())
                        && limited.is_put_off(now) =>
                {
                    now.saturating_add(nanoseconds(limit))
                }
                SlotState::Claimed => {
                    let began = slot.began.load(Ordering::Acquire);
                    let deadline = limited.deadline(item, began & !DEFERRED, now);
                    let deferred = task.is_async && began & DEFERRED != 0;
                    if deferred { deadline.saturating_add(nanoseconds(GRACE)) } else { deadline }
                }
                // It is over, and waits to be collected: by this thread, if it is to be tried again and no thread looks.
                SlotState::Done if word.generation() == Word::ready(generation).generation() => {
                    if task.is_async && task.retry.is_some() {
                        again.push(index);
                    }
                    continue;
                }
                // What begins from now on has this long at least.
                _ => now.saturating_add(nanoseconds(limit)),
            };
            if word.state() == SlotState::Claimed && word.generation() == generation && deadline <= now {
                if task.is_over {
                    continue;
                }
                if task.is_async && self.is_busy_otherwise(state, word.worker()) {
                    self.end_early(state, index, limit);
                    continue;
                }
                if !self.terminate(state, index, generation, item, Reason::TimedOut(limit)) {
                    next = now;
                }
            } else {
                next = next.min(deadline);
            }
        }
        // Not more often than this, however short the limits are.
        state.limits.next_look = next.max(now.saturating_add(nanoseconds(SHORTEST_LOOK)));
        if !again.is_empty() {
            for index in again {
                self.collect_slot(state, index);
            }
            self.refill(state);
        }
    }

    /// Whether a worker says that it makes a `state`.
    fn is_making_state(&self, worker: u32) -> bool {
        (worker as usize) < self.workers && self.board().record(worker).phase.load(Ordering::Acquire) == phase::STATE
    }

    /// Whether a worker is in the middle of a task that is none of an `async fn`: then it cannot look after those, which is not their
    /// fault.
    fn is_busy_otherwise(&self, state: &State, worker: u32) -> bool {
        let runs = self.board().record(worker).running.load(Ordering::Relaxed);
        let (index, _) = split(runs);
        let Some(task) = state.slots.in_flight.get(index as usize).and_then(Option::as_ref) else { return false };
        let generation = state.slots.generations[index as usize];
        !task.is_async
            && runs == entry(index, generation)
            && self.board().slot(index).load() == Word::claimed(worker, generation)
    }

    /// Tells the caller of a task that it is over its limit. The task itself is dropped when its worker comes to it.
    fn end_early(&self, state: &mut State, index: u32, after: Duration) {
        let Some(task) = state.slots.in_flight[index as usize].as_mut() else { return };
        let Tasks::One(task_state) = &task.tasks else { return };
        task.is_over = true;
        let (task_state, seen, recording) = (task_state.clone(), task.seen.take(), task.recording.take());
        state.metrics.timed_out += 1;
        let mut outcome = Outcome::error(TaskError::timed_out(after));
        outcome.record(recording);
        outcome.rare().events = self.events_of(state, index).map(|events| events as _);
        state.end(&task_state, outcome, seen, None, None);
        self.wake_waiter(index);
        self.notify_waiters();
    }

    /// Asks a worker to drop a task that it has deferred. False if it has not.
    fn dismiss(&self, state: &mut State, index: u32, generation: u64) -> bool {
        let slot = self.board().slot(index);
        let is_deferred = state.slots.in_flight[index as usize].as_ref().is_some_and(|task| task.is_async)
            && state.slots.generations[index as usize] == generation
            && slot.began.load(Ordering::Acquire) & DEFERRED != 0;
        let word = slot.load();
        if !is_deferred || word.state() != SlotState::Claimed || word.worker() as usize >= self.workers {
            return false;
        }
        if slot.wanted.fetch_or(DISMISSED, Ordering::AcqRel) & DISMISSED != 0 {
            return true;
        }
        let record = self.board().record(word.worker());
        record.dismissals.fetch_add(1, Ordering::AcqRel);
        record.wake.store(1, Ordering::Release);
        futex::wake(&record.wake, 1);
        state.limits.dismissed.push((index, generation, Instant::now() + GRACE));
        if let Some(supervisor) = Supervisor::running() {
            supervisor.kick();
        }
        true
    }

    /// Collects tasks that their workers have dropped, as asked, and ends workers that have not. Gives when to look again.
    pub(super) fn look_at_dismissed(&self, state: &mut State, now: Instant) -> Option<Instant> {
        if state.limits.dismissed.is_empty() {
            return None;
        }
        let mut next: Option<Instant> = None;
        for (index, generation, at) in std::mem::take(&mut state.limits.dismissed) {
            self.collect_slot(state, index);
            // It has ended, with its worker or before.
            if state.slots.in_flight[index as usize].is_none() || state.slots.generations[index as usize] != generation
            {
                continue;
            }
            if at > now || !self.terminate(state, index, generation, 0, Reason::Killed) {
                let at = at.max(now + SHORTEST_LOOK);
                state.limits.dismissed.push((index, generation, at));
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        }
        self.refill(state);
        self.notify_waiters();
        next
    }

    /// Ends the worker that runs an item, unless the item has ended, or the worker is being ended already. True if the item has
    /// no more to be looked at.
    fn terminate(&self, state: &mut State, index: u32, generation: u64, item: u32, reason: Reason) -> bool {
        let board = self.board();
        let slot = board.slot(index);
        let word = Word(slot.word.load(Ordering::SeqCst));
        let worker_slot = word.worker();
        if word != Word::claimed(worker_slot, generation) {
            return false;
        }
        let Some(worker) =
            state.workers.worker_slots.get_mut(worker_slot as usize).and_then(|worker_slot| worker_slot.worker_mut())
        else {
            return false;
        };
        if worker.unwilling {
            // It does not begin what it has claimed, which is published again when it is gone.
            return false;
        }
        if let Some(before) = &mut worker.terminating {
            let same = (before.slot, before.generation) == (index, generation);
            if same && reason == Reason::Killed {
                before.reason = reason;
                before.item = item;
                before.deadline = None;
                worker.signal(Signal::Kill);
            }
            return same;
        }
        let terminating = &board.record(worker_slot).terminating;
        let last = state.slots.in_flight[index as usize].as_ref().map_or(0, |task| task.items.saturating_sub(1));
        let now_at = || slot.done_items(generation).min(last);
        let still_runs = || {
            let word = Word(slot.word.load(Ordering::SeqCst));
            word == Word::claimed(worker_slot, generation) && (now_at() <= item || reason == Reason::Killed)
        };
        if !terminate::terminate(terminating, still_runs, || futex::wake_all(terminating)) {
            return false;
        }
        let deadline = (reason != Reason::Killed).then(|| Instant::now() + GRACE);
        let item = now_at();
        worker.terminating = Some(Termination { slot: index, generation, item, reason, deadline });
        worker.signal(if reason == Reason::Killed { Signal::Kill } else { Signal::Terminate });
        true
    }

    /// Sends SIGKILL to workers that did not end by SIGTERM. Gives when the next one is due.
    pub(super) fn look_at_terminating(state: &mut State, now: Instant) -> Option<Instant> {
        let workers = state.workers.worker_slots.iter_mut().filter_map(|worker_slot| worker_slot.worker_mut());
        let mut next: Option<Instant> = None;
        for worker in workers {
            let Some(deadline) = worker.terminating.and_then(|terminating| terminating.deadline) else { continue };
            if deadline > now {
                next = Some(next.map_or(deadline, |next| next.min(deadline)));
            } else {
                if let Some(terminating) = &mut worker.terminating {
                    terminating.deadline = None;
                }
                worker.signal(Signal::Kill);
            }
        }
        next
    }

    /// Ends a task: it never runs, or its worker is ended. False if it has ended already.
    pub(crate) fn kill_task(self: &Arc<Self>, task_state: &TaskRef) -> bool {
        if fork::check().is_err() {
            return false;
        }
        // Between a look at where the task is and the next step a worker may claim it, or the task may be sent again; and a worker
        // may claim it before the supervisor, which has just started that worker, has noted it.
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.cancel(task_state) {
                return true;
            }
            std::thread::yield_now();
            let mut state = self.lock();
            match task_state.phase() {
                Phase::Finished => return false,
                Phase::Queued => {}
                Phase::Boarded { slot, generation } => {
                    if self.collect_slot(&mut state, slot) {
                        self.refill(&mut state);
                        drop(state);
                        self.notify_waiters();
                        return false;
                    }
                    // Of several, those that have ended are told, and those that have not begun go elsewhere.
                    self.divide(&mut state, slot);
                    if task_state.phase() != (Phase::Boarded { slot, generation }) {
                        drop(state);
                        self.notify_waiters();
                        continue;
                    }
                    let item = state.slots.item_of(slot, task_state);
                    if self.dismiss(&mut state, slot, generation) {
                        return true;
                    }
                    if self.terminate(&mut state, slot, generation, item, Reason::Killed) {
                        return true;
                    }
                }
            }
        }
        false
    }
}
