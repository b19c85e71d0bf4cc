//! What is not used, because a worker may still write there.

use std::time::Instant;

use crate::ipc::board::word::Word;
use crate::remote::message::{Arguments, Loan};
use crate::remote::outcome::Outcome;
use crate::remote::task_state::TaskRef;

/// A slot whose claim looks false, and since when.
pub(in crate::process) type Suspect = (u32, Word, Instant);

/// A slot that is not used as long as one of these workers lives.
pub(in crate::process) struct Quarantined {
    pub(in crate::process) slot: u32,
    pub(in crate::process) workers: Vec<u64>,
    /// Never read again, but kept.
    pub(in crate::process) _arguments: Option<Arguments>,
    /// The same for shared memory.
    pub(in crate::process) _loan: Option<Box<Loan>>,
    /// The end of its task, if the task may still change memory that its caller has: then the caller waits.
    pub(in crate::process) ending: Option<(TaskRef, Outcome)>,
}

/// Slots in quarantine, and claims that look false.
#[derive(Default)]
pub(in crate::process) struct Quarantine {
    /// Slots whose claims an earlier audit has found to look false.
    pub(in crate::process) suspects: Vec<Suspect>,
    pub(in crate::process) held: Vec<Quarantined>,
    /// Since when no task has ended, although some wait and workers are idle; and how many had.
    pub(in crate::process) stalled: Option<(Instant, u64)>,
    /// When a thread that waited has last looked for what may be wrong.
    pub(in crate::process) looked: Option<Instant>,
}
