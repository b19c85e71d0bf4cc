//! What is counted.

use crate::observe::Counters;

#[derive(Default)]
pub(in crate::process) struct Metrics {
    pub(in crate::process) counters: Counters,
    pub(in crate::process) submitted: u64,
    pub(in crate::process) finished: u64,
    pub(in crate::process) worker_deaths: u64,
    pub(in crate::process) timed_out: u64,
    pub(in crate::process) retried: u64,
    pub(in crate::process) replaced: u64,
}

impl Metrics {
    pub(in crate::process) fn outstanding(&self) -> usize {
        (self.submitted - self.finished) as usize
    }
}
