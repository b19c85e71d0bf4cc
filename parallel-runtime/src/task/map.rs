//! A map in the background.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::backend::Target;
use crate::error::TaskError;
use crate::function::erased::ErasedVec;
use crate::panics;
use crate::wait::blocking::wait_while;
use crate::wait::condvar::Condvar;
use crate::wait::notify::Watcher;

/// A map in the background: Python's `AsyncResult`. Dropping it does not stop it.
///
/// It is also a future: `.await` returns what `join` returns.
///
/// ```
/// use parallel_runtime::parallel;
///
/// #[parallel]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let squares = square::map_async(0..1000);
/// let more = square::map_async(1000..2000);
/// assert_eq!(squares.join().unwrap()[999], 998_001);
/// assert_eq!(more.join().unwrap().len(), 1000);
/// ```
#[must_use = "a map runs on when it is dropped, but its results and its errors are lost; call `join()`"]
#[doc(alias("AsyncResult", "MapResult"))]
pub struct MapTask<R> {
    state: Arc<MapState>,
    _result: PhantomData<fn() -> R>,
}

/// What the map's own thread and the handle share.
pub(crate) struct MapState {
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) done: AtomicUsize,
    total: usize,
    /// Whose workers run it.
    target: Target,
    result: Mutex<Progress>,
    ended: Condvar,
}

/// What a map came to.
type MapResult = Result<ErasedVec<'static>, TaskError>;

enum Progress {
    /// With a future that waits, and those who are to be told.
    Running(Option<Waker>, Vec<Watcher>),
    Ended(MapResult),
    /// Its results were taken.
    Taken,
}

impl Progress {
    fn take(&mut self) -> MapResult {
        match std::mem::replace(self, Self::Taken) {
            Self::Ended(result) => result,
            Self::Running(..) => Err(TaskError::Cancelled),
            Self::Taken => Err(TaskError::ResultTaken),
        }
    }
}

impl MapState {
    /// Runs `map` on a thread of its own, or right here.
    pub(crate) fn start(
        function: &'static str,
        total: usize,
        target: Target,
        here: bool,
        map: impl FnOnce(&Arc<Self>) -> MapResult + Send + 'static,
    ) -> Arc<Self> {
        let state = Arc::new(Self {
            stop: Arc::default(),
            done: AtomicUsize::new(0),
            total,
            target,
            result: Mutex::new(Progress::Running(None, Vec::new())),
            ended: Condvar::new(),
        });
        let theirs = Arc::clone(&state);
        let run = move || {
            // Not only items can panic: so can what encodes them.
            let result = panics::catch(|| map(&theirs));
            theirs.end(result.unwrap_or_else(|caught| Err(caught.into_error(function))));
        };
        if here {
            run();
        } else if let Err(error) = std::thread::Builder::new().name("parallel-map".to_owned()).spawn(run) {
            state.end(Err(TaskError::Spawn(error)));
        }
        state
    }

    fn result(&self) -> MutexGuard<'_, Progress> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, result: MapResult) {
        let before = std::mem::replace(&mut *self.result(), Progress::Ended(result));
        self.ended.notify_all();
        if let Progress::Running(waker, watchers) = before {
            waker.into_iter().for_each(|waker| panics::discard(|| waker.wake()));
            watchers.into_iter().for_each(Watcher::fire);
        }
    }

    /// `None` if it has not ended by then.
    fn wait(&self, deadline: Option<Instant>) -> Option<MapResult> {
        let running = |progress: &Progress| matches!(progress, Progress::Running(..));
        let mut progress = wait_while(&self.result, &self.ended, deadline, running);
        (!running(&progress)).then(|| progress.take())
    }

    fn watch(&self, watcher: Watcher) {
        let mut result = self.result();
        if let Progress::Running(_, watchers) = &mut *result {
            watchers.push(watcher);
            return;
        }
        drop(result);
        watcher.fire();
    }

    fn poll(&self, waker: &Waker) -> Poll<MapResult> {
        let next = waker.clone();
        let mut result = self.result();
        if let Progress::Running(waker, _) = &mut *result {
            let before = waker.replace(next);
            drop(result);
            drop(before);
            return Poll::Pending;
        }
        Poll::Ready(result.take())
    }
}

impl<R: Send + 'static> MapTask<R> {
    /// # Safety
    ///
    /// The values of the map are of type `R`.
    pub(crate) unsafe fn new(state: Arc<MapState>) -> Self {
        Self { state, _result: PhantomData }
    }

    /// Waits for all items and returns their results, in order.
    ///
    /// # Errors
    ///
    /// The first failure, in the order of the items; [`TaskError::Cancelled`] after [`cancel`](MapTask::cancel).
    #[doc(alias("result", "get"))]
    pub fn join(self) -> Result<Vec<R>, TaskError> {
        // SAFETY: the values are of type `R`, by the promise of the code that made this.
        self.state.wait(None).unwrap_or(Err(TaskError::Cancelled)).map(|values| unsafe { values.into_vec() })
    }

    /// Waits for all items, at most for `limit`; `None` if they have not ended by then. The results are returned once: after that `join` and
    /// `join_timeout` return [`TaskError::ResultTaken`].
    pub fn join_timeout(&mut self, limit: Duration) -> Option<Result<Vec<R>, TaskError>> {
        let result = self.state.wait(Instant::now().checked_add(limit))?;
        // SAFETY: the values are of type `R`, by the promise of the code that made this.
        Some(result.map(|values| unsafe { values.into_vec() }))
    }

    /// Calls `then` when no item is left that will run: see [`Task::on_done`](crate::Task::on_done).
    pub fn on_done(&self, then: impl FnOnce() + Send + 'static) {
        self.state.watch(Watcher::Call(Box::new(then)));
    }

    /// Returns whether all items have ended.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.state.result(), Progress::Running(..))
    }

    /// Returns how many items have ended, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.state.done.load(Ordering::Relaxed).min(self.state.total), self.state.total)
    }

    /// Starts no more items. Running items are not stopped. `join` then returns [`TaskError::Cancelled`], unless all items were done.
    pub fn cancel(&self) {
        self.state.stop.store(true, Ordering::Relaxed);
        // The thread of the map takes back what no worker has begun.
        self.state.target.wake_waiters();
    }
}

/// Nothing of it is pinned.
impl<R> Unpin for MapTask<R> {}
/// A panic leaves no state half changed here: poisoned locks are taken over.
impl<R> UnwindSafe for MapTask<R> {}
/// A panic leaves no state half changed here: poisoned locks are taken over.
impl<R> RefUnwindSafe for MapTask<R> {}

impl<R: Send + 'static> Future for MapTask<R> {
    type Output = Result<Vec<R>, TaskError>;

    /// Gives the results once.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // SAFETY: the values are of type `R`, by the promise of the code that made this.
        self.state.poll(context.waker()).map(|result| result.map(|values| unsafe { values.into_vec() }))
    }
}

impl<R> fmt::Debug for MapTask<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.state.done.load(Ordering::Relaxed);
        f.debug_struct("MapTask").field("done", &done).field("total", &self.state.total).finish_non_exhaustive()
    }
}
