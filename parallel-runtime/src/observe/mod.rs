//! What is seen of tasks: counts and times for [`PoolStats`](crate::PoolStats), and on request a record of each.
//!
//! ```text
//!   engine: a task is submitted ──► Seen (when, and how many tasks it stands for)
//!           a task has ended ─────► Counters (counts, histograms)          always
//!                              └──► timeline::Recorder, spans           if they are on
//! ```
//!
//! What is always done must cost next to nothing. So the clock is read for a sample of the tasks only, of which each stands for those
//! before it that were not looked at; see [`Sampler`](counters::Sampler). Whether more is wanted is one atomic load.
//!
//! | module | what |
//! | --- | --- |
//! | [`stats`] | what a pool tells of itself |
//! | [`progress`] | bars |
//! | [`task`], [`seen`] | what is known of a task and its pool |
//! | [`counters`] | the counts of a pool, and which tasks are sampled |
//! | [`histogram`] | times, as percentiles |
//! | [`spans`] | spans of calls, and events of workers, for `tracing` |
//! | `records` | records of workers, for `log` |
//! | [`worker_events`], `line` | what workers log, on its way to the program |
//! | [`timeline`] | a record of all tasks, as a page or a trace |
//! | [`dashboard`] | the same page while the program runs |

pub(crate) mod counters;
#[cfg(feature = "dashboard")]
pub(crate) mod dashboard;
#[cfg(not(feature = "dashboard"))]
#[path = "no_dashboard.rs"]
pub(crate) mod dashboard;
pub(crate) mod histogram;
#[cfg(any(feature = "tracing", feature = "log"))]
mod line;
#[cfg(feature = "progress")]
pub(crate) mod progress;
#[cfg(not(feature = "progress"))]
#[path = "no_progress.rs"]
pub(crate) mod progress;
#[cfg(feature = "log")]
mod records;
mod seen;
#[cfg(feature = "tracing")]
pub(crate) mod spans;
#[cfg(not(feature = "tracing"))]
#[path = "no_spans.rs"]
pub(crate) mod spans;
pub(crate) mod stats;
mod task;
pub(crate) mod timeline;
#[cfg(any(feature = "tracing", feature = "log"))]
pub(crate) mod worker_events;
#[cfg(not(any(feature = "tracing", feature = "log")))]
#[path = "no_worker_events.rs"]
pub(crate) mod worker_events;

pub(crate) use counters::Counters;
pub(crate) use seen::Seen;
pub(crate) use spans::CallSpan;
pub(crate) use task::{Fate, Kind, Pool, Run, is_on};

/// Begins to record, or to show, what the environment asks for. To be called before a pool's first task.
pub(crate) fn begin_if_asked() {
    timeline::begin_if_asked();
    dashboard::begin_if_asked();
}
