//! The tasks on the board.

use std::time::Instant;

use super::pack::Pack;
use crate::ipc::board::ring::Place;
use crate::observe::Seen;
use crate::process::termination::Limited;
use crate::remote::message::{Arguments, Loan, Retry};
use crate::remote::recording::Recording;
use crate::remote::task_state::TaskRef;

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
    /// Slots with messages of several tasks, and some that had one.
    pub(in crate::process) packs: Vec<(u32, u64)>,
    /// Messages in slots that keep their worker.
    pub(in crate::process) boarded: usize,
}

impl Slots {
    /// Whether a slot has a message of several tasks.
    pub(in crate::process) fn has_pack(&self, index: u32) -> bool {
        self.in_flight[index as usize].as_ref().is_some_and(InFlight::is_pack)
    }

    /// Which item of the message in a slot a task is.
    pub(in crate::process) fn item_of(&self, index: u32, task: &TaskRef) -> u32 {
        let item = match &self.in_flight[index as usize] {
            Some(InFlight { tasks: Tasks::Pack(pack), .. }) => pack.position(task),
            _ => None,
        };
        item.unwrap_or(0) as u32
    }
}

/// Whose message is in a slot.
pub(in crate::process) enum Tasks {
    One(TaskRef),
    Pack(Box<Pack>),
}

impl Tasks {
    pub(in crate::process) fn all(&self) -> Vec<TaskRef> {
        match self {
            Self::One(task) => vec![task.clone()],
            Self::Pack(pack) => pack.tasks().collect(),
        }
    }
}

/// The message in a slot: a task, or several.
pub(in crate::process) struct InFlight {
    pub(in crate::process) tasks: Tasks,
    pub(in crate::process) items: u32,
    pub(in crate::process) is_async: bool,
    pub(in crate::process) arguments: Option<Arguments>,
    pub(in crate::process) limited: Option<Box<Limited>>,
    pub(in crate::process) retry: Option<Box<Retry>>,
    pub(in crate::process) recording: Option<Box<Recording>>,
    pub(in crate::process) loan: Option<Box<Loan>>,
    pub(in crate::process) seen: Option<Box<Seen>>,
    /// Its caller knows already that it has ended; it holds its slot until its worker lets go of it.
    pub(in crate::process) is_over: bool,
    /// By which number its function is known.
    pub(in crate::process) function: u64,
    /// Since when a pack is seen to be with its worker.
    pub(in crate::process) held: Option<Instant>,
}

impl InFlight {
    pub(in crate::process) fn is_pack(&self) -> bool {
        matches!(self.tasks, Tasks::Pack(_))
    }

    /// The tasks that have not ended.
    pub(in crate::process) fn into_tasks(self) -> Vec<TaskRef> {
        match self.tasks {
            Tasks::One(task) => vec![task],
            Tasks::Pack(pack) => pack.tasks().collect(),
        }
    }
}
