//! The tasks on the board.

use std::sync::Arc;

use crate::ipc::board::ring::Place;
use crate::observe::Seen;
use crate::process::termination::Limited;
use crate::remote::message::{Arguments, Loan, Retry};
use crate::remote::task_state::TaskState;

/// The slots of the board that have been used, as the program knows them.
#[derive(Default)]
pub(in crate::process) struct Slots {
    /// Those that hold no task.
    pub(in crate::process) free: Vec<u32>,
    /// Where the ring is.
    pub(in crate::process) place: Place,
    /// By slot: its current generation.
    pub(in crate::process) generations: Vec<u64>,
    /// By slot: the task in it.
    pub(in crate::process) in_flight: Vec<Option<InFlight>>,
    /// Tasks in slots that keep their worker.
    pub(in crate::process) boarded: usize,
}

/// A task in a slot.
pub(in crate::process) struct InFlight {
    pub(in crate::process) task_state: Arc<TaskState>,
    pub(in crate::process) items: u32,
    pub(in crate::process) is_async: bool,
    pub(in crate::process) arguments: Option<Arguments>,
    pub(in crate::process) limited: Option<Box<Limited>>,
    pub(in crate::process) retry: Option<Box<Retry>>,
    pub(in crate::process) loan: Option<Box<Loan>>,
    pub(in crate::process) seen: Option<Box<Seen>>,
    /// Its caller knows already that it has ended; it holds its slot until its worker lets go of it.
    pub(in crate::process) is_over: bool,
}
