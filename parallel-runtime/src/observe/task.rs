//! What is known of a task and its pool.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::error::TaskError;

/// Whether each task is to be looked at.
static CLOSELY: AtomicBool = AtomicBool::new(false);

/// Has each task looked at, or no more.
pub(crate) fn look_closely(on: bool) {
    CLOSELY.store(on, Ordering::Relaxed);
}

/// Whether each task is to be looked at, since tasks are recorded.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    CLOSELY.load(Ordering::Relaxed)
}

/// What runs tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Threads,
    Processes,
    /// A process of its own.
    Process,
}

/// Which pool it is, of all that this program ever had.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pool {
    pub(crate) id: u32,
    pub(crate) kind: Kind,
    pub(crate) workers: u32,
    /// What its owner calls it.
    pub(crate) called: Option<&'static str>,
}

impl Pool {
    pub(crate) fn new(kind: Kind, workers: usize, called: Option<&'static str>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), kind, workers: workers as u32, called }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> String {
        let Self { id, kind, workers, called } = self;
        let called = called.map_or_else(|| format!("pool {id}"), str::to_owned);
        match kind {
            Kind::Threads => format!("{called}: {workers} threads"),
            Kind::Processes => format!("{called}: {workers} processes"),
            Kind::Process => format!("process {id} of its own"),
        }
    }

    /// The same without how many workers it has.
    pub(crate) fn short_name(&self) -> String {
        match self.kind {
            Kind::Process => self.name(),
            _ => self.called.map_or_else(|| format!("pool {}", self.id), str::to_owned),
        }
    }
}

/// What became of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    /// It panicked, or its arguments or its result could not cross.
    Failed,
    Cancelled,
    TimedOut,
    /// Its worker died.
    Died,
}

impl Fate {
    pub(crate) fn of(error: &TaskError) -> Self {
        match error {
            TaskError::Cancelled | TaskError::PoolClosed => Self::Cancelled,
            TaskError::TimedOut { .. } => Self::TimedOut,
            TaskError::WorkerDied { .. } => Self::Died,
            _ => Self::Failed,
        }
    }
}

/// From when to when a task ran, in nanoseconds of the monotonic clock, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) began: u64,
    pub(crate) ended: u64,
    /// The place of its worker in the pool.
    pub(crate) place: u32,
    /// The process, or 0 for a thread.
    pub(crate) pid: u32,
}
