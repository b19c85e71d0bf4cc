//! How requests end for the program, and waiting for their ends.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::away::Away;
use super::engine::{Engine, State, Told};
use crate::error::TaskError;
use crate::panics;
use crate::remote::outcome::Outcome;
use crate::remote::task_state::TaskRef;
use crate::sys::fork;
use crate::wait::notify::{Watcher, Watchers};

impl Engine {
    /// A request has ended.
    pub(super) fn finish(&self, state: &mut State, task_state: &TaskRef, outcome: Outcome, told: &mut Told) {
        if task_state.is_finished() {
            return;
        }
        state.finished += 1;
        state.counters.bytes_copied += outcome.results.as_slice().len() as u64;
        state.counters.end(outcome.fate(), None, None);
        match outcome.rare.as_ref().and_then(|rare| rare.error.as_ref()) {
            Some(TaskError::TimedOut { .. }) => state.timed_out += 1,
            Some(TaskError::WorkerDied { .. }) => state.died += 1,
            _ => {}
        }
        told.0.push(task_state.finish(outcome));
    }

    /// Tells those who are to be told.
    pub(super) fn tell(&self, told: Told) {
        let Told(watchers, away, wakers) = told;
        drop(away);
        wakers.into_iter().for_each(|waker| panics::discard(|| waker.wake()));
        if watchers.is_empty() {
            return;
        }
        watchers.into_iter().for_each(Watchers::fire);
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.more_ended.notify_all();
        self.changed.notify_all();
    }

    /// Has a watcher told of the end of a task.
    ///
    /// # Errors
    ///
    /// The watcher, if it has ended.
    pub(crate) fn watch(&self, task_state: &TaskRef, watcher: Watcher) -> Result<(), Watcher> {
        if fork::check().is_err() {
            return Err(watcher);
        }
        let state = self.lock();
        if task_state.is_finished() {
            return Err(watcher);
        }
        let (_, unwanted) = task_state.add_watcher(watcher);
        drop(state);
        drop(unwanted);
        Ok(())
    }

    /// Waits for a task, at most until `deadline`, and takes its outcome.
    pub(crate) fn wait(&self, task_state: &TaskRef, deadline: Option<Instant>) -> Option<Outcome> {
        loop {
            if let Err(error) = fork::check() {
                return Some(Outcome::error(TaskError::Spawn(error)));
            }
            if task_state.is_finished() {
                return match Away::of(task_state) {
                    Some(away) if !away.wait(deadline) => None,
                    Some(away) => task_state.take_outcome().map(|_| away.take()),
                    None => task_state.take_outcome(),
                };
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            task_state.sleep_while_queued(deadline);
        }
    }

    pub(crate) fn wait_until_deadline(&self, deadline: Option<Instant>, done: &mut dyn FnMut() -> bool) -> bool {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if done() || fork::check().is_err() {
                return true;
            }
            ended = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return false,
                Some(left) => self.more_ended.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.more_ended.wait(ended).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Has threads that wait look again.
    pub(crate) fn wake_waiters(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.more_ended.notify_all();
    }
}
