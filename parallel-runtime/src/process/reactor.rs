//! A thread that collects results for those who do not wait themselves: futures, callbacks, and threads that wait for tasks of
//! several pools.
//!
//! A pool has one while a waiter is to be told of the end of one of its tasks, and a little longer. Where no thread can be started the supervisor
//! looks every now and then.

use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use super::state::State;
use super::supervisor::Supervisor;
use crate::remote::task_state::{Phase, TaskRef};
use crate::sys::fork;
use crate::wait::notify::Watcher;

/// How long it stays when there is nothing to do.
const LINGER: Duration = Duration::from_secs(1);

/// How often the supervisor looks instead.
const UNATTENDED_LOOK: Duration = Duration::from_millis(2);

impl Engine {
    /// Tells the watcher of the end of a task. `attend`: no thread collects results otherwise.
    ///
    /// # Errors
    ///
    /// The watcher, if the task has ended.
    pub(crate) fn watch(self: &Arc<Self>, task_state: &TaskRef, watcher: Watcher, attend: bool) -> Result<(), Watcher> {
        if task_state.is_finished() || fork::check().is_err() {
            return Err(watcher);
        }
        let mut state = self.lock();
        // An executor that polls again at once need not be woken for what is there.
        if matches!(watcher, Watcher::Waker(_))
            && let Phase::Boarded { slot, .. } = task_state.phase()
            && self.collect_slot(&mut state, slot)
        {
            self.refill(&mut state);
        }
        if task_state.is_finished() {
            drop(state);
            return Err(watcher);
        }
        let (is_first, unwanted) = task_state.add_watcher(watcher);
        if is_first {
            state.watched += 1;
        }
        if attend && !state.reactor {
            let engine = Arc::clone(self);
            let reactor = std::thread::Builder::new().name("parallel-reactor".to_owned());
            state.reactor = reactor.spawn(move || engine.react()).is_ok();
            state.unattended = !state.reactor;
            if let Some(supervisor) = Supervisor::running().filter(|_| state.unattended) {
                supervisor.kick();
            }
        } else if attend && state.reactor_lingers {
            self.changed.notify_all();
        }
        drop(state);
        drop(unwanted);
        Ok(())
    }

    /// Supervisor: does what the thread would do that could not be started. Gives when to look again.
    pub(super) fn attend(&self, state: &mut State) -> Option<Duration> {
        if !state.unattended || state.watched == 0 {
            state.unattended = false;
            return None;
        }
        self.collect(state);
        self.refill(state);
        Some(UNATTENDED_LOOK)
    }

    fn react(&self) {
        loop {
            self.wait_until(|| {
                self.collect_done();
                self.lock().watched == 0
            });
            let mut state = self.lock();
            if state.watched == 0 {
                state.reactor_lingers = true;
                state = state.wait(&self.changed, LINGER).unwrap_or_else(|| self.lock());
                state.reactor_lingers = false;
            }
            if state.watched == 0 {
                state.reactor = false;
                return;
            }
        }
    }
}
