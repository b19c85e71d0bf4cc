//! The spans of calls.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::{Dispatch, Level, Span, field};

use crate::observe::task::{Fate, Pool, Run};

/// Whether spans of calls are wanted.
#[inline(always)]
fn is_wanted() -> bool {
    tracing::span_enabled!(target: "parallel", Level::INFO, "call")
}

/// The spans of calls that worker processes have.
static TASKS: Mutex<BTreeMap<(u32, u64), CallSpan>> = Mutex::new(BTreeMap::new());

fn tasks() -> MutexGuard<'static, BTreeMap<(u32, u64), CallSpan>> {
    TASKS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The span of a task.
pub(in crate::observe) fn of_task(pool: u32, task: u64) -> CallSpan {
    tasks().get(&(pool, task)).cloned().unwrap_or_default()
}

/// The span of a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct CallSpan(Option<Span>);

impl CallSpan {
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// Opens one, if it is wanted, inside the span that this thread is in. To be called without a lock: the subscriber is the user's.
    #[inline(always)]
    pub(crate) fn open(function: &'static str, items: u32, pool: &Pool) -> Self {
        if is_wanted() { Self::open_wanted(function, items, pool) } else { Self(None) }
    }

    #[cold]
    fn open_wanted(function: &'static str, items: u32, pool: &Pool) -> Self {
        let span = tracing::info_span!(
            target: "parallel",
            "call",
            function,
            items,
            pool = pool.name(),
            worker = field::Empty,
            queued_us = field::Empty,
            ran_us = field::Empty,
            end = field::Empty,
        );
        Self((!span.is_disabled()).then_some(span))
    }

    #[inline(always)]
    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Runs something inside it.
    #[inline(always)]
    pub(crate) fn inside<R>(&self, run: impl FnOnce() -> R) -> R {
        match &self.0 {
            Some(span) => span.in_scope(run),
            None => run(),
        }
    }

    /// Its task is given to the workers of a pool, under this name: `generation | slot`.
    #[inline(always)]
    pub(crate) fn begin(&self, pool: &Pool, task: u64) {
        if self.0.is_some() {
            tasks().insert((pool.id, task), self.clone());
        }
    }

    /// Ends it. To be called without a lock. `task`: of which pool it was, and under which name.
    pub(crate) fn close(self, submitted: u64, run: Option<Run>, fate: Fate, task: Option<(u32, u64)>) {
        if let Some(task) = task {
            let ended = tasks().remove(&task);
            drop(ended);
        }
        let Some(span) = self.0 else { return };
        if let Some(Run { began, ended, pid, .. }) = run {
            span.record("queued_us", began.saturating_sub(submitted) / 1000);
            span.record("ran_us", ended.saturating_sub(began) / 1000);
            if pid != 0 {
                span.record("worker", pid);
            }
        }
        let end = match fate {
            Fate::Done => "done",
            Fate::Failed => "failed",
            Fate::Cancelled => "cancelled",
            Fate::TimedOut => "timed out",
            Fate::Died => "its worker died",
        };
        span.record("end", end);
    }

    /// Runs something with the subscriber that it is of, and inside it.
    pub(in crate::observe) fn with_subscriber(&self, run: impl FnOnce(Option<&Span>)) {
        let Some(span) = &self.0 else { return run(None) };
        let dispatch: Option<Dispatch> = span.with_subscriber(|(_, dispatch)| dispatch.clone());
        match dispatch {
            Some(dispatch) => tracing::dispatcher::with_default(&dispatch, || run(Some(span))),
            None => run(Some(span)),
        }
    }
}
