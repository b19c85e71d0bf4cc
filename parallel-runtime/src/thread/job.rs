//! A task that was submitted to threads.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use super::{Cancel, Engine, Running, wait_while};
use crate::error::TaskError;
use crate::panics;

type Body<R> = Box<dyn FnOnce() -> R + Send>;

const PENDING: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;

/// A task: its body until somebody claims it, its result from when it ends.
///
/// `state` goes PENDING → RUNNING → DONE, or PENDING → DONE when it is cancelled; whoever makes the first step owns the body.
pub(crate) struct Job<R> {
    function: &'static str,
    state: AtomicU8,
    body: Mutex<Option<Body<R>>>,
    result: Mutex<Option<Result<R, TaskError>>>,
    done: Condvar,
    /// The pool that counts this task; a task on a thread of its own has none.
    engine: Option<Arc<Engine>>,
}

impl<R: Send + 'static> Job<R> {
    pub(crate) fn new(function: &'static str, body: Body<R>, engine: Option<Arc<Engine>>) -> Self {
        Self {
            function,
            state: AtomicU8::new(PENDING),
            body: Mutex::new(Some(body)),
            result: Mutex::new(None),
            done: Condvar::new(),
            engine,
        }
    }

    /// Runs it on a thread of the pool, unless it was claimed or cancelled.
    pub(crate) fn run_on_pool(&self) {
        if self.is_finished() {
            return;
        }
        if let Some(engine) = &self.engine {
            // The permit comes before the claim: a task that is claimed runs.
            let _permit = engine.permits.enter();
            self.run();
        } else {
            self.run();
        }
    }

    fn claim(&self, next: u8) -> bool {
        self.state.compare_exchange(PENDING, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn run(&self) {
        if !self.claim(RUNNING) {
            return;
        }
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        let _running = self.engine.as_deref().map(Running::new);
        let result = match body {
            Some(body) => panics::catch(body).map_err(|caught| caught.into_error(self.function)),
            None => Err(TaskError::Cancelled),
        };
        drop(_running);
        self.finish(result);
    }

    fn finish(&self, result: Result<R, TaskError>) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.state.store(DONE, Ordering::Release);
        // The lock is taken between the store and the wake-up, so no waiter is between its check and its sleep.
        drop(self.result.lock().unwrap_or_else(PoisonError::into_inner));
        self.done.notify_all();
        if let Some(engine) = &self.engine {
            engine.dismiss();
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state.load(Ordering::Acquire) == RUNNING
    }

    /// Whether it will never run.
    pub(crate) fn cancel(&self) -> bool {
        if !self.claim(RUNNING) {
            return false;
        }
        let body = self.body.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(body);
        self.finish(Err(TaskError::Cancelled));
        true
    }

    /// Waits for the end, at most until `deadline`. Takes the result; a second call finds none and gives `Cancelled`.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<Result<R, TaskError>> {
        // A task of the pool that waits for another task of it may be what keeps that task from running.
        if self.engine.as_ref().is_some_and(|engine| engine.permits.held()) {
            self.run();
        }
        let mut result = wait_while(&self.result, &self.done, deadline, |_| !self.is_finished());
        if !self.is_finished() {
            return None;
        }
        Some(result.take().unwrap_or(Err(TaskError::Cancelled)))
    }
}

impl<R: Send + 'static> Cancel for Job<R> {
    fn cancel(&self) {
        Job::cancel(self);
    }

    fn is_over(&self) -> bool {
        self.is_finished()
    }
}
