//! Tasks that borrow: `scope`.
//!
//! As with [`std::thread::scope`], what borrows is sound by one promise: [`scope`] does not return, nor unwind, before every task that was
//! begun in it has ended. Nothing can make it break that promise, since a [`Scope`] is only ever lent.

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::ScopedHandle;
use crate::error::TaskError;
use crate::panics;

/// A scope for tasks that borrow: see [`scope`]. Pass it to `f::scoped(scope, ...)`.
pub struct Scope<'scope, 'env: 'scope> {
    /// It is emptied before the scope ends. So that it may refer to what refers to the scope, it is not dropped.
    begun: Mutex<ManuallyDrop<Vec<Begun<'scope>>>>,
    /// Neither lifetime may be made longer or shorter.
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

/// A task of a scope: from `f::scoped(scope, ...)`. Its borrows end with the scope. Dropping it does not stop it: the scope waits for it.
#[must_use = "its result is lost unless it is joined; if it fails, the scope panics at its end"]
pub struct ScopedTask<'scope, R> {
    task: Begun<'scope>,
    _result: PhantomData<fn() -> R>,
}

/// A task of any pool.
type Begun<'scope> = Arc<dyn ScopedHandle<'scope> + 'scope>;

/// Runs `with` a scope, in which `f::scoped(scope, ...)` starts tasks that may borrow what outlives it. All of them have ended when `scope` returns.
///
/// ```
/// use parallel_runtime::{parallel, scope};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn total(numbers: &[u64]) -> u64 {
///     numbers.iter().sum()
/// }
///
/// #[parallel(mode = "process", pool = 2)]
/// fn double(numbers: &mut [u64]) {
///     numbers.iter_mut().for_each(|number| *number *= 2);
/// }
///
/// let table = vec![1, 2, 3];
/// let mut other = vec![10, 20];
/// let sum = scope(|s| {
///     let sum = total::scoped(s, &table);
///     let _ = double::scoped(s, &mut other); // both run meanwhile
///     sum.join().unwrap()
/// });
/// assert_eq!((sum, other), (6, vec![20, 40]));
/// ```
///
/// # Panics
///
/// If `with` does. If a task failed that no thread joined or cancelled, with the text of its [`TaskError`].
#[track_caller]
pub fn scope<'env, F, T>(with: F) -> T
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> T,
{
    let scope = Scope { begun: Mutex::default(), _scope: PhantomData, _env: PhantomData };
    let result = catch_unwind(AssertUnwindSafe(|| with(&scope)));
    let mut failure = None;
    let mut panicked = None;
    // What belongs to the user is read and dropped here, and may panic: nothing of that ends the loop.
    let mut caught = |step: &mut dyn FnMut()| {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(step)) {
            match &panicked {
                None => panicked = Some(payload),
                Some(_) => panics::discard(|| drop(payload)),
            }
        }
    };
    loop {
        // A task of a thread may begin others meanwhile.
        let begun = std::mem::take(&mut **scope.begun());
        if begun.is_empty() {
            break;
        }
        for task in begun {
            // As often as it takes: what panics is gone afterwards.
            while !task.is_over() {
                caught(&mut || task.finish());
            }
            caught(&mut || failure = failure.take().or_else(|| task.failure()));
            let mut task = Some(task);
            caught(&mut || task = None);
        }
    }
    match (result, panicked, failure) {
        (Err(payload), _, _) | (Ok(_), Some(payload), _) => resume_unwind(payload),
        (Ok(_), None, Some(error)) => panic!("{error}"),
        (Ok(value), None, None) => value,
    }
}

impl<'scope> Scope<'scope, '_> {
    fn begun(&self) -> MutexGuard<'_, ManuallyDrop<Vec<Begun<'scope>>>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task that was begun.
    ///
    /// # Safety
    ///
    /// Its value is an `R`.
    pub(crate) unsafe fn keep<R>(&'scope self, task: Begun<'scope>) -> ScopedTask<'scope, R> {
        let mut all = self.begun();
        all.push(Arc::clone(&task));
        // Those that were joined have nothing left.
        let settled: Vec<_> = if all.len() > 64 && (all.len() - 1).is_power_of_two() {
            all.extract_if(.., |task| task.is_settled()).collect()
        } else {
            Vec::new()
        };
        drop(all);
        drop(settled);
        ScopedTask { task, _result: PhantomData }
    }
}

impl<'scope, R: 'scope> ScopedTask<'scope, R> {
    /// Waits for the task and returns its result.
    ///
    /// # Errors
    ///
    /// As [`Task::join`](crate::Task::join).
    #[doc(alias("result", "get"))]
    pub fn join(self) -> Result<R, TaskError> {
        self.task.finish();
        // SAFETY: the value is an `R`, by the promise of the code that made this.
        self.task.take().map(|value| unsafe { value.into() })
    }

    /// Returns whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Cancels the task if it has not started. True if it will never run.
    pub fn cancel(&self) -> bool {
        self.task.cancel()
    }

    /// Ends the task, also if it runs, like [`Task::kill`](crate::Task::kill).
    pub fn kill(&self) -> bool {
        self.task.kill()
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("begun", &self.begun().len()).finish_non_exhaustive()
    }
}

impl<'scope, R: 'scope> fmt::Debug for ScopedTask<'scope, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedTask").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}
