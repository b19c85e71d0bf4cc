//! What the verbs ask of a cluster.

use std::any::Any;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use super::away::Away;
use super::engine::Engine;
use super::request::{Request, Terms};
use crate::backend::batch_policy::Granularity;
use crate::backend::{Collector, OwnProcess};
use crate::error::TaskError;
use crate::options::{CallOptions, WorkerOptions};
use crate::remote::message::{Refused, Snapshot};
use crate::remote::outcome::Outcome;
use crate::remote::task_state::{Owner, TaskControl, TaskRef};
use crate::remote::transport::{Batch, NotSubmitted, Retries, Submitted, Transport};
use crate::wait::notify::Watcher;

/// A scheduler spends about a millisecond on each task, and a round trip takes about ten.
const GRANULARITY: Granularity = Granularity {
    target: Duration::from_millis(200),
    arguments: 1 << 20,
    results: 4 << 20,
    growth: 4096,
    last: 4,
    many: 256,
    short: Duration::from_millis(20),
    each: 4,
};

impl Collector for Arc<Engine> {
    /// A thread of the engine's own does.
    fn collect_done(&self) {}

    fn wait_until(&self, deadline: Option<Instant>, done: &mut dyn FnMut() -> bool) -> bool {
        self.wait_until_deadline(deadline, done)
    }
}

impl TaskControl for Arc<Engine> {
    fn wait(&self, task: &TaskRef, deadline: Option<Instant>) -> Option<Outcome> {
        Engine::wait(self, task, deadline)
    }

    fn watch(&self, task: &TaskRef, watcher: Watcher, _attend: bool) -> Result<(), Watcher> {
        Engine::watch(self, task, watcher)
    }

    fn is_here(&self, task: &TaskRef, waker: &Waker) -> bool {
        Away::of(task).is_none_or(|away| away.is_here(waker))
    }

    fn has_results_here(&self) -> bool {
        false
    }

    fn cancel(&self, task: &TaskRef) -> bool {
        Engine::cancel(self, task)
    }

    fn kill_task(&self, task: &TaskRef) -> bool {
        Engine::kill_task(self, task)
    }

    fn is_running(&self, task: &TaskRef) -> bool {
        Engine::is_running(self, task)
    }
}

impl Transport for Arc<Engine> {
    fn defaults(&self) -> CallOptions {
        Engine::defaults(self)
    }

    fn worker_options(&self) -> WorkerOptions {
        Engine::worker_options(self)
    }

    fn workers(&self) -> usize {
        Engine::workers(self)
    }

    fn granularity(&self) -> &'static Granularity {
        &GRANULARITY
    }

    fn prepare(&self) -> Result<(), TaskError> {
        Engine::prepare(self)
    }

    fn accept(&self, again: bool) -> Result<Box<dyn Any + Send>, TaskError> {
        Ok(Box::new(self.admit(again)?))
    }

    fn submit(&self, batch: Batch<'_>) -> Result<Submitted, NotSubmitted> {
        let Batch { function, items, options, retries, guess, eager, stops, accepted, owner, .. } = batch;
        self.state_to_send().map_err(NotSubmitted::Engine)?;
        let request = Request::encode(self.id, function, items.places(), guess)
            .map_err(|error| NotSubmitted::Items(Refused::from(error).into_task_error(function.name)))?;
        let bytes = request.len();
        // Who waits for a single call tries it again himself.
        let by_caller = retries == Retries::Caller && !eager;
        let options = if by_caller { CallOptions { retries: None, ..options } } else { options };
        let owner = owner.map(|transport| Owner { engine: Arc::clone(transport) as _, function });
        let task = Engine::submit(self, Terms { options, eager, stops }, request, accepted, owner);
        // The arguments are sent as they are for each try.
        Ok(Submitted { task: task.map_err(NotSubmitted::Engine)?, before: Some(Snapshot::default()), bytes })
    }

    fn wake_waiters(&self) {
        Engine::wake_waiters(self);
    }

    fn cancel_some(&self, tasks: &mut dyn Iterator<Item = &TaskRef>) {
        Engine::cancel_some(self, tasks);
    }

    fn count_retry(&self) {
        Engine::count_retry(self);
    }

    fn own_process(&self) -> Option<(Arc<dyn Transport>, Arc<dyn OwnProcess>)> {
        None
    }
}
