//! The program's private record of a submitted message: where it is, and then what came of it. That of a single task is also its handle.

use std::any::Any;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::outcome::Outcome;
pub(crate) use super::record::Phase;
use super::record::{Record, Together};
use crate::backend::Collector;
use crate::function::table::FunctionTable;
use crate::wait::notify::{Watcher, Watchers};

/// The record of one task.
pub(crate) struct TaskState {
    record: Record<Outcome>,
    /// No thread waits for it any more.
    abandoned: AtomicBool,
    /// There may be watchers.
    watched: AtomicBool,
    /// The watchers that its end wakes.
    watchers: Mutex<Watchers>,
}

/// Tasks that were submitted one after the other, of one function: one allocation, and one owner.
pub(crate) struct TaskGroup {
    pub(super) owner: Option<Owner>,
    together: Together,
    first: TaskState,
    others: Box<[TaskState]>,
}

/// A task: its record, and what it was submitted with.
#[derive(Clone)]
pub(crate) struct TaskRef {
    group: Arc<TaskGroup>,
    index: u32,
}

impl Deref for TaskRef {
    type Target = TaskState;
    #[inline(always)]
    fn deref(&self) -> &TaskState {
        self.group.state(self.index)
    }
}

impl PartialEq for TaskRef {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.group, &other.group) && self.index == other.index
    }
}

/// What can be done about a task, once it is submitted.
pub(crate) trait TaskControl: Collector {
    /// Waits for a task, at most until `deadline`, and takes its outcome.
    fn wait(&self, task: &TaskRef, deadline: Option<Instant>) -> Option<Outcome>;

    /// Tells the watcher of the end of a task. `attend`: no thread collects results otherwise.
    ///
    /// # Errors
    ///
    /// The watcher, if the task has ended.
    fn watch(&self, task: &TaskRef, watcher: Watcher, attend: bool) -> Result<(), Watcher>;

    /// Whether the result of a task that has ended can be taken without waiting. If not, `waker` is woken when it can.
    fn is_here(&self, _task: &TaskRef, _waker: &Waker) -> bool {
        true
    }

    /// Whether the results of a task that has ended are here.
    fn has_results_here(&self) -> bool {
        true
    }

    /// Keeps a task from running, if it has not started. True if it will never run.
    fn cancel(&self, task: &TaskRef) -> bool;

    /// Ends a task, whether it has started or not.
    fn kill_task(&self, task: &TaskRef) -> bool;

    /// Whether a worker is running it now.
    fn is_running(&self, task: &TaskRef) -> bool;

    /// No thread waits for a task any more.
    fn abandon(&self, _task: &TaskRef) {}
}

/// What a task's handle needs: who runs it, and whose results it has.
pub(crate) struct Owner {
    pub(crate) engine: Arc<dyn TaskControl>,
    pub(crate) function: &'static FunctionTable,
}

impl TaskGroup {
    /// So many tasks, one at least.
    pub(crate) fn new(owner: Option<Owner>, count: u32) -> Arc<Self> {
        let others = (1..count).map(|_| TaskState::new()).collect();
        Arc::new(Self { owner, together: Together::new(), first: TaskState::new(), others })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> u32 {
        1 + self.others.len() as u32
    }

    #[inline(always)]
    pub(super) fn state(&self, index: u32) -> &TaskState {
        match index {
            0 => &self.first,
            _ => &self.others[index as usize - 1],
        }
    }

    pub(crate) fn task(self: &Arc<Self>, index: u32) -> TaskRef {
        TaskRef { group: Arc::clone(self), index }
    }

    /// Those that are together are in a slot now. Called under the engine's lock.
    pub(crate) fn board(&self, slot: u32, generation: u64) {
        self.together.board(slot, generation, self.records());
    }

    fn records(&self) -> impl Iterator<Item = &Record<Outcome>> {
        std::iter::once(&self.first).chain(&self.others).map(|state| &state.record)
    }

    /// Those that are together wait for a slot once more. Called under the engine's lock.
    pub(crate) fn requeue(&self) {
        self.together.requeue(self.records());
    }
}

impl TaskRef {
    /// A task of its own.
    pub(crate) fn new(owner: Option<Owner>) -> Self {
        Self { group: TaskGroup::new(owner, 1), index: 0 }
    }

    /// Whether it is this one of a group.
    pub(crate) fn is(&self, group: &Arc<TaskGroup>, index: u32) -> bool {
        self.index == index && Arc::ptr_eq(&self.group, group)
    }

    /// The tasks that it was submitted with, and which of them it is.
    pub(super) fn into_group(self) -> (Arc<TaskGroup>, u32) {
        (self.group, self.index)
    }

    pub(crate) fn phase(&self) -> Phase {
        self.record.phase(&self.group.together)
    }

    /// It is in a slot of its own now. Called under the engine's lock.
    pub(crate) fn board(&self, slot: u32, generation: u64) {
        self.record.board(&self.group.together, slot, generation);
    }

    /// It waits for a slot of its own. Called under the engine's lock.
    pub(crate) fn requeue(&self) {
        self.record.requeue(&self.group.together);
    }

    /// It has ended. Called under the engine's lock. Gives the watchers to wake, without the lock. If it had ended before, nothing happens.
    #[must_use]
    #[inline]
    pub(crate) fn finish(&self, outcome: Outcome) -> Watchers {
        let failed = outcome.failed || outcome.has_failure();
        let mut watchers = Watchers::default();
        let take_watchers = || {
            if self.watched.load(Ordering::Relaxed) {
                watchers = std::mem::take(&mut *self.watchers.lock().unwrap_or_else(PoisonError::into_inner));
            }
        };
        self.record.finish(&self.group.together, outcome, failed, take_watchers);
        watchers
    }

    /// Sleeps while it waits for a slot.
    pub(crate) fn sleep_while_queued(&self, deadline: Option<Instant>) {
        self.record.sleep_while_queued(&self.group.together, deadline);
    }
}

impl TaskState {
    fn new() -> Self {
        Self {
            record: Record::new(),
            abandoned: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            watchers: Mutex::default(),
        }
    }

    #[inline(always)]
    pub(crate) fn is_finished(&self) -> bool {
        self.record.is_finished()
    }

    /// It is in a queue, under this number. Called under the engine's lock.
    pub(crate) fn queue(&self, number: u64) {
        self.record.set_number(number);
    }

    /// The number under which it was put into a queue last, if it is in one. Called under the engine's lock.
    pub(crate) fn queued_at(&self) -> u64 {
        self.record.number()
    }

    /// Adds a watcher that its end wakes. Called under the engine's lock, before its end. Whether it is the first, and those
    /// that are not wanted any more, to be dropped without the lock.
    pub(crate) fn add_watcher(&self, watcher: Watcher) -> (bool, Vec<Watcher>) {
        self.watched.store(true, Ordering::Relaxed);
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        let first = watchers.is_empty();
        (first, watchers.add(watcher))
    }

    pub(crate) fn set_abandoned(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// The number of the request that it is for, at an engine of other machines.
    pub(crate) fn set_request(&self, id: u64) {
        self.record.set_name(id);
    }

    pub(crate) fn request(&self) -> u64 {
        self.record.name()
    }

    /// Results that are still on another machine, if it has ended and they were not taken.
    pub(crate) fn away(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.record.look(|outcome| outcome.rare.as_ref()?.away.clone()).flatten()
    }

    /// Whether it has ended, and its outcome, which was not taken, says that something failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.record.has_failed()
    }

    /// The outcome, once.
    #[inline]
    pub(crate) fn take_outcome(&self) -> Option<Outcome> {
        let outcome = self.record.take();
        if let Some(events) = outcome.as_ref().and_then(|outcome| outcome.rare.as_ref()?.events.as_ref()) {
            events.pass_on_now();
        }
        outcome
    }
}
