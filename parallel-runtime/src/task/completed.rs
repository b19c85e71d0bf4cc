//! Waiting for several tasks of any pools.

use std::iter::FusedIterator;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::submitted::Task;
use crate::backend::{Collector, TaskHandle};
use crate::error::TaskError;
use crate::wait::blocking::wait_while;
use crate::wait::notify::{Ready, Watcher};

/// Who waits for several tasks.
struct Waiting {
    ready: Arc<Ready>,
    /// The one pool that they all run on, if this thread is to collect its results itself.
    collector: Option<Arc<dyn Collector>>,
}

impl Waiting {
    fn new<'t>(tasks: impl Iterator<Item = &'t TaskHandle> + Clone) -> Self {
        // Tasks that have ended do not matter.
        let mut collectors = tasks.clone().filter(|task| !task.has_result()).map(|task| task.collector());
        let first = collectors.next().flatten();
        let is_same = |first: &Arc<dyn Collector>, other: Option<Arc<dyn Collector>>| {
            other.is_some_and(|other| std::ptr::addr_eq(Arc::as_ptr(first), Arc::as_ptr(&other)))
        };
        let collector = first.filter(|first| collectors.all(|other| is_same(first, other)));
        let ready = Arc::new(Ready::default());
        for (index, task) in tasks.enumerate() {
            let watcher = Watcher::Ready(Arc::clone(&ready), index);
            if let Err(watcher) = task.watch(watcher, collector.is_none()) {
                watcher.fire();
            }
        }
        Self { ready, collector }
    }

    /// The next task that has ended; `None` if none does until `deadline`.
    fn next(&self, deadline: Option<Instant>) -> Option<usize> {
        if let Some(index) = self.ready.pop() {
            return Some(index);
        }
        match &self.collector {
            Some(collector) => {
                let mut ended = || {
                    collector.collect_done();
                    !self.ready.is_empty()
                };
                collector.wait_until(deadline, &mut ended);
            }
            None => drop(wait_while(&self.ready.ended, &self.ready.more, deadline, |ended| ended.is_empty())),
        }
        self.ready.pop()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.ready.closed.store(true, Ordering::Relaxed);
    }
}

/// Returns an iterator over tasks as they end, each with its position among `tasks`: Python's `concurrent.futures.as_completed`. The tasks may be of
/// different functions with the same result type, and of different pools.
///
/// ```
/// use parallel_runtime::{as_completed, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let tasks: Vec<_> = (0..10).map(square::submit).collect();
/// let mut sum = 0;
/// for (index, result) in as_completed(tasks) {
///     let square = result.unwrap();
///     assert_eq!(square, (index * index) as u64);
///     sum += square;
/// }
/// assert_eq!(sum, 285);
/// ```
pub fn as_completed<R: Send + 'static>(tasks: impl IntoIterator<Item = Task<R>>) -> AsCompleted<R> {
    let tasks: Vec<Option<Task<R>>> = tasks.into_iter().map(Some).collect();
    let waiting = Waiting::new(tasks.iter().flatten().map(|task| &task.handle));
    AsCompleted { left: tasks.len(), tasks, waiting }
}

/// Tasks as they end: see [`as_completed`]. Tasks that are left when it is dropped run on.
#[must_use = "it does nothing but wait when it is iterated over"]
pub struct AsCompleted<R> {
    tasks: Vec<Option<Task<R>>>,
    waiting: Waiting,
    left: usize,
}

impl<R: Send + 'static> AsCompleted<R> {
    /// Returns the next task that ends within `limit`. `None` also after the last task: [`len`](ExactSizeIterator::len) tells how many are left.
    pub fn next_timeout(&mut self, limit: Duration) -> Option<(usize, Result<R, TaskError>)> {
        self.next_until(Instant::now().checked_add(limit))
    }

    fn next_until(&mut self, deadline: Option<Instant>) -> Option<(usize, Result<R, TaskError>)> {
        while self.left > 0 {
            let Some(index) = self.waiting.next(deadline) else {
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return None;
                }
                continue;
            };
            let Some(task) = self.tasks.get_mut(index).and_then(Option::take) else { continue };
            self.left -= 1;
            return Some((index, task.join()));
        }
        None
    }
}

impl<R: Send + 'static> Iterator for AsCompleted<R> {
    type Item = (usize, Result<R, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(None)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<R: Send + 'static> ExactSizeIterator for AsCompleted<R> {}
impl<R: Send + 'static> FusedIterator for AsCompleted<R> {}

impl<R> std::fmt::Debug for AsCompleted<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AsCompleted").field("left", &self.left).finish_non_exhaustive()
    }
}

/// The condition that [`wait`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Until one has ended, well or not.
    FirstCompleted,
    /// Until one has failed (with a [`TaskError`], but for [`Cancelled`](TaskError::Cancelled)), or all have ended.
    FirstError,
    /// Until all have ended.
    All,
}

/// The positions of the tasks that have ended, and of the others, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Waited {
    /// Tasks that have ended, with a result or an error.
    pub done: Vec<usize>,
    /// Tasks that have not ended.
    pub pending: Vec<usize>,
}

/// Waits for some of several tasks, at most for `limit`: Python's `concurrent.futures.wait`. It takes no results.
///
/// ```
/// use std::time::Duration;
/// use parallel_runtime::{WaitFor, parallel, wait};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn sleep(milliseconds: u64) {
///     std::thread::sleep(Duration::from_millis(milliseconds));
/// }
///
/// let tasks = [sleep::submit(60_000), sleep::submit(1)];
/// let waited = wait(&tasks, WaitFor::FirstCompleted, None);
/// assert_eq!((waited.done, waited.pending), (vec![1], vec![0]));
/// tasks[0].kill();
/// ```
#[doc(alias("FIRST_COMPLETED", "ALL_COMPLETED"))]
pub fn wait<R: Send + 'static>(tasks: &[Task<R>], until: WaitFor, limit: Option<Duration>) -> Waited {
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    let waiting = Waiting::new(tasks.iter().map(|task| &task.handle));
    let mut ended = vec![false; tasks.len()];
    let (mut count, mut failed) = (0, false);
    let mut note = |index: usize| {
        count += usize::from(!std::mem::replace(&mut ended[index], true));
        failed |= until == WaitFor::FirstError && tasks[index].has_failed();
        (count, failed)
    };
    let mut so_far = (0, false);
    loop {
        while let Some(index) = waiting.ready.pop() {
            so_far = note(index);
        }
        let (count, failed) = so_far;
        let over = match until {
            WaitFor::FirstCompleted => count > 0,
            WaitFor::FirstError => failed,
            WaitFor::All => false,
        };
        if over || count == tasks.len() {
            break;
        }
        match waiting.next(deadline) {
            Some(index) => so_far = note(index),
            None if deadline.is_some_and(|deadline| Instant::now() >= deadline) => break,
            None => {}
        }
    }
    let with = |wanted: bool| (0..tasks.len()).filter(|index| ended[*index] == wanted).collect();
    Waited { done: with(true), pending: with(false) }
}
