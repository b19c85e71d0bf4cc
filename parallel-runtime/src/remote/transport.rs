//! What an engine whose tasks run in other processes does: it carries messages there, and results back.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use super::message::Snapshot;
use super::references::SharedReferences;
use super::task_state::{Owner, TaskControl, TaskRef};
use crate::backend::OwnProcess;
use crate::backend::batch_policy::Granularity;
use crate::error::TaskError;
use crate::function::erased::{ErasedValue, ErasedVec};
use crate::function::table::{FunctionTable, Piece};
use crate::options::{CallOptions, WorkerOptions};
use crate::wait::gate::Gate;

/// Items that are sent.
pub(crate) trait Sent {
    /// Where they lie, and how many there are.
    fn places(&mut self) -> (*const u8, usize);

    /// Drops them: they hold the only owners of something that goes with the message.
    fn let_go(&mut self);
}

impl Sent for ErasedVec<'_> {
    fn places(&mut self) -> (*const u8, usize) {
        (self.at(0), self.len())
    }

    fn let_go(&mut self) {
        self.clear();
    }
}

/// The item of a call.
impl Sent for Piece<'_> {
    fn places(&mut self) -> (*const u8, usize) {
        (self.items(), 1)
    }

    fn let_go(&mut self) {
        self.drop_items();
    }
}

/// The item of a task.
impl Sent for Option<ErasedValue<'_>> {
    fn places(&mut self) -> (*const u8, usize) {
        match self {
            Some(value) => (value.place(), 1),
            None => (std::ptr::null(), 0),
        }
    }

    fn let_go(&mut self) {
        *self = None;
    }
}

/// Who sends a task again whose worker has died, or that took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retries {
    /// The engine, as often as the options say.
    Engine,
    /// The submitter, which keeps the items.
    Caller,
}

/// Items of one function, to be sent together.
pub(crate) struct Batch<'s> {
    pub(crate) function: &'static FunctionTable,
    pub(crate) items: &'s mut dyn Sent,
    pub(crate) options: CallOptions,
    pub(crate) retries: Retries,
    /// About how many bytes the items take, if something is known of that.
    pub(crate) guess: usize,
    /// Whether the worker is to say how long it took.
    pub(crate) timed: bool,
    /// Whether their results are wanted as soon as they are there.
    pub(crate) eager: bool,
    /// Whether it may travel with others of its function, if workers have enough to do.
    pub(crate) packable: bool,
    /// Whether no more of them are to be run when one has failed.
    pub(crate) stops: bool,
    /// It is part of something that was accepted before: see [`Transport::accept`].
    pub(crate) accepted: bool,
    /// If the task has a handle: the engine itself.
    pub(crate) owner: Option<&'s Arc<dyn Transport>>,
    /// What is known of references in items, if they are some of many.
    pub(crate) references: Option<&'s mut SharedReferences>,
}

/// Whose task something will be, if it has a handle.
#[derive(Clone, Copy)]
pub(crate) struct Ownership<'s> {
    pub(crate) transport: &'s Arc<dyn Transport>,
    pub(crate) function: &'static FunctionTable,
}

impl Ownership<'_> {
    pub(crate) fn owner(self) -> Owner {
        Owner { engine: Arc::clone(self.transport) as _, function: self.function }
    }
}

/// A batch that is on its way.
pub(crate) struct Submitted {
    pub(crate) task: TaskRef,
    /// What it may change in shared memory, where the caller sends it again. `None` if it cannot be sent again.
    pub(crate) before: Option<Snapshot>,
    /// How many bytes the items take.
    pub(crate) bytes: usize,
}

/// Why something was not submitted.
pub(crate) enum NotSubmitted {
    /// One of the items is at fault, or all of them together.
    Items(TaskError),
    /// The items hold what must not travel with others: each is to be sent alone.
    Together,
    /// The engine takes nothing.
    Engine(TaskError),
}

/// An engine whose tasks run in other processes.
pub(crate) trait Transport: TaskControl + Debug {
    /// Options of calls that say nothing else.
    fn defaults(&self) -> CallOptions;

    fn worker_options(&self) -> WorkerOptions;

    /// See [`Backend::gate`](crate::backend::Backend::gate).
    fn gate(&self) -> Option<&Arc<Gate>> {
        None
    }

    /// See [`Backend::is_closed`](crate::backend::Backend::is_closed).
    fn is_closed(&self) -> bool {
        false
    }

    /// How many tasks can run at a time.
    fn workers(&self) -> usize;

    /// How large messages should be.
    fn granularity(&self) -> &'static Granularity;

    /// Makes sure that there is what messages need.
    fn prepare(&self) -> Result<(), TaskError>;

    /// Accepts something of several messages: it is not shut down before what this gives is dropped. `again`: it is part of something
    /// that was accepted before.
    fn accept(&self, again: bool) -> Result<Box<dyn Any + Send>, TaskError>;

    /// This thread is in a map, until what this gives is dropped.
    fn enter_map(&self) -> Option<Box<dyn Any>> {
        None
    }

    /// Encodes items and sends them.
    fn submit(&self, batch: Batch<'_>) -> Result<Submitted, NotSubmitted>;

    /// Has threads that wait look again: something else has changed.
    fn wake_waiters(&self);

    /// The same for messages of a map, where no thread asks whether it came in time.
    fn cancel_some(&self, tasks: &mut dyn Iterator<Item = &TaskRef>) {
        tasks.for_each(|task| _ = self.cancel(task));
    }

    /// A task is tried again by its submitter.
    fn count_retry(&self);

    /// An engine for a single task in a process of its own, and that process. `None` if each task has one here anyway.
    fn own_process(&self) -> Option<(Arc<dyn Transport>, Arc<dyn OwnProcess>)>;
}
