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

/// A call that was submitted: Python's `Future`.
///
/// Dropping it does not stop it: the task runs on, and no thread takes its result.
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
/// It is also a future, under any executor: `task.await` gives what `join` gives. Dropping the future lets the task run on, too.
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

    /// Waits for the task and gives its result.
    ///
    /// # Errors
    ///
    /// If the function panicked, its worker died, or it never ran: see [`TaskError`].
    #[doc(alias("result", "get"))]
    pub fn join(self) -> Result<R, TaskError> {
        self.wait(None).unwrap_or(Err(TaskError::Cancelled))
    }

    /// Waits for the task, but no longer than `limit`; `None` if it has not ended by then. The result is given once: after
    /// that, `join` and `join_timeout` give [`TaskError::ResultTaken`].
    pub fn join_timeout(&mut self, limit: Duration) -> Option<Result<R, TaskError>> {
        self.wait(Instant::now().checked_add(limit))
    }

    fn wait(&self, deadline: Option<Instant>) -> Option<Result<R, TaskError>> {
        let result = self.handle.wait(deadline)?;
        // SAFETY: the value is an `R`, by the promise of the code that made this.
        Some(result.map(|value| unsafe { value.into() }))
    }

    /// Whether it has ended, well or not.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Whether a worker is running it now.
    pub fn is_running(&self) -> bool {
        self.handle.is_running()
    }

    /// Keeps it from running, if it has not started. True if it will never run; its result is then
    /// [`TaskError::Cancelled`]. True again for one that was cancelled before.
    pub fn cancel(&self) -> bool {
        self.handle.cancel()
    }

    /// Ends it, whether it has started or not: if it runs in a worker process, that process is ended, and replaced. Its result is
    /// then [`TaskError::Cancelled`], unless it completes at this very moment. False if it has ended already, or if it runs on a thread,
    /// which cannot be ended. The body of an `async fn` is dropped where it waits, and nothing else is ended, unless it keeps its worker
    /// from doing so for 100 ms.
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

    /// Calls `then` when it has ended, well or not; at once if it has ended already. It is called on a thread that is there for that, one
    /// after the other: what takes long keeps others waiting. Which of several is called first is not said. A panic in it is printed, and
    /// has no other effect.
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

    /// A number that no other task of this program has.
    pub fn id(&self) -> u64 {
        self.id
    }
}

/// Nothing of it is ever pinned.
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
