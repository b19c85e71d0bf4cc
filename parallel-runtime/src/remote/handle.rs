//! The record of a task as its handle.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::outcome::Outcome;
use super::result_reader;
use super::task_state::{Owner, TaskGroup, TaskRef};
use crate::backend::{Collector, TaskHandle, TaskHandles};
use crate::error::TaskError;
use crate::function::erased::ErasedValue;
use crate::wait::notify::Watcher;

impl TaskGroup {
    pub(super) fn owner(&self) -> &Owner {
        self.owner.as_ref().expect("tasks with handles have an owner")
    }

    fn read(&self, outcome: Outcome) -> Result<ErasedValue<'static>, TaskError> {
        result_reader::output(self.owner().function, outcome)
    }
}

impl TaskRef {
    pub(super) fn into_handle(self) -> TaskHandle {
        let (group, index) = self.into_group();
        TaskHandle::new(group, index)
    }
}

impl TaskHandles for TaskGroup {
    fn take(&self, index: u32) -> Option<Result<ErasedValue<'static>, TaskError>> {
        if !self.owner().engine.has_results_here() {
            return None;
        }
        self.state(index).take_outcome().map(|outcome| self.read(outcome))
    }

    fn wait(self: Arc<Self>, index: u32, deadline: Option<Instant>) -> Option<Result<ErasedValue<'static>, TaskError>> {
        let task = self.task(index);
        // `None` for a finished task: its result was taken before.
        match self.owner().engine.wait(&task, deadline) {
            Some(outcome) => Some(self.read(outcome)),
            None if task.is_finished() => {
                Some(task.take_outcome().map_or(Err(TaskError::Cancelled), |outcome| self.read(outcome)))
            }
            None => None,
        }
    }

    fn is_finished(&self, index: u32) -> bool {
        self.state(index).is_finished() || {
            self.owner().engine.collect_done();
            self.state(index).is_finished()
        }
    }

    fn is_running(self: Arc<Self>, index: u32) -> bool {
        self.owner().engine.is_running(&self.task(index))
    }

    fn cancel(self: Arc<Self>, index: u32) -> bool {
        self.owner().engine.cancel(&self.task(index))
    }

    fn kill(self: Arc<Self>, index: u32) -> bool {
        self.owner().engine.kill_task(&self.task(index))
    }

    fn watch(self: Arc<Self>, index: u32, watcher: Watcher, attend: bool) -> Result<(), Watcher> {
        self.owner().engine.watch(&self.task(index), watcher, attend)
    }

    fn is_here(self: Arc<Self>, index: u32, waker: &Waker) -> bool {
        self.owner().engine.is_here(&self.task(index), waker)
    }

    fn has_failed(&self, index: u32) -> bool {
        self.state(index).has_failed()
    }

    fn may_be_abandoned(&self, index: u32) -> bool {
        !self.state(index).is_finished()
    }

    fn abandon(self: Arc<Self>, index: u32) {
        self.owner().engine.abandon(&self.task(index));
    }

    fn collector(&self) -> Option<Arc<dyn Collector>> {
        Some(Arc::clone(&self.owner().engine) as _)
    }
}
