//! A call with a thread or a process of its own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::submitted::Task;
use crate::backend::{OwnProcess, OwnTask};
use crate::error::TaskError;

/// A call that runs on a thread or in a process of its own, outside all pools: Python's `Thread` and `Process`. Dropping it does not stop it.
///
/// A task may spawn a process, too. That ends with the worker of the task, has a memory limit of its own, and shares no objects with the program: slices,
/// a [`SharedSlice`](crate::SharedSlice) and a [`SharedVec`](crate::SharedVec) are copied, and handles of other shared objects are refused. A task in a
/// sandbox gets [`TaskError::Spawn`].
///
/// ```
/// use parallel_runtime::parallel;
///
/// #[parallel(mode = "process")]
/// fn pid() -> u32 {
///     std::process::id()
/// }
///
/// let process = pid::spawn();
/// let its_pid = process.pid().unwrap();
/// assert_eq!(process.join().unwrap(), its_pid);
/// ```
#[must_use = "a spawned call runs on when it is dropped, but its result and its errors are lost; call `join()`"]
#[doc(alias("Process", "Thread"))]
pub struct Spawned<R> {
    task: Task<R>,
    process: Option<Arc<dyn OwnProcess>>,
    /// Whether ending the task ends what it runs in.
    can_be_killed: bool,
}

impl<R: Send + 'static> Spawned<R> {
    /// # Safety
    ///
    /// The value of the task is an `R`.
    pub(crate) unsafe fn new(spawned: OwnTask) -> Self {
        let OwnTask { handle, process, can_be_killed } = spawned;
        // SAFETY: as the caller promises.
        Self { task: unsafe { Task::new(handle) }, process, can_be_killed }
    }

    /// Waits for the call and returns its result.
    ///
    /// # Errors
    ///
    /// As [`Task::join`].
    #[doc(alias("result", "get"))]
    pub fn join(self) -> Result<R, TaskError> {
        self.task.join()
    }

    /// Waits for the call, at most for `limit`: see [`Task::join_timeout`].
    pub fn join_timeout(&mut self, limit: Duration) -> Option<Result<R, TaskError>> {
        self.task.join_timeout(limit)
    }

    /// Calls `then` when it has ended: see [`Task::on_done`].
    pub fn on_done(&self, then: impl FnOnce() + Send + 'static) {
        self.task.on_done(then);
    }

    /// Returns the call as a task, for [`wait`](fn@crate::wait), [`as_completed`](crate::as_completed) and `.await`.
    ///
    /// ```
    /// use parallel_runtime::{as_completed, parallel};
    ///
    /// #[parallel(mode = "process")]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let processes = [2, 3].map(|x| square::spawn(x).into_task());
    /// let mut squares: Vec<_> = as_completed(processes).map(|(_, square)| square.unwrap()).collect();
    /// squares.sort_unstable();
    /// assert_eq!(squares, [4, 9]);
    /// ```
    pub fn into_task(self) -> Task<R> {
        self.task
    }

    /// Returns whether the call has ended.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Returns a number that no other task of this program has.
    pub fn id(&self) -> u64 {
        self.task.id()
    }

    /// Returns the process id, of the last try if there are `retries`. `None` if the call runs on a thread, or could not be started.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref()?.pid()
    }

    /// Ends the process at once. `join` then returns [`TaskError::Cancelled`], unless the call had ended. False if it runs on a thread, which cannot be
    /// ended.
    pub fn kill(&self) -> bool {
        match &self.process {
            Some(process) => {
                process.kill();
                true
            }
            None => self.can_be_killed && self.task.kill(),
        }
    }
}

impl<R> fmt::Debug for Spawned<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawned")
            .field("task", &self.task)
            .field("pid", &self.process.as_ref().map(|process| process.pid()))
            .finish()
    }
}
