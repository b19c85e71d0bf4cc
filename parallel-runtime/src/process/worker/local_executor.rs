//! The futures of `async fn`s, of which a worker runs many at a time.
//!
//! A message whose function is an `async fn` is claimed like any other; its future is polled at once, and if it waits for something,
//! it is *deferred*, and the worker claims the next message. All are polled on the one thread of the tasks, when they have been
//! woken. While all of them wait and there is nothing to claim, the worker sleeps as it does without them: on `wake` in its
//! record. The thread that wakes a future writes its number down and then sets that word, as the program does.
//!
//! The slot of a task that was deferred stays claimed by the worker, with [`DEFERRED`](crate::ipc::board::slot::DEFERRED) in its `began`. If it has a time limit, the
//! worker drops the future when it is over; the program ends the whole worker only if that does not happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;
use std::time::Instant;

use crate::function::Delivered;
use crate::ipc::board::Record;
use crate::ipc::board::ring::entry;
use crate::sys::futex;

/// The futures that have begun and not ended.
pub(super) struct LocalExecutor {
    /// By number.
    pub(super) tasks: Vec<Option<Task>>,
    pub(super) free: Vec<usize>,
    pub(super) woken: Arc<Woken>,
    /// When which task is over its limit, the first on top; also of some that have ended.
    pub(super) limits: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    /// How many dismissals were looked at.
    pub(super) dismissals: u32,
}

pub(super) struct Task {
    pub(super) slot: u32,
    pub(super) generation: u64,
    pub(super) future: Delivered,
    pub(super) alarm: Arc<Alarm>,
}

/// The numbers of those that are to be polled.
pub(super) struct Woken {
    record: &'static Record,
    pub(super) any: AtomicBool,
    pub(super) numbers: Mutex<Vec<usize>>,
}

/// Wakes one of them.
pub(super) struct Alarm {
    number: usize,
    /// Its number is written down.
    pub(super) rings: AtomicBool,
    pub(super) woken: Arc<Woken>,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.rings.swap(true, Ordering::AcqRel) {
            return;
        }
        self.woken.numbers.lock().unwrap_or_else(PoisonError::into_inner).push(self.number);
        self.woken.any.store(true, Ordering::Release);
        // The worker sets it back before it looks at the numbers. If it is set already, the worker is awake, or about to be.
        let wake = &self.woken.record.wake;
        if wake.swap(1, Ordering::AcqRel) == 0 {
            futex::wake(wake, 1);
        }
    }
}

impl LocalExecutor {
    pub(super) fn new(record: &'static Record) -> Self {
        let woken = Arc::new(Woken { record, any: AtomicBool::new(false), numbers: Mutex::default() });
        let dismissals = record.dismissals.load(Ordering::Acquire);
        Self { tasks: Vec::new(), free: Vec::new(), woken, limits: BinaryHeap::new(), dismissals }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.len() == self.free.len()
    }

    /// Says how many there are.
    fn count(&self) {
        let count = self.tasks.len() - self.free.len();
        self.woken.record.deferred.store(count as u32, Ordering::Relaxed);
    }

    pub(super) fn add(&mut self, slot: u32, generation: u64, future: Delivered) -> usize {
        let number = self.free.pop().unwrap_or_else(|| {
            self.tasks.push(None);
            self.tasks.len() - 1
        });
        let alarm = Alarm { number, rings: AtomicBool::new(false), woken: Arc::clone(&self.woken) };
        self.tasks[number] = Some(Task { slot, generation, future, alarm: Arc::new(alarm) });
        self.count();
        number
    }

    pub(super) fn take(&mut self, number: usize) -> Option<Task> {
        let task = self.tasks.get_mut(number)?.take()?;
        self.free.push(number);
        self.count();
        Some(task)
    }

    pub(super) fn forget_old_limits(&mut self) {
        let tasks = &self.tasks;
        self.limits.retain(|Reverse((_, number, id))| {
            tasks[*number].as_ref().is_some_and(|task| entry(task.slot, task.generation) == *id)
        });
    }

    /// When the first of them is over its limit.
    pub(super) fn next_limit(&mut self) -> Option<Instant> {
        while let Some(Reverse((at, number, id))) = self.limits.peek() {
            if self.tasks[*number].as_ref().is_some_and(|task| entry(task.slot, task.generation) == *id) {
                return Some(*at);
            }
            self.limits.pop();
        }
        None
    }
}
