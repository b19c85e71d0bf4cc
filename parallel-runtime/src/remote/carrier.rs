//! Which engine carries messages to other processes: that of this machine, or that of a cluster.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::sizes::Grain;
use super::ticket::{Outcome, Ticket};
#[cfg(feature = "dask")]
use crate::dask;
use crate::error::{PoolError, TaskError};
use crate::options::{CallOptions, WorkerOptions};
use crate::process;
use crate::process::admission::{Admission, Inside};
use crate::wait::notify::Watcher;

/// An engine whose tasks run in other processes.
#[derive(Debug, Clone)]
pub(crate) enum Carrier {
    Process(Arc<process::Engine>),
    #[cfg(feature = "dask")]
    Cluster(Arc<dask::Engine>),
}

/// Something of several messages that an engine has accepted: it is not shut down before this has ended.
pub(crate) enum Admitted {
    Process(Admission),
    #[cfg(feature = "dask")]
    #[expect(dead_code, reason = "it counts as long as it is there")]
    Cluster(dask::Admission),
}

impl Admitted {
    /// That of the engine of this machine.
    pub(crate) fn process(&self) -> Option<&Admission> {
        match self {
            Self::Process(admission) => Some(admission),
            #[cfg(feature = "dask")]
            Self::Cluster(_) => None,
        }
    }
}

/// Calls the method of the same name of whichever engine it is.
macro_rules! forward {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self {
            Self::Process(engine) => engine.$method($($argument),*),
            #[cfg(feature = "dask")]
            Self::Cluster(engine) => engine.$method($($argument),*),
        }
    };
}

impl Carrier {
    /// Options of calls that say nothing else.
    pub(crate) fn defaults(&self) -> CallOptions {
        match self {
            Self::Process(engine) => engine.defaults,
            #[cfg(feature = "dask")]
            Self::Cluster(engine) => engine.defaults(),
        }
    }

    pub(crate) fn worker_options(&self) -> WorkerOptions {
        forward!(self.worker_options())
    }

    pub(crate) fn has_sandbox(&self) -> bool {
        self.worker_options().sandbox.is_some()
    }

    /// How many tasks can run at a time.
    pub(crate) fn workers(&self) -> usize {
        forward!(self.workers())
    }

    /// How large messages should be.
    pub(crate) fn grain(&self) -> &'static Grain {
        match self {
            Self::Process(_) => &Grain::BOARD,
            #[cfg(feature = "dask")]
            Self::Cluster(_) => &Grain::CLUSTER,
        }
    }

    /// Makes sure that there is what messages need.
    pub(crate) fn prepare(&self) -> Result<(), TaskError> {
        match self {
            Self::Process(engine) => engine.arena().map(drop).map_err(PoolError::into_task_error),
            #[cfg(feature = "dask")]
            Self::Cluster(engine) => engine.prepare(),
        }
    }

    /// Accepts something of several messages. `again`: it is part of something that was accepted before.
    pub(crate) fn admit(&self, again: bool) -> Result<Admitted, TaskError> {
        match self {
            Self::Process(engine) => engine.admit(again).map(Admitted::Process),
            #[cfg(feature = "dask")]
            Self::Cluster(engine) => engine.admit(again).map(Admitted::Cluster),
        }
    }

    /// This thread is in a map.
    pub(crate) fn inside(&self) -> Option<Inside> {
        match self {
            Self::Process(engine) => Some(Inside::new(engine)),
            #[cfg(feature = "dask")]
            Self::Cluster(_) => None,
        }
    }

    /// Waits for a task, at most until `deadline`, and takes its outcome.
    pub(crate) fn wait(&self, ticket: &Ticket, deadline: Option<Instant>) -> Option<Outcome> {
        forward!(self.wait(ticket, deadline))
    }

    /// Waits until `done`, which collects results and looks, is true.
    pub(crate) fn wait_until(&self, mut done: impl FnMut() -> bool) {
        self.wait_until_deadline(None, &mut done);
    }

    pub(crate) fn wait_until_deadline(&self, deadline: Option<Instant>, done: &mut dyn FnMut() -> bool) -> bool {
        forward!(self.wait_until_deadline(deadline, done))
    }

    /// Collects what is done, for a thread that waits for several tasks.
    pub(crate) fn collect_done(&self) {
        match self {
            Self::Process(engine) => engine.collect_done(),
            // A thread of its own does.
            #[cfg(feature = "dask")]
            Self::Cluster(_) => {}
        }
    }

    /// Has threads that wait look again: something else has changed.
    pub(crate) fn wake_waiters(&self) {
        forward!(self.wake_waiters());
    }

    /// Has somebody told of the end of a task. `attend`: nobody collects results otherwise.
    ///
    /// # Errors
    ///
    /// The watcher, if the task has ended.
    pub(crate) fn watch(&self, ticket: &Ticket, watcher: Watcher, attend: bool) -> Result<(), Watcher> {
        match self {
            Self::Process(engine) => engine.watch(ticket, watcher, attend),
            #[cfg(feature = "dask")]
            Self::Cluster(engine) => engine.watch(ticket, watcher),
        }
    }

    /// Whether the result of a task that has ended can be taken without waiting. If not, `waker` is woken when it can.
    pub(crate) fn is_here(&self, ticket: &Ticket, waker: &Waker) -> bool {
        match self {
            Self::Process(_) => {
                let _ = (ticket, waker);
                true
            }
            #[cfg(feature = "dask")]
            Self::Cluster(engine) => engine.is_here(ticket, waker),
        }
    }

    /// Keeps a task from running, if it has not started. True if it will never run.
    pub(crate) fn cancel(&self, ticket: &Ticket) -> bool {
        forward!(self.cancel(ticket))
    }

    /// The same for a message of a map, where nobody asks whether it came in time.
    pub(crate) fn cancel_some<'t>(&self, tickets: impl Iterator<Item = &'t Arc<Ticket>>) {
        match self {
            Self::Process(engine) => tickets.for_each(|ticket| _ = engine.cancel(ticket)),
            #[cfg(feature = "dask")]
            Self::Cluster(engine) => engine.cancel_some(tickets),
        }
    }

    /// Ends a task, whether it has started or not.
    pub(crate) fn kill_task(&self, ticket: &Ticket) -> bool {
        forward!(self.kill_task(ticket))
    }

    /// Whether a worker is running it now.
    pub(crate) fn is_running(&self, ticket: &Ticket) -> bool {
        forward!(self.is_running(ticket))
    }

    /// Nobody waits for a task any more.
    pub(crate) fn abandon(&self, ticket: &Ticket) {
        match self {
            Self::Process(engine) => engine.abandon(ticket),
            #[cfg(feature = "dask")]
            Self::Cluster(_) => {}
        }
    }

    /// A task is tried again, after a try that failed.
    pub(crate) fn count_retry(&self) {
        forward!(self.count_retry());
    }

    /// Whether both are the same engine.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Process(one), Self::Process(other)) => Arc::ptr_eq(one, other),
            #[cfg(feature = "dask")]
            (Self::Cluster(one), Self::Cluster(other)) => Arc::ptr_eq(one, other),
            #[cfg(feature = "dask")]
            _ => false,
        }
    }
}
