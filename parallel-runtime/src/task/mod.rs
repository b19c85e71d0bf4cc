//! Tasks: calls that have been submitted and are waited for later.

mod completed;
mod map;
pub(crate) mod scope;
mod spawned;
pub(crate) mod stream;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub use completed::{AsCompleted, WaitFor, Waited, as_completed, wait};
pub use map::MapTask;
pub(crate) use map::Shared;
pub use scope::{Scope, ScopedTask, scope};
pub use spawned::Spawned;
pub use stream::{Imap, ImapUnordered, TaskStream};

use crate::error::TaskError;
use crate::remote::carrier::Carrier;
use crate::remote::ticket::{Outcome, Ticket};
use crate::thread;
use crate::wait::notify::Watcher;

/// A call that was submitted: Python's `Future`.
///
/// Dropping it does not stop it: the task runs on, and nobody takes its result.
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
pub struct Task<R> {
    id: u64,
    state: State<R>,
}

enum State<R> {
    /// Its result was there at once.
    Ready(Option<Result<R, TaskError>>),
    Thread(Arc<thread::Job<R>>),
    Process(InProcess<R>),
}

/// A task that runs in a worker process.
pub(crate) struct InProcess<R> {
    pub(crate) carrier: Carrier,
    pub(crate) ticket: Arc<Ticket>,
    pub(crate) read: fn(Outcome) -> Result<R, TaskError>,
}

fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl<R: Send + 'static> Task<R> {
    fn new(state: State<R>) -> Self {
        Self { id: next_id(), state }
    }

    pub(crate) fn ready(result: Result<R, TaskError>) -> Self {
        Self::new(State::Ready(Some(result)))
    }

    pub(crate) fn on_thread(job: Arc<thread::Job<R>>) -> Self {
        Self::new(State::Thread(job))
    }

    pub(crate) fn in_process(task: InProcess<R>) -> Self {
        Self::new(State::Process(task))
    }

    /// Waits for the task and gives its result.
    ///
    /// # Errors
    ///
    /// If the function panicked, its worker died, or it never ran: see [`TaskError`].
    pub fn join(mut self) -> Result<R, TaskError> {
        self.wait(None).unwrap_or(Err(TaskError::Cancelled))
    }

    /// Waits for the task, but no longer than `limit`; `None` if it has not ended by then. The result is given once: after
    /// that, `join` and `join_timeout` give [`TaskError::Cancelled`].
    pub fn join_timeout(&mut self, limit: Duration) -> Option<Result<R, TaskError>> {
        self.wait(Instant::now().checked_add(limit))
    }

    fn wait(&mut self, deadline: Option<Instant>) -> Option<Result<R, TaskError>> {
        match &mut self.state {
            State::Ready(result) => Some(result.take().unwrap_or(Err(TaskError::Cancelled))),
            State::Thread(job) => job.wait(deadline),
            State::Process(task) => {
                // `None` from the ticket of a finished task: its result was taken before.
                match task.carrier.wait(&task.ticket, deadline) {
                    Some(outcome) => Some((task.read)(outcome)),
                    None if task.ticket.is_finished() => {
                        let outcome = task.ticket.take_outcome();
                        Some(outcome.map_or(Err(TaskError::Cancelled), task.read))
                    }
                    None => None,
                }
            }
        }
    }

    /// Whether it has ended, well or not.
    pub fn is_finished(&self) -> bool {
        match &self.state {
            State::Ready(_) => true,
            State::Thread(job) => job.is_finished(),
            State::Process(task) => {
                task.ticket.is_finished() || {
                    task.carrier.collect_done();
                    task.ticket.is_finished()
                }
            }
        }
    }

    /// Whether a worker is running it now.
    pub fn is_running(&self) -> bool {
        match &self.state {
            State::Ready(_) => false,
            State::Thread(job) => job.is_running(),
            State::Process(task) => task.carrier.is_running(&task.ticket),
        }
    }

    /// Keeps it from running, if it has not started. True if it will never run; its result is then
    /// [`TaskError::Cancelled`].
    pub fn cancel(&self) -> bool {
        match &self.state {
            State::Ready(_) => false,
            State::Thread(job) => job.cancel(),
            State::Process(task) => task.carrier.cancel(&task.ticket),
        }
    }

    /// Ends it, whether it has started or not: if it runs in a worker process, that process is ended, and replaced. Its result is
    /// then [`TaskError::Cancelled`], unless it completes at this very moment. False if it has ended already, or if it runs on a thread,
    /// which nobody can end. The body of an `async fn` is dropped where it waits, and nothing else is ended, unless it keeps its worker
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
        match &self.state {
            State::Ready(_) => false,
            State::Thread(job) => job.kill(),
            State::Process(task) => task.carrier.kill_task(&task.ticket),
        }
    }

    /// Ends it, if it runs on another machine.
    pub(crate) fn kill_far(&self) -> bool {
        match &self.state {
            #[cfg(feature = "dask")]
            State::Process(InProcess { carrier: Carrier::Cluster(_), .. }) => self.kill(),
            _ => false,
        }
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
        if let Err(watcher) = self.watch(Watcher::Call(Box::new(then)), true) {
            watcher.fire();
        }
    }

    /// Has somebody told of its end. `attend`: nobody collects results otherwise.
    ///
    /// # Errors
    ///
    /// The watcher, if it has ended.
    fn watch(&self, watcher: Watcher, attend: bool) -> Result<(), Watcher> {
        match &self.state {
            State::Ready(_) => Err(watcher),
            State::Thread(job) => job.watch(watcher),
            State::Process(task) => task.carrier.watch(&task.ticket, watcher, attend),
        }
    }

    /// Whether the result of a task that has ended can be taken without waiting. If not, `waker` is woken when it can.
    fn is_here(&self, waker: &Waker) -> bool {
        match &self.state {
            State::Ready(_) | State::Thread(_) => true,
            State::Process(task) => task.carrier.is_here(&task.ticket, waker),
        }
    }

    /// Whether it has ended, and not with a value.
    fn has_failed(&self) -> bool {
        match &self.state {
            State::Ready(result) => matches!(result, Some(Err(_))),
            State::Thread(job) => job.has_failed(),
            State::Process(task) => task.ticket.has_failed(),
        }
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
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.watch(Watcher::Waker(context.waker().clone()), true) {
            Ok(()) => Poll::Pending,
            Err(_) if !self.is_here(context.waker()) => Poll::Pending,
            // It has ended, so that nothing is waited for.
            Err(_) => Poll::Ready(self.wait(None).unwrap_or(Err(TaskError::Cancelled))),
        }
    }
}

impl<R> Drop for InProcess<R> {
    fn drop(&mut self) {
        self.carrier.abandon(&self.ticket);
    }
}

impl<R> fmt::Debug for Task<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("id", &self.id).finish_non_exhaustive()
    }
}
