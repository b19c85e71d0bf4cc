//! Maps that a pool has accepted: their messages are submitted one after the other, and a pool that is shut down meanwhile still runs
//! all of them.

use std::cell::RefCell;
use std::sync::Arc;

use super::engine::Engine;
use super::state::Life;
use crate::error::{PoolError, TaskError};
use crate::sys::fork;

/// Something of several messages that the pool has accepted: it is not shut down before this has ended.
pub(crate) struct Admission(Arc<Engine>);

thread_local! {
    /// The pools whose maps this thread is in.
    static INSIDE: RefCell<Vec<*const Engine>> = const { RefCell::new(Vec::new()) };
}

/// This thread is in a map.
pub(crate) struct Inside(*const Engine);

impl Inside {
    pub(crate) fn new(engine: &Engine) -> Self {
        INSIDE.with_borrow_mut(|inside| inside.push(engine));
        Self(engine)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.with_borrow_mut(|inside| {
            if let Some(position) = inside.iter().rposition(|engine| std::ptr::eq(*engine, self.0)) {
                inside.remove(position);
            }
        });
    }
}

impl Admission {
    /// How many of an engine's are held by maps that this thread is in.
    pub(super) fn of_this_thread(engine: &Engine) -> usize {
        INSIDE.with_borrow(|inside| inside.iter().filter(|other| std::ptr::eq(**other, engine)).count())
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if fork::check().is_err() {
            return;
        }
        self.0.lock().admitted -= 1;
        if self.0.has_board() {
            self.0.notify_waiters();
        }
    }
}

impl Engine {
    /// Accepts something of several messages. `again`: it is part of something that was accepted before.
    pub(crate) fn admit(self: &Arc<Self>, again: bool) -> Result<Admission, TaskError> {
        self.arena().map_err(PoolError::into_task_error)?;
        let mut state = self.lock();
        if !(again && state.life == Life::Draining) {
            state.check_open()?;
        }
        state.admitted += 1;
        Ok(Admission(Arc::clone(self)))
    }
}
