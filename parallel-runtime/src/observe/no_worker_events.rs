//! Without the features `tracing` and `log` workers send no events.

/// Whether workers send anything.
pub(crate) const ARE_SENT: bool = false;

#[inline(always)]
pub(crate) fn level() -> u32 {
    0
}

#[inline(always)]
pub(crate) fn event_in(_: &[u8]) -> Option<usize> {
    None
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

    #[inline(always)]
    pub(crate) fn emit_last(&self) {}
}

pub(crate) mod worker {
    #[inline(always)]
    pub(crate) fn begin() {}

    #[inline(always)]
    pub(crate) fn set_level(_: u32) {}
}
