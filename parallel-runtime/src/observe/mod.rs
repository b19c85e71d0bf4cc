//! What is seen of tasks: counts and times for [`PoolStats`](crate::PoolStats), and where somebody asks for it, a record of each.
//!
//! ```text
//!   engine: a task is submitted ──► Seen (when, and how many tasks it stands for)
//!           a task has ended ─────► Tally (counts, histograms)          always
//!                              └──► timeline::Recorder, spans           if they are on
//! ```
//!
//! What is always done must cost next to nothing. So the clock is read for a sample of the tasks only, of which each stands for those
//! before it that were not looked at; see [`Sampler`]. Whether somebody wants more is one atomic load.
//!
//! | module | what |
//! | --- | --- |
//! | [`stats`] | what a pool tells of itself |
//! | [`progress`] | bars |
//! | [`tally`] | the counts of a pool, and which tasks are sampled |
//! | [`histogram`] | times, as percentiles |
//! | [`spans`] | spans of calls, and what workers log, for `tracing` |
//! | [`timeline`] | a record of all tasks, as a page or a trace |

pub(crate) mod histogram;
#[cfg(feature = "progress")]
pub(crate) mod progress;
#[cfg(not(feature = "progress"))]
#[path = "no_progress.rs"]
pub(crate) mod progress;
#[cfg(feature = "tracing")]
pub(crate) mod spans;
#[cfg(not(feature = "tracing"))]
#[path = "no_spans.rs"]
pub(crate) mod spans;
pub(crate) mod stats;
pub(crate) mod tally;
pub(crate) mod timeline;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

pub(crate) use spans::CallSpan;
pub(crate) use tally::Tally;

use crate::error::TaskError;
use crate::sys::clock;

/// Whether each task is to be looked at.
static CLOSELY: AtomicBool = AtomicBool::new(false);

/// Whether each task is to be looked at, since somebody records them.
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
}

impl Pool {
    pub(crate) fn new(kind: Kind, workers: usize) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), kind, workers: workers as u32 }
    }

    /// What it is called.
    pub(crate) fn name(&self) -> String {
        let Self { id, kind, workers } = self;
        match kind {
            Kind::Threads => format!("pool {id}: {workers} threads"),
            Kind::Processes => format!("pool {id}: {workers} processes"),
            Kind::Process => format!("process {id} of its own"),
        }
    }
}

/// A task that is looked at.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) function: &'static str,
    /// How many items it has.
    pub(crate) items: u32,
    /// In nanoseconds of the monotonic clock.
    pub(crate) submitted: u64,
    /// How many tasks it stands for.
    pub(crate) weight: u32,
    pub(crate) span: CallSpan,
}

impl Seen {
    pub(crate) fn new(function: &'static str, items: u32, weight: u32, span: CallSpan) -> Box<Self> {
        Box::new(Self { function, items, submitted: clock::now(), weight, span })
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
