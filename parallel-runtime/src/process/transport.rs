//! What the verbs ask of worker processes of this machine.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use super::admission::Inside;
use super::engine::Engine;
use super::state::Life;
use crate::backend::batch_policy::Granularity;
use crate::backend::{Collector, OwnProcess};
use crate::error::{PoolError, TaskError};
use crate::options::{CallOptions, WorkerOptions};
use crate::remote::message::Scratch;
use crate::remote::outcome::Outcome;
use crate::remote::recording::Recording;
use crate::remote::submit::{Encoded, encode};
use crate::remote::task_state::{TaskControl, TaskRef};
use crate::remote::transport::{Batch, NotSubmitted, Submitted, Transport};
use crate::wait::gate::Gate;
use crate::wait::notify::Watcher;

impl Collector for Arc<Engine> {
    fn collect_done(&self) {
        Engine::collect_done(self);
    }

    fn wait_until(&self, deadline: Option<Instant>, done: &mut dyn FnMut() -> bool) -> bool {
        self.wait_until_deadline(deadline, done)
    }
}

impl TaskControl for Arc<Engine> {
    fn wait(&self, task: &TaskRef, deadline: Option<Instant>) -> Option<Outcome> {
        Engine::wait(self, task, deadline)
    }

    fn watch(&self, task: &TaskRef, watcher: Watcher, attend: bool) -> Result<(), Watcher> {
        Engine::watch(self, task, watcher, attend)
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

    fn abandon(&self, task: &TaskRef) {
        Engine::abandon(self, task);
    }
}

impl Transport for Arc<Engine> {
    fn defaults(&self) -> CallOptions {
        self.defaults
    }

    fn worker_options(&self) -> WorkerOptions {
        Engine::worker_options(self)
    }

    fn gate(&self) -> Option<&Arc<Gate>> {
        self.gate.as_ref()
    }

    fn is_closed(&self) -> bool {
        self.lock().life != Life::Open
    }

    fn workers(&self) -> usize {
        Engine::workers(self)
    }

    fn granularity(&self) -> &'static Granularity {
        &Granularity::BOARD
    }

    fn prepare(&self) -> Result<(), TaskError> {
        self.arena().map(drop).map_err(PoolError::into_task_error)
    }

    fn accept(&self, again: bool) -> Result<Box<dyn Any + Send>, TaskError> {
        Ok(Box::new(self.admit(again)?))
    }

    fn enter_map(&self) -> Option<Box<dyn Any>> {
        Some(Box::new(Inside::new(self)))
    }

    fn submit(&self, mut batch: Batch<'_>) -> Result<Submitted, NotSubmitted> {
        let arena = self.arena().map_err(|error| NotSubmitted::Items(error.into_task_error()))?;
        let accepted = batch.accepted;
        let mut scratch = Scratch::new();
        let recording = self.recorder.as_ref().map(|recorder| {
            // The recording is of one message.
            batch.packable = false;
            // SAFETY: they are items of this function, which their submitter keeps meanwhile.
            unsafe { Recording::new(recorder, batch.function, batch.items.places()) }
        });
        let Encoded { mut message, about, owner, before, bytes } = encode(arena, batch, &mut scratch)?;
        message.recording = recording;
        let task = Engine::submit(self, message, about, accepted, owner).map_err(NotSubmitted::Engine)?;
        Ok(Submitted { task, before, bytes })
    }

    fn wake_waiters(&self) {
        Engine::wake_waiters(self);
    }

    fn count_retry(&self) {
        Engine::count_retry(self);
    }

    fn own_process(&self) -> Option<(Arc<dyn Transport>, Arc<dyn OwnProcess>)> {
        let engine = Engine::one_shot(Engine::worker_options(self), self.kept.clone());
        Some((Arc::new(Arc::clone(&engine)), engine))
    }
}

impl OwnProcess for Engine {
    fn pid(&self) -> Option<u32> {
        self.last_pid()
    }

    fn kill(&self) {
        Engine::kill(self);
    }

    fn wait_for_start(&self) {
        Engine::wait_for_start(self);
    }
}
