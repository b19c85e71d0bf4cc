//! Waiting for workers: [`spin`], then sleep.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::packs::HELD;
use crate::error::TaskError;
use crate::ipc::board::meeting;
use crate::ipc::board::slot::PACKED;
use crate::ipc::board::word::State as SlotState;
use crate::remote::outcome::Outcome;
use crate::remote::task_state::{Phase, TaskRef};
use crate::sys::spin::{spin, spin_gently};
use crate::sys::{fork, futex};

/// How long a thread sleeps at most before it looks for itself: a worker that misbehaves may have completed a task and woken
/// no thread, or written over the words by which others would.
const LOOK: Duration = Duration::from_secs(1);

/// The deadline of one sleep.
fn next_look(deadline: Option<Instant>) -> Option<Instant> {
    let look = Instant::now() + LOOK;
    Some(deadline.map_or(look, |deadline| deadline.min(look)))
}

fn passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

impl Engine {
    /// Waits for a task, at most until `deadline`, and takes its outcome.
    pub(crate) fn wait(&self, task_state: &TaskRef, deadline: Option<Instant>) -> Option<Outcome> {
        loop {
            if let Err(error) = fork::check() {
                return Some(Outcome::error(TaskError::Spawn(error)));
            }
            match task_state.phase() {
                Phase::Finished => return task_state.take_outcome(),
                _ if passed(deadline) => {
                    // One last look at what no thread may have collected.
                    self.collect_done();
                    return task_state.take_outcome();
                }
                Phase::Queued => {
                    let mut state = self.lock();
                    state.queue.burst.end();
                    self.collect(&mut state);
                    self.refill(&mut state);
                    drop(state);
                    let look = next_look(deadline);
                    task_state.sleep_while_queued(look);
                    if passed(look) {
                        self.look_after();
                    }
                }
                Phase::Boarded { slot, generation } => self.wait_for_slot(task_state, slot, generation, deadline),
            }
        }
    }

    /// Waits until a slot's task is done, or another thread has collected it, or a while has passed.
    fn wait_for_slot(&self, task_state: &TaskRef, index: u32, generation: u64, deadline: Option<Instant>) {
        let slot = self.board().slot(index);
        let over = || {
            let word = slot.load();
            matches!(word.state(), SlotState::Done | SlotState::Free)
                || word.generation() != generation
                || task_state.is_finished()
        };
        if !spin(over)
            && let Some(seen) = meeting::announce(&slot.word, generation, &slot.waiter)
            && !task_state.is_finished()
        {
            let look = next_look(deadline);
            // It may end, or leave the message, before that does.
            let is_packed = slot.wanted.load(Ordering::Relaxed) & PACKED != 0;
            let until = if is_packed { look.map(|look| look.min(Instant::now() + HELD)) } else { look };
            futex::wait(slot.futex(), seen.0 as u32, until);
            if passed(look) {
                self.look_after();
            }
        }
        let mut state = self.lock();
        state.queue.burst.end();
        if task_state.is_finished() {
            return;
        }
        if self.collect_slot(&mut state, index) || self.end_if_impossible(&mut state, index, generation) {
            self.refill(&mut state);
        }
    }

    /// Waits until `done`, which collects results and looks, is true.
    pub(super) fn wait_until(&self, mut done: impl FnMut() -> bool) {
        self.wait_until_deadline(None, &mut done);
    }

    pub(crate) fn wait_until_deadline(&self, deadline: Option<Instant>, done: &mut dyn FnMut() -> bool) -> bool {
        loop {
            if spin_gently(done) {
                return true;
            }
            let header = self.board().header();
            self.count_waiter(1);
            let seen = header.done_count.0.load(Ordering::SeqCst);
            let over = done();
            if !over {
                let look = next_look(deadline);
                futex::wait(&header.done_count.0, seen, look);
                if passed(look) {
                    self.look_after();
                }
            }
            self.count_waiter(-1);
            if over || done() {
                return true;
            }
            if passed(deadline) {
                return false;
            }
        }
    }

    /// One more thread, or one less, sleeps until some task is done. What workers see is set, not added to: so it is right again
    /// if one of them has written over it.
    fn count_waiter(&self, change: i32) {
        let shared = &self.board().header().done_waiters.0;
        let mut waiters =
            self.done_waiters.fetch_add(change.cast_unsigned(), Ordering::SeqCst).wrapping_add_signed(change);
        loop {
            shared.store(waiters, Ordering::SeqCst);
            // Another thread may have counted between the two steps above; the last one to store must store the last number.
            let now = self.done_waiters.load(Ordering::SeqCst);
            if now == waiters {
                return;
            }
            waiters = now;
        }
    }

    /// Has threads that wait look again: something else has changed.
    pub(crate) fn wake_waiters(&self) {
        if self.has_board() && fork::check().is_ok() {
            self.notify_waiters();
        }
    }

    /// Collects what is done, for a thread that waits for several tasks.
    pub(crate) fn collect_done(&self) {
        if fork::check().is_err() {
            return;
        }
        let mut state = self.lock();
        let collected = self.collect(&mut state);
        if collected > 0 || !state.queue.is_empty() {
            self.refill(&mut state);
        }
        drop(state);
        if collected > 0 {
            self.notify_waiters();
        }
    }
}
