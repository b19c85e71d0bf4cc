//! The record of a task as its handle.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::result_reader;
use super::task_state::{Outcome, Owner, TaskState};
use crate::backend::{Collector, TaskHandle};
use crate::error::TaskError;
use crate::function::erased::ErasedValue;
use crate::wait::notify::Watcher;

impl TaskState {
    fn owner(&self) -> &Owner {
        self.owner.as_ref().expect("a task with a handle has an owner")
    }

    fn read(&self, outcome: Outcome) -> Result<ErasedValue<'static>, TaskError> {
        result_reader::output(self.owner().function, outcome)
    }
}

impl TaskHandle for TaskState {
    fn wait(self: Arc<Self>, deadline: Option<Instant>) -> Option<Result<ErasedValue<'static>, TaskError>> {
        // `None` for a finished task: its result was taken before.
        match self.owner().engine.wait(&self, deadline) {
            Some(outcome) => Some(self.read(outcome)),
            None if TaskState::is_finished(&self) => {
                Some(self.take_outcome().map_or(Err(TaskError::Cancelled), |outcome| self.read(outcome)))
            }
            None => None,
        }
    }

    fn is_finished(&self) -> bool {
        TaskState::is_finished(self) || {
            self.owner().engine.collect_done();
            TaskState::is_finished(self)
        }
    }

    fn is_running(&self) -> bool {
        self.owner().engine.is_running(self)
    }

    fn cancel(&self) -> bool {
        self.owner().engine.cancel(self)
    }

    fn kill(&self) -> bool {
        self.owner().engine.kill_task(self)
    }

    fn watch(self: Arc<Self>, watcher: Watcher, attend: bool) -> Result<(), Watcher> {
        self.owner().engine.watch(&self, watcher, attend)
    }

    fn is_here(&self, waker: &Waker) -> bool {
        self.owner().engine.is_here(self, waker)
    }

    fn has_failed(&self) -> bool {
        TaskState::has_failed(self)
    }

    fn abandon(&self) {
        self.owner().engine.abandon(self);
    }

    fn collector(&self) -> Option<Arc<dyn Collector>> {
        Some(Arc::clone(&self.owner().engine) as _)
    }
}
