//! Tasks that borrow: `scope`.
//!
//! As with [`std::thread::scope`], what borrows is sound by one promise: [`scope`] does not return, nor unwind, before every task that was
//! begun in it has ended. Nobody can make it break that promise, since a [`Scope`] is only ever lent.

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::TaskError;
use crate::function::{Body, Remote};
use crate::remote::carrier::Carrier;
use crate::remote::map::read_one;
use crate::remote::ticket::Ticket;
use crate::{panics, thread};

/// Tasks that may borrow whatever lives longer than the [`scope`] that this is of. Pass it to `f::scoped(scope, ...)`.
pub struct Scope<'scope, 'env: 'scope> {
    /// It is emptied before the scope ends. So that it may refer to what refers to the scope, it is not dropped.
    begun: Mutex<ManuallyDrop<Vec<Arc<dyn Begun + 'scope>>>>,
    /// Neither lifetime may be made longer or shorter.
    _scope: PhantomData<&'scope mut &'scope ()>,
    _env: PhantomData<&'env mut &'env ()>,
}

/// A task that was begun in a scope: from `f::scoped(scope, ...)`. What it borrows is free again when the scope has ended.
///
/// Dropping it does not stop it: the scope waits for it.
#[must_use = "its result is lost unless it is joined; if it fails, the scope panics at its end"]
pub struct ScopedTask<'scope, R> {
    task: Arc<dyn Scoped<R> + 'scope>,
}

/// A task of some type.
trait Begun: Send + Sync {
    /// Waits for it, and puts what it changed where its caller has it.
    fn finish(&self);
    /// Whether nothing of it uses what it has borrowed any more.
    fn is_over(&self) -> bool;
    /// Why it has no value, if nobody has asked for that, and nobody has cancelled it.
    fn failure(&self) -> Option<TaskError>;
    /// Whether it has ended, and there is no failure that somebody must be told of.
    fn is_settled(&self) -> bool;
}

/// A task with a result.
trait Scoped<R>: Begun {
    fn is_finished(&self) -> bool;
    fn cancel(&self) -> bool;
    fn kill(&self) -> bool;
    fn take(&self) -> Result<R, TaskError>;
}

/// Runs `with` a scope in which tasks may be begun that borrow what lives longer: `f::scoped(scope, ...)`. All of them have ended when it
/// returns.
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
/// If `with` does. If a task failed that nobody joined or cancelled, with the text of its [`TaskError`].
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
    fn begun(&self) -> MutexGuard<'_, ManuallyDrop<Vec<Arc<dyn Begun + 'scope>>>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep<R>(&'scope self, task: Arc<dyn Scoped<R> + 'scope>) -> ScopedTask<'scope, R> {
        let begun: Arc<dyn Begun + 'scope> = Arc::clone(&task) as _;
        let mut all = self.begun();
        all.push(begun);
        // Those that were joined have nothing left.
        let settled: Vec<_> = if all.len() > 64 && (all.len() - 1).is_power_of_two() {
            all.extract_if(.., |task| task.is_settled()).collect()
        } else {
            Vec::new()
        };
        drop(all);
        drop(settled);
        ScopedTask { task }
    }

    /// A task whose result was there at once.
    pub(crate) fn ready<R: Send + 'scope>(&'scope self, result: Result<R, TaskError>) -> ScopedTask<'scope, R> {
        self.keep(Arc::new(Ready(Mutex::new(Some(result)))))
    }

    /// A task in a worker process.
    pub(crate) fn in_process<I, R>(
        &'scope self,
        carrier: &Carrier,
        ticket: Arc<Ticket>,
        remote: Remote<I, R>,
        item: Option<I>,
    ) -> ScopedTask<'scope, R>
    where
        I: Send + 'scope,
        R: Send + 'scope,
    {
        let end = Mutex::new(End { item, result: None });
        self.keep(Arc::new(InProcess { carrier: carrier.clone(), ticket, remote, end }))
    }

    /// A task on a thread of a pool.
    pub(crate) fn on_thread<R: Send + 'scope>(
        &'scope self,
        engine: &Arc<thread::Engine>,
        function: &'static str,
        limit: Option<Duration>,
        run: impl FnOnce() -> R + Send + 'scope,
    ) -> ScopedTask<'scope, R> {
        let result: Arc<Mutex<Option<Result<R, TaskError>>>> = Arc::default();
        let theirs = Arc::clone(&result);
        let body: Box<dyn FnOnce() + Send + 'scope> = Box::new(move || {
            let begun = Instant::now();
            let value = panics::catch(run).map_err(|caught| caught.into_error(function));
            // It may borrow: so it is not left to itself when its time is over.
            let late = limit.filter(|limit| begun.elapsed() > *limit);
            let value = value.and_then(|value| late.map_or(Ok(value), |after| Err(TaskError::TimedOut { after })));
            *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        });
        // SAFETY: only the lifetime changes. The job has no limit, so it ends when its body has been run to its end, or dropped; and
        // the scope waits for the job before `'scope` ends.
        let body = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + 'scope>, Box<dyn FnOnce() + Send>>(body) };
        match engine.submit(function, None, false, Body::Call(body)) {
            Ok(job) => self.keep(Arc::new(OnThread { job, result })),
            Err(error) => self.ready(Err(error)),
        }
    }
}

impl<R> ScopedTask<'_, R> {
    /// Waits for the task and gives its result.
    ///
    /// # Errors
    ///
    /// As [`Task::join`](crate::Task::join).
    pub fn join(self) -> Result<R, TaskError> {
        self.task.finish();
        self.task.take()
    }

    /// Whether it has ended, well or not.
    pub fn is_finished(&self) -> bool {
        self.task.is_finished()
    }

    /// Keeps it from running, if it has not started. True if it will never run.
    pub fn cancel(&self) -> bool {
        self.task.cancel()
    }

    /// Ends it, whether it has started or not, as [`Task::kill`](crate::Task::kill) does.
    pub fn kill(&self) -> bool {
        self.task.kill()
    }
}

type Slot<R> = Mutex<Option<Result<R, TaskError>>>;

fn take<R>(slot: &Slot<R>) -> Result<R, TaskError> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(Err(TaskError::Cancelled))
}

fn failure<R>(slot: &Slot<R>) -> Option<TaskError> {
    take_failure(&mut slot.lock().unwrap_or_else(PoisonError::into_inner))
}

fn take_failure<R>(result: &mut Option<Result<R, TaskError>>) -> Option<TaskError> {
    let error = result.take_if(|result| result.is_err())?.err()?;
    (!matches!(error, TaskError::Cancelled)).then_some(error)
}

fn is_settled<R>(result: Option<&Result<R, TaskError>>) -> bool {
    !matches!(result, Some(Err(_)))
}

struct Ready<R>(Slot<R>);

impl<R: Send> Begun for Ready<R> {
    fn finish(&self) {}
    fn is_over(&self) -> bool {
        true
    }
    fn failure(&self) -> Option<TaskError> {
        failure(&self.0)
    }
    fn is_settled(&self) -> bool {
        self.0.try_lock().is_ok_and(|result| is_settled(result.as_ref()))
    }
}

impl<R: Send> Scoped<R> for Ready<R> {
    fn is_finished(&self) -> bool {
        true
    }
    fn cancel(&self) -> bool {
        false
    }
    fn kill(&self) -> bool {
        false
    }
    fn take(&self) -> Result<R, TaskError> {
        take(&self.0)
    }
}

struct OnThread<R> {
    job: Arc<thread::Job<()>>,
    result: Arc<Slot<R>>,
}

impl<R: Send> Begun for OnThread<R> {
    fn finish(&self) {
        let ended = self.job.wait(None);
        if let Some(Err(error)) = ended {
            // It never ran, or this was asked before.
            self.result.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(Err(error));
        }
    }
    fn is_over(&self) -> bool {
        self.job.is_finished()
    }
    fn failure(&self) -> Option<TaskError> {
        failure(&self.result)
    }
    fn is_settled(&self) -> bool {
        self.job.is_finished() && self.result.try_lock().is_ok_and(|result| is_settled(result.as_ref()))
    }
}

impl<R: Send> Scoped<R> for OnThread<R> {
    fn is_finished(&self) -> bool {
        self.job.is_finished()
    }
    fn cancel(&self) -> bool {
        self.job.cancel()
    }
    fn kill(&self) -> bool {
        self.job.cancel()
    }
    fn take(&self) -> Result<R, TaskError> {
        take(&self.result)
    }
}

struct InProcess<I, R> {
    carrier: Carrier,
    ticket: Arc<Ticket>,
    remote: Remote<I, R>,
    end: Mutex<End<I, R>>,
}

struct End<I, R> {
    item: Option<I>,
    /// Whether it was read, and what nobody has taken of it.
    result: Option<Option<Result<R, TaskError>>>,
}

impl<I, R> InProcess<I, R> {
    fn end(&self) -> MutexGuard<'_, End<I, R>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<I: Send, R: Send> Begun for InProcess<I, R> {
    fn finish(&self) {
        let mut end = self.end();
        if end.result.is_none() {
            let outcome = self.carrier.wait(&self.ticket, None).unwrap_or_default();
            let item = end.item.take();
            // If reading it panics, there is none.
            end.result = Some(None);
            // By this what was changed is where the caller has it.
            end.result = Some(Some(read_one(&self.remote, item, outcome)));
        }
    }
    fn is_over(&self) -> bool {
        self.ticket.is_finished() && self.end().result.is_some()
    }
    fn failure(&self) -> Option<TaskError> {
        take_failure(self.end().result.as_mut()?)
    }
    fn is_settled(&self) -> bool {
        // Whoever waits for it holds the lock.
        self.end.try_lock().is_ok_and(|end| end.result.as_ref().is_some_and(|result| is_settled(result.as_ref())))
    }
}

impl<I: Send, R: Send> Scoped<R> for InProcess<I, R> {
    fn is_finished(&self) -> bool {
        self.ticket.is_finished() || {
            self.carrier.collect_done();
            self.ticket.is_finished()
        }
    }
    fn cancel(&self) -> bool {
        self.carrier.cancel(&self.ticket)
    }
    fn kill(&self) -> bool {
        self.carrier.kill_task(&self.ticket)
    }
    fn take(&self) -> Result<R, TaskError> {
        self.end().result.as_mut().and_then(Option::take).unwrap_or(Err(TaskError::Cancelled))
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("begun", &self.begun().len()).finish_non_exhaustive()
    }
}

impl<R> fmt::Debug for ScopedTask<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedTask").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}
