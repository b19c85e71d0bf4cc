//! Results that stay on the cluster until they are asked for.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::error::TaskError;
use crate::panics;
use crate::remote::outcome::Outcome;
use crate::remote::task_state::TaskRef;

/// Who keeps the replies that have not come.
pub(super) trait Keeper: Send + Sync {
    /// Has one sent. False if it will never come.
    fn fetch(&self, submission: u64) -> bool;

    /// No process wants it any more.
    fn forget(&self, submission: u64);
}

/// The reply to a submission, which is still on the cluster.
pub(crate) struct Away {
    keeper: Arc<dyn Keeper>,
    submission: u64,
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
        f.debug_struct("Away").field("submission", &self.submission).finish_non_exhaustive()
    }
}

impl Away {
    pub(super) fn new(keeper: Arc<dyn Keeper>, submission: u64) -> Arc<Self> {
        Arc::new(Self { keeper, submission, inner: Mutex::default(), here: Condvar::new() })
    }

    /// That of a task, if its results are still on the cluster.
    pub(super) fn of(task: &TaskRef) -> Option<Arc<Self>> {
        task.away().and_then(|away| away.downcast().ok())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a waiting thread has asked for it.
    pub(super) fn is_wanted(&self) -> bool {
        let inner = self.inner();
        inner.asked && !inner.arrived
    }

    /// Has it sent, once.
    fn ask(&self) {
        let mut inner = self.inner();
        if std::mem::replace(&mut inner.asked, true) || inner.arrived {
            return;
        }
        drop(inner);
        if !self.keeper.fetch(self.submission)
            && let Some(waker) = self.arrive(Outcome::error(TaskError::PoolClosed))
        {
            panics::discard(|| waker.wake());
        }
    }

    /// Whether it has come. If not, it is sent for, and `waker` is woken when it has.
    pub(super) fn is_here(&self, waker: &Waker) -> bool {
        let mut inner = self.inner();
        if inner.arrived {
            return true;
        }
        let before = inner.waker.replace(waker.clone());
        drop(inner);
        drop(before);
        self.ask();
        self.inner().arrived
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
    pub(super) fn wait(&self, deadline: Option<Instant>) -> bool {
        self.ask();
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

impl Drop for Away {
    fn drop(&mut self) {
        self.keeper.forget(self.submission);
    }
}
