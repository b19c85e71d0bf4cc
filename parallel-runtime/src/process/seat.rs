//! The place of one worker in a pool, which outlives the processes that fill it.

use std::process::ExitStatus;
use std::time::Instant;

use super::spawn::Started;
use crate::shared::Block;

/// One place.
#[derive(Default)]
pub(super) struct Seat {
    pub(super) occupant: Occupant,
    /// Where its workers put results of medium size. Made with the first worker.
    pub(super) region: Option<Block>,
    /// Blocks that were granted to its worker, for results that have not been collected yet.
    pub(super) grants: Vec<Block>,
    /// How far the program has read its list of completed tasks.
    pub(super) completed_head: u64,
}

#[derive(Default)]
pub(super) enum Occupant {
    #[default]
    Nobody,
    /// Somebody is just starting a process for this place.
    Starting,
    Worker(Box<Worker>),
}

/// A worker process.
pub(super) struct Worker {
    pub(super) started: Started,
    /// Which worker this is, of all that the supervisor ever had.
    pub(super) key: u64,
    pub(super) since: Instant,
    /// It has said hello.
    pub(super) ready: bool,
    /// It was ended because it did not say hello.
    pub(super) late: bool,
}

impl Seat {
    pub(super) fn is_free(&self) -> bool {
        matches!(self.occupant, Occupant::Nobody)
    }

    pub(super) fn worker(&self) -> Option<&Worker> {
        match &self.occupant {
            Occupant::Worker(worker) => Some(worker),
            _ => None,
        }
    }

    pub(super) fn worker_mut(&mut self) -> Option<&mut Worker> {
        match &mut self.occupant {
            Occupant::Worker(worker) => Some(worker),
            _ => None,
        }
    }

    /// Empties the place.
    pub(super) fn take(&mut self) -> Option<Box<Worker>> {
        match std::mem::take(&mut self.occupant) {
            Occupant::Worker(worker) => Some(worker),
            other => {
                self.occupant = other;
                None
            }
        }
    }
}

impl Worker {
    pub(super) fn pid(&self) -> u32 {
        self.started.child.id()
    }

    /// Ends it at once and waits until it is gone.
    pub(super) fn kill(&mut self) -> Option<ExitStatus> {
        let _ = self.started.child.kill();
        self.started.child.wait().ok()
    }
}
