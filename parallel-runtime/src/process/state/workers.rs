//! The workers of a pool, and how their starts went.

use std::io;
use std::time::Instant;

use crate::process::worker_slot::WorkerSlot;

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
    /// Workers that could not start by their own fault.
    pub(in crate::process) failures: u64,
    pub(in crate::process) last_failure: Option<Failure>,
    /// The program is exiting: workers that end need no successors.
    pub(in crate::process) exiting: bool,
    pub(in crate::process) last_pid: Option<u32>,
}
