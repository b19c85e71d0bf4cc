//! Without the features `tracing` and `log` workers send no events.

/// Whether workers send anything.
pub(crate) const ARE_SENT: bool = false;

#[inline(always)]
pub(crate) fn level() -> u32 {
    0
}

#[inline(always)]
pub(crate) fn is_event(_: &[u8]) -> bool {
    false
}

pub(crate) struct WorkerEvents;

impl WorkerEvents {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self
    }

    #[inline(always)]
    pub(crate) fn take(&self, _: &[u8], _: u32) {}

    #[inline(always)]
    pub(crate) fn end_task(&self, _: u64) {}

    #[inline(always)]
    pub(crate) fn emit(&self) {}
}

pub(crate) mod worker {
    #[inline(always)]
    pub(crate) fn begin() {}

    #[inline(always)]
    pub(crate) fn set_level(_: u32) {}
}
