//! The end of a pool.

use std::sync::PoisonError;

use super::engine::{Engine, Life, Sent, State, Told};
use crate::error::TaskError;
use crate::remote::outcome::Outcome;
use crate::sys::fork;

impl Engine {
    /// Takes no more tasks, waits until those it has are done, and leaves the cluster.
    pub(crate) fn shutdown(&self) {
        if fork::check().is_err() {
            return;
        }
        let mut state = self.lock();
        if state.life == Life::Open {
            state.life = Life::Draining;
        }
        while state.life == Life::Draining
            && (state.admitted > 0 || !state.waiting.is_empty() || state.sent.values().any(|sent| sent.away.is_none()))
        {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.stop(&|| TaskError::PoolClosed);
    }

    /// Takes no more tasks, ends those it has, and leaves the cluster.
    pub(crate) fn kill(&self) {
        if fork::check().is_ok() {
            self.stop(&|| TaskError::Cancelled);
        }
    }

    fn stop(&self, error: &dyn Fn() -> TaskError) {
        let mut state = self.lock();
        state.life = Life::Stopped;
        let bridge = state.bridge.take();
        let told = self.end_all(&mut state, error);
        drop(state);
        self.changed.notify_all();
        self.tell(told);
        if let Some(bridge) = bridge {
            bridge.leave();
        }
    }

    /// Ends all that waits or is under way.
    pub(super) fn end_all(&self, state: &mut State, error: &dyn Fn() -> TaskError) -> Told {
        let mut told = Told::default();
        let sent = std::mem::take(&mut state.sent);
        state.submission_of.clear();
        let waiting = std::mem::take(&mut state.waiting);
        for Sent { requests, away } in sent.into_values() {
            // Its task has ended before.
            let is_away = away.is_some();
            if let Some(away) = away.and_then(|away| away.upgrade()) {
                told.2.extend(away.arrive(Outcome::error(error())));
                told.1.push(away);
            } else if !is_away {
                requests
                    .iter()
                    .for_each(|request| self.finish(state, &request.task_state, Outcome::error(error()), &mut told));
            }
        }
        waiting.iter().for_each(|request| self.finish(state, &request.task_state, Outcome::error(error()), &mut told));
        state.no_answer_comes();
        told
    }
}
