//! A call with a thread or a process of its own.

use std::fmt;
use std::sync::Arc;

use super::Task;
use crate::error::TaskError;
use crate::process::Engine;

/// A call that runs on a thread or in a process of its own, outside every pool: Python's `Thread` and `Process`.
///
/// Dropping it does not stop it.
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
pub struct Spawned<R> {
    task: Task<R>,
    process: Option<Arc<Engine>>,
}

impl<R: Send + 'static> Spawned<R> {
    pub(crate) fn on_thread(task: Task<R>) -> Self {
        Self { task, process: None }
    }

    pub(crate) fn in_process(task: Task<R>, engine: Arc<Engine>) -> Self {
        engine.wait_for_start();
        Self { task, process: Some(engine) }
    }

    /// On a cluster.
    #[cfg(feature = "dask")]
    pub(crate) fn on_cluster(task: Task<R>) -> Self {
        Self { task, process: None }
    }

    /// Waits for the call and gives its result.
    ///
    /// # Errors
    ///
    /// As [`Task::join`].
    pub fn join(self) -> Result<R, TaskError> {
        self.task.join()
    }

    /// Whether it has ended, well or not.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// A number that no other task of this program has.
    pub fn id(&self) -> u64 {
        self.task.id()
    }

    /// The process id, that of the last try if there are `retries`; `None` if it runs on a thread, or could not be started.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref()?.last_pid()
    }

    /// Ends the process at once; `join` then gives [`TaskError::Cancelled`], unless the call had ended. False if it runs on a
    /// thread, which nobody can end.
    pub fn kill(&self) -> bool {
        match &self.process {
            Some(engine) => {
                engine.kill();
                true
            }
            // On a thread nobody can, and on a cluster it can be.
            None => self.task.kill_far(),
        }
    }
}

impl<R> fmt::Debug for Spawned<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawned")
            .field("task", &self.task)
            .field("pid", &self.process.as_ref().map(|engine| engine.last_pid()))
            .finish()
    }
}
