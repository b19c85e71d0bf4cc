//! A call that was submitted.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::backend::TaskHandle;
use crate::error::TaskError;
use crate::wait::notify::Watcher;

/// A submitted call: Python's `Future`. Dropping it does not stop it.
///
/// ```
/// use parallel_runtime::parallel;
///
/// #[parallel]
/// fn area(width: u64, height: u64) -> u64 {
///     width * height
/// }
///
/// let task = area::submit(3, 4);
/// assert_eq!(task.join().unwrap(), 12);
/// ```
///
/// It is also a future, under any executor: `task.await` returns what `join` returns. Dropping the future does not stop the task, either.
///
/// ```
/// # use parallel_runtime::{TaskError, parallel};
/// # #[parallel]
/// # fn area(width: u64, height: u64) -> u64 {
/// #     width * height
/// # }
/// async fn both() -> Result<u64, TaskError> {
///     let (one, other) = (area::submit(3, 4), area::submit(5, 6));
///     Ok(one.await? + other.await?)
/// }
/// # use std::task::{Context, Poll, Waker};
/// # let mut future = std::pin::pin!(both());
/// # let sum = loop {
/// #     if let Poll::Ready(sum) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
/// #         break sum;
/// #     }
/// # };
/// # assert_eq!(sum.unwrap(), 42);
/// ```
#[must_use = "a task runs on when it is dropped, but its result and its errors are lost; call `join()`"]
#[doc(alias("Future", "AsyncResult", "apply_async"))]
pub struct Task<R> {
    id: u64,
    pub(super) handle: TaskHandle,
    /// It moves between threads, and is shared between them, as its result.
    _result: PhantomData<R>,
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl<R: Send + 'static> Task<R> {
    /// # Safety
    ///
    /// The value of the task is an `R`.
    pub(crate) unsafe fn new(handle: TaskHandle) -> Self {
        Self { id: next_id(), handle, _result: PhantomData }
    }

    /// Waits for the task and returns its result.
    ///
    /// # Errors
    ///
    /// If the function panicked, its worker died, or it never ran: see [`TaskError`].
    #[doc(alias("result", "get"))]
    pub fn join(self) -> Result<R, TaskError> {
        self.wait(None).unwrap_or(Err(TaskError::Cancelled))
    }

    /// Waits for the task, at most for `limit`; `None` if it has not ended by then. The result is returned once: after that, `join` and `join_timeout`
    /// return [`TaskError::ResultTaken`].
    pub fn join_timeout(&mut self, limit: Duration) -> Option<Result<R, TaskError>> {
        self.wait(Instant::now().checked_add(limit))
    }

    fn wait(&self, deadline: Option<Instant>) -> Option<Result<R, TaskError>> {
        let result = self.handle.wait(deadline)?;
        // SAFETY: the value is an `R`, by the promise of the code that made this.
        Some(result.map(|value| unsafe { value.into() }))
    }

    /// Returns whether the task has ended, with a result or an error.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Returns whether a worker is running the task.
    pub fn is_running(&self) -> bool {
        self.handle.is_running()
    }

    /// Cancels the task if it has not started. True if it will never run, also if it was cancelled before; its result is then [`TaskError::Cancelled`].
    pub fn cancel(&self) -> bool {
        self.handle.cancel()
    }

    /// Ends the task, also if it runs: its worker process is ended and replaced. Its result is then [`TaskError::Cancelled`], unless it completes at this
    /// moment. False if it has ended, or if it runs on a thread, which cannot be ended.
    ///
    /// The body of an `async fn` is dropped at its next wait; only if it blocks its worker for 100 ms more is the process ended.
    ///
    /// ```
    /// use parallel_runtime::{TaskError, parallel};
    ///
    /// #[parallel(mode = "process")]
    /// fn forever() {
    ///     loop {}
    /// }
    ///
    /// let task = forever::submit();
    /// while !task.is_running() {
    ///     std::thread::yield_now();
    /// }
    /// assert!(task.kill());
    /// assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    /// ```
    pub fn kill(&self) -> bool {
        self.handle.kill()
    }

    /// Calls `then` when the task has ended, or at once if it has ended already. Callbacks run one after the other on a thread for them, in any order, so
    /// a slow one delays others. A panic in one is printed and has no other effect.
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use parallel_runtime::parallel;
    ///
    /// #[parallel(mode = "process")]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let (sender, receiver) = channel();
    /// let task = square::submit(12);
    /// task.on_done(move || sender.send("done").unwrap());
    /// assert_eq!(receiver.recv().unwrap(), "done");
    /// assert_eq!(task.join().unwrap(), 144);
    /// ```
    pub fn on_done(&self, then: impl FnOnce() + Send + 'static) {
        self.tell(Watcher::Call(Box::new(then)));
    }

    fn tell(&self, watcher: Watcher) {
        if let Err(watcher) = self.watch(watcher, true) {
            watcher.fire();
        }
    }

    /// See [`TaskHandles::watch`](crate::backend::TaskHandles::watch).
    fn watch(&self, watcher: Watcher, attend: bool) -> Result<(), Watcher> {
        self.handle.watch(watcher, attend)
    }

    /// Whether it has ended, and not with a value.
    pub(super) fn has_failed(&self) -> bool {
        self.handle.has_failed()
    }

    /// Returns a number that no other task of this program has.
    pub fn id(&self) -> u64 {
        self.id
    }
}

/// Nothing of it is pinned.
impl<R> Unpin for Task<R> {}

impl<R: Send + 'static> Future for Task<R> {
    type Output = Result<R, TaskError>;

    /// Gives the result once, as [`join_timeout`](Task::join_timeout) does.
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.watch(Watcher::Waker(context.waker().clone()), true) {
            Ok(()) => Poll::Pending,
            Err(_) if !self.handle.is_here(context.waker()) => Poll::Pending,
            // It has ended, so that nothing is waited for.
            Err(_) => Poll::Ready(self.wait(None).unwrap_or(Err(TaskError::Cancelled))),
        }
    }
}

impl<R> Drop for Task<R> {
    fn drop(&mut self) {
        self.handle.abandon();
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &self.id).finish_non_exhaustive()
    }
}
