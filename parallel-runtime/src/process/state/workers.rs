//! The workers of a pool, and how their starts went.

use std::io;
use std::time::Instant;

use super::functions::MOST_KEPT;
use crate::process::worker_slot::{Occupant, WorkerSlot};

/// Why a worker could not be started.
#[derive(Debug, Clone)]
pub(in crate::process) enum Failure {
    /// An error of the operating system.
    System(i32),
    Text(String),
}

impl Failure {
    pub(in crate::process) fn of(error: &io::Error) -> Self {
        error.raw_os_error().map_or_else(|| Self::Text(error.to_string()), Self::System)
    }

    pub(in crate::process) fn to_error(&self) -> io::Error {
        match self {
            Self::System(code) => io::Error::from_raw_os_error(*code),
            Self::Text(text) => io::Error::other(text.clone()),
        }
    }
}

/// The places of workers.
#[derive(Default)]
pub(in crate::process) struct Workers {
    pub(in crate::process) worker_slots: Vec<WorkerSlot>,
    /// Points for workers in a row that died before they did anything: see [`lifecycle`](crate::process::lifecycle).
    pub(in crate::process) failed_starts: u32,
    /// When the last of them died.
    pub(in crate::process) failed_at: Option<Instant>,
    /// No worker is started before then.
    pub(in crate::process) start_after: Option<Instant>,
    /// Starts that were begun, failed ones included.
    pub(in crate::process) starts: u64,
    /// The newest of the starts that failed by the worker's own fault, by its number, and why.
    pub(in crate::process) last_failure: Option<(u64, Failure)>,
    /// What functions of the pool keep, as offsets in the executable: for workers that make it before their sandbox closes.
    pub(in crate::process) keeps: [u64; MOST_KEPT],
    /// The program is exiting: workers that end need no successors.
    pub(in crate::process) exiting: bool,
    pub(in crate::process) last_pid: Option<u32>,
}

impl Workers {
    /// Begins a start in a place, which is the supervisor's to carry out.
    pub(in crate::process) fn begin_start(&mut self, worker_slot: usize) {
        self.starts += 1;
        self.worker_slots[worker_slot].start = self.starts;
        self.worker_slots[worker_slot].occupant = Occupant::Starting;
    }

    /// A function keeps what is made at an offset. If there are too many the last ones are made in the sandbox.
    pub(in crate::process) fn note_keep(&mut self, offset: u64) {
        if !self.keeps.contains(&offset)
            && let Some(free) = self.keeps.iter_mut().find(|keep| **keep == 0)
        {
            *free = offset;
        }
    }

    /// Notes that the start of a place's worker has failed by its own fault.
    pub(in crate::process) fn note_failure(&mut self, worker_slot: usize, failure: &Failure) {
        let start = self.worker_slots[worker_slot].start;
        if self.last_failure.as_ref().is_none_or(|(last, _)| *last <= start) {
            self.last_failure = Some((start, failure.clone()));
        }
    }

    /// Why a start has failed that was begun after the first `before`: an earlier one says nothing about what is possible now.
    pub(in crate::process) fn failure_after(&self, before: u64) -> Option<&Failure> {
        self.last_failure.as_ref().filter(|(start, _)| *start > before).map(|(_, failure)| failure)
    }
}
