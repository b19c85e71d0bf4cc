//! Spans of calls, and the events that tasks emit in worker processes, for the subscriber of the program.
//!
//! A call has a span from its submission until its end is seen; how long it waited and ran is in its fields. In a worker process a subscriber of ours takes what tasks emit, and sends it to the
//! program as lines of the worker's standard error that begin with a mark: so it comes in the order of what is printed, and
//! survives a crash. The program emits it once more, inside the span of the call.
//!
//! | module | where | what |
//! | --- | --- | --- |
//! | [`calls`] | program | the spans of calls |
//! | [`emit`] | program | emits again what workers have sent |
//! | [`wire`] | both | how it travels |
//! | [`worker`] | worker | takes what tasks emit |

mod calls;
mod emit;
mod wire;
pub(super) mod worker;

pub(crate) use calls::CallSpan;
pub(super) use calls::of_task;
pub(super) use emit::Spans;
pub(super) use wire::Event;

use tracing::level_filters::LevelFilter;

/// The most verbose level that is wanted: 0 for none, 5 for all.
#[inline(always)]
pub(super) fn level() -> u32 {
    match LevelFilter::current() {
        LevelFilter::OFF => 0,
        LevelFilter::ERROR => 1,
        LevelFilter::WARN => 2,
        LevelFilter::INFO => 3,
        LevelFilter::DEBUG => 4,
        _ => 5,
    }
}
