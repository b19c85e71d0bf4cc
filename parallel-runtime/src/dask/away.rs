//! Results that stay on the cluster until somebody asks for them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::bridge::Frame;
use super::engine::Engine;
use super::wire::{Put, to_bridge};
use crate::error::TaskError;
use crate::remote::task_state::{Outcome, TaskState};

/// The reply to a parcel, which is still on the cluster.
pub(crate) struct Away {
    engine: Arc<Engine>,
    parcel: u64,
    inner: Mutex<Inner>,
    here: Condvar,
}

#[derive(Default)]
struct Inner {
    asked: bool,
    arrived: bool,
    outcome: Option<Outcome>,
    waker: Option<Waker>,
}

impl std::fmt::Debug for Away {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Away").field("parcel", &self.parcel).finish_non_exhaustive()
    }
}

impl Away {
    pub(super) fn new(engine: &Arc<Engine>, parcel: u64) -> Arc<Self> {
        Arc::new(Self { engine: Arc::clone(engine), parcel, inner: Mutex::default(), here: Condvar::new() })
    }

    /// That of a task, if its results are still on the cluster.
    pub(super) fn of(task: &TaskState) -> Option<Arc<Self>> {
        task.away().and_then(|away| away.downcast().ok())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody has asked for it, who waits.
    pub(super) fn is_wanted(&self) -> bool {
        let inner = self.inner();
        inner.asked && !inner.arrived
    }

    /// Has it sent, once.
    fn ask(&self, engine: &Engine) {
        let mut inner = self.inner();
        if std::mem::replace(&mut inner.asked, true) || inner.arrived {
            return;
        }
        drop(inner);
        let state = engine.lock();
        let is_there = state.sent.contains_key(&self.parcel);
        match &state.bridge {
            Some(bridge) if is_there => bridge.send(fetch(self.parcel)),
            // Another bridge will run it again.
            None if is_there => {}
            _ => {
                drop(state);
                if let Some(waker) = self.arrive(Outcome::error(TaskError::PoolClosed)) {
                    crate::panics::discard(|| waker.wake());
                }
            }
        }
    }

    /// It has come. Gives who is to be woken, without a lock.
    #[must_use]
    pub(super) fn arrive(&self, outcome: Outcome) -> Option<Waker> {
        let mut inner = self.inner();
        if !std::mem::replace(&mut inner.arrived, true) {
            inner.outcome = Some(outcome);
        }
        let waker = inner.waker.take();
        drop(inner);
        self.here.notify_all();
        waker
    }

    /// Waits until it is here. False if it is not by then.
    pub(super) fn wait(&self, engine: &Engine, deadline: Option<Instant>) -> bool {
        self.ask(engine);
        let mut inner = self.inner();
        while !inner.arrived {
            inner = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(left) if left.is_zero() => return false,
                Some(left) => self.here.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.here.wait(inner).unwrap_or_else(PoisonError::into_inner),
            };
        }
        true
    }

    /// What has come.
    pub(super) fn take(&self) -> Outcome {
        self.inner().outcome.take().unwrap_or_default()
    }
}

pub(super) fn fetch(parcel: u64) -> Frame {
    let mut head = Put::default();
    head.u64(parcel);
    Frame { kind: to_bridge::FETCH, head: head.0, body: Vec::new() }
}

impl Drop for Away {
    fn drop(&mut self) {
        self.engine.forget(self.parcel);
    }
}

impl Engine {
    /// Nobody wants the reply to a parcel any more.
    pub(super) fn forget(&self, parcel: u64) {
        let mut state = self.lock();
        if state.forget_parcel(parcel)
            && let Some(bridge) = &state.bridge
        {
            let mut head = Put::default();
            head.u64(parcel);
            bridge.send(Frame { kind: to_bridge::FORGET, head: head.0, body: Vec::new() });
        }
    }

    /// Whether the result of a task that has ended can be taken without waiting. If not, `waker` is woken when it can.
    pub(crate) fn is_here(&self, ticket: &TaskState, waker: &Waker) -> bool {
        let Some(away) = Away::of(ticket) else { return true };
        let mut inner = away.inner();
        if inner.arrived {
            return true;
        }
        let before = inner.waker.replace(waker.clone());
        drop(inner);
        drop(before);
        away.ask(self);
        away.inner().arrived
    }
}
