//! A task that is looked at.

use super::spans::CallSpan;
use crate::sys::clock;

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
