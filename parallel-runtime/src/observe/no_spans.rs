//! Without the feature `tracing` nothing wants spans.

use super::task::{Fate, Pool, Run};

#[derive(Debug, Clone)]
pub(crate) struct CallSpan;

impl CallSpan {
    #[inline(always)]
    pub(crate) fn none() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn open(_: &'static str, _: u32, _: &Pool) -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn is_some(&self) -> bool {
        false
    }

    #[inline(always)]
    pub(crate) fn inside<R>(&self, run: impl FnOnce() -> R) -> R {
        run()
    }

    #[inline(always)]
    pub(crate) fn begin(&self, _: &Pool, _: u64) {}

    #[inline(always)]
    pub(crate) fn close(self, _: u64, _: Option<Run>, _: Fate, _: Option<(u32, u64)>) {}
}
