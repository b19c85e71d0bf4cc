//! A map in the background.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::TaskError;
use crate::panics;
use crate::pool::Target;
use crate::remote::carrier::Carrier;
use crate::wait::blocking::wait_while;

/// A map that goes on in the background: Python's `AsyncResult`.
///
/// Dropping it does not stop it. It is also a future: `.await` gives what `join` gives.
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
pub struct MapTask<R> {
    shared: Arc<Shared<R>>,
    /// Whose workers run it.
    carrier: Option<Carrier>,
}

/// What the map's own thread and the handle share.
pub(crate) struct Shared<R> {
    pub(crate) stop: AtomicBool,
    pub(crate) done: AtomicUsize,
    total: usize,
    result: Mutex<Progress<R>>,
    ended: Condvar,
}

enum Progress<R> {
    /// With a future that waits.
    Running(Option<Waker>),
    Ended(Result<Vec<R>, TaskError>),
    /// Its results were taken.
    Taken,
}

impl<R> Progress<R> {
    fn take(&mut self) -> Result<Vec<R>, TaskError> {
        match std::mem::replace(self, Self::Taken) {
            Self::Ended(result) => result,
            Self::Running(_) | Self::Taken => Err(TaskError::Cancelled),
        }
    }
}

impl<R: Send + 'static> MapTask<R> {
    /// Runs `map` on a thread of its own.
    pub(crate) fn start(
        function: &'static str,
        total: usize,
        target: &Target,
        map: impl FnOnce(&Arc<Shared<R>>) -> Result<Vec<R>, TaskError> + Send + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            done: AtomicUsize::new(0),
            total,
            result: Mutex::new(Progress::Running(None)),
            ended: Condvar::new(),
        });
        let theirs = Arc::clone(&shared);
        let here = matches!(target, Target::Here);
        let run = move || {
            // Not only items can panic: so can what encodes them.
            let result = panics::catch(|| map(&theirs));
            theirs.end(result.unwrap_or_else(|caught| Err(caught.into_error(function))));
        };
        if here {
            run();
        } else if let Err(error) = std::thread::Builder::new().name("parallel-map".to_owned()).spawn(run) {
            shared.end(Err(TaskError::Spawn(error)));
        }
        let carrier = if let Target::Remote(carrier) = target { Some(carrier.clone()) } else { None };
        Self { shared, carrier }
    }

    /// Waits for all items and gives their results, in order.
    ///
    /// # Errors
    ///
    /// The first failure, in the order of the items; [`TaskError::Cancelled`] after [`cancel`](MapTask::cancel).
    pub fn join(self) -> Result<Vec<R>, TaskError> {
        let running = |progress: &Progress<R>| matches!(progress, Progress::Running(_));
        wait_while(&self.shared.result, &self.shared.ended, None, running).take()
    }

    /// Whether all items have ended.
    pub fn is_finished(&self) -> bool {
        !matches!(*self.shared.result(), Progress::Running(_))
    }

    /// How many items have ended, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.shared.done.load(Ordering::Relaxed).min(self.shared.total), self.shared.total)
    }

    /// Starts no more items. What runs, runs to its end; `join` then gives [`TaskError::Cancelled`], unless all items were done.
    pub fn cancel(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(carrier) = &self.carrier {
            // The thread of the map takes back what no worker has begun.
            carrier.wake_waiters();
        }
    }
}

impl<R> Shared<R> {
    fn result(&self) -> MutexGuard<'_, Progress<R>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, result: Result<Vec<R>, TaskError>) {
        let before = std::mem::replace(&mut *self.result(), Progress::Ended(result));
        self.ended.notify_all();
        if let Progress::Running(Some(waker)) = before {
            panics::discard(|| waker.wake());
        }
    }
}

/// Nothing of it is ever pinned.
impl<R> Unpin for MapTask<R> {}

impl<R: Send + 'static> Future for MapTask<R> {
    type Output = Result<Vec<R>, TaskError>;

    /// Gives the results once.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let next = context.waker().clone();
        let mut result = self.shared.result();
        if let Progress::Running(waker) = &mut *result {
            let before = waker.replace(next);
            drop(result);
            drop(before);
            return Poll::Pending;
        }
        Poll::Ready(result.take())
    }
}

impl<R> fmt::Debug for MapTask<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.shared.done.load(Ordering::Relaxed);
        f.debug_struct("MapTask").field("done", &done).field("total", &self.shared.total).finish_non_exhaustive()
    }
}
