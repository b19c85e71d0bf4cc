//! The traits that engines implement, and what goes through them.

use std::any::Any;
use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::results::Results;
use crate::error::TaskError;
use crate::function::erased::{ErasedValue, ErasedVec, Items};
use crate::function::table::{FunctionTable, Piece, Written};
use crate::observe::progress::Meter;
use crate::options::{CallOptions, WorkerOptions};
use crate::panics::Caught;
use crate::sandbox::Sandbox;
use crate::wait::gate::Gate;
use crate::wait::notify::{Signal, Watcher};

/// A pool.
pub(crate) type Target = Arc<dyn Backend>;

/// Why there is no result.
pub(crate) enum Failed {
    /// The function panicked, and its caller is to see the same panic.
    Panicked(Caught),
    Error(TaskError),
}

impl From<TaskError> for Failed {
    fn from(error: TaskError) -> Self {
        Self::Error(error)
    }
}

impl Failed {
    pub(crate) fn into_error(self, function: &'static str) -> TaskError {
        match self {
            Self::Panicked(caught) => caught.into_error(function),
            Self::Error(error) => error,
        }
    }
}

/// What a map is told, and tells.
pub(crate) struct Map<'m> {
    pub(crate) options: CallOptions,
    /// Nothing more is to be started.
    pub(crate) stop: &'m Arc<AtomicBool>,
    /// All items are run, also if others fail; otherwise nothing more is started when one has failed.
    pub(crate) goes_on: bool,
    /// The pool has accepted it before: see [`Backend::accept`].
    pub(crate) accepted: bool,
    /// It has a thread to itself, whose caller does not wait.
    pub(crate) in_background: bool,
    /// Counts items that have ended.
    pub(crate) ended: Option<&'m AtomicUsize>,
    /// Shows how many have.
    pub(crate) meter: &'m Meter,
}

impl Map<'_> {
    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether anything counts the items that have ended.
    pub(crate) fn is_told(&self) -> bool {
        self.ended.is_some() || self.meter.is_shown()
    }

    /// So many more have ended.
    pub(crate) fn tell(&self, items: usize) {
        if let Some(ended) = self.ended {
            ended.fetch_add(items, Ordering::Relaxed);
        }
        self.meter.add(items);
    }

    /// So many of those that have ended have failed.
    pub(crate) fn tell_failed(&self, items: usize) {
        self.meter.add_failed(items);
    }
}

/// A pool, or the caller's own thread.
pub(crate) trait Backend: Debug + Send + Sync {
    /// Options of calls that say nothing else.
    fn defaults(&self) -> CallOptions;

    /// Whether tasks run on the thread that calls.
    fn runs_in_place(&self) -> bool {
        false
    }

    /// Whether a function that asks for this sandbox may run here; if not, the error says what would be right.
    fn check_sandbox(&self, function: &'static str, sandbox: Sandbox) -> Result<(), TaskError>;

    /// What has to be done before a call of a function whose workers run this first.
    fn prepare(&self, _init: fn()) -> Result<(), TaskError> {
        Ok(())
    }

    /// What starts processes for single tasks, where other calls run in place. An error if that may not be.
    fn processes(&self, _function: &'static str) -> Result<Option<&Target>, TaskError> {
        Ok(None)
    }

    /// How many submitted tasks may be outstanding, if that is limited.
    fn gate(&self) -> Option<&Arc<Gate>> {
        None
    }

    /// Whether it takes tasks no more.
    fn is_closed(&self) -> bool {
        false
    }

    /// Runs a piece of one item, and waits for its output.
    fn call(&self, one: Piece<'_>, options: CallOptions) -> Result<Written, Failed>;

    /// Runs all items, and waits for what they become. Nothing of any item is used when this returns or unwinds.
    fn map<'a>(
        &self,
        function: &'static FunctionTable,
        items: &mut dyn Items<'a>,
        map: &Map<'_>,
        results: &mut Results<'a>,
    ) -> Result<(), Failed>;

    /// Accepts something of several tasks: the pool is not shut down before what this gives is dropped.
    fn accept(&self) -> Result<Box<dyn Any + Send>, TaskError>;

    /// Has threads that wait for a map look again: it is to be stopped.
    fn wake_waiters(&self) {}

    /// Runs an item some time.
    fn submit(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'static>,
        options: CallOptions,
    ) -> Result<TaskHandle, TaskError>;

    /// The same for an item that may borrow. The caller waits for the task before `'s` ends: see
    /// [`task::scope`](crate::task::scope).
    fn submit_scoped<'s>(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'s>,
        options: CallOptions,
    ) -> Result<Arc<dyn ScopedHandle<'s> + 's>, TaskError>;

    /// Runs items a little ahead of the thread that takes their results. `hint`: the size hint of the items; `ordered`: whether results come in
    /// the order of the items.
    fn prefetch(
        &self,
        function: &'static FunctionTable,
        options: CallOptions,
        hint: (usize, Option<usize>),
        ordered: bool,
    ) -> Result<Box<dyn Prefetch>, TaskError>;

    /// Runs one item on a thread or in a process of its own, outside every pool.
    fn spawn(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'static>,
        options: CallOptions,
        workers: WorkerOptions,
    ) -> Result<OwnTask, TaskError>;
}

/// A task with a thread or a process of its own.
pub(crate) struct OwnTask {
    pub(crate) handle: TaskHandle,
    pub(crate) process: Option<Arc<dyn OwnProcess>>,
    /// Whether ending the task ends what it runs in.
    pub(crate) can_be_killed: bool,
}

/// A process that runs a single task.
pub(crate) trait OwnProcess: Send + Sync {
    /// That of the last try.
    fn pid(&self) -> Option<u32>;
    fn kill(&self);
    /// Waits until it is started, or cannot be.
    fn wait_for_start(&self);
}

/// A task that was submitted: some tasks, and which of them it is.
pub(crate) struct TaskHandle {
    tasks: Arc<dyn TaskHandles>,
    index: u32,
    /// By this handle.
    was_cancelled: AtomicBool,
    was_taken: AtomicBool,
}

impl TaskHandle {
    pub(crate) fn new(tasks: Arc<dyn TaskHandles>, index: u32) -> Self {
        Self { tasks, index, was_cancelled: AtomicBool::new(false), was_taken: AtomicBool::new(false) }
    }

    /// Of a task that was submitted by itself.
    pub(crate) fn alone(task: Arc<dyn TaskHandles>) -> Self {
        Self::new(task, 0)
    }

    fn tasks(&self) -> Arc<dyn TaskHandles> {
        Arc::clone(&self.tasks)
    }

    /// Waits for its end, at most until `deadline`. Takes the result; a second call finds none and says so.
    #[inline]
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Option<Result<ErasedValue<'static>, TaskError>> {
        if self.was_taken.load(Ordering::Relaxed) {
            return Some(Err(TaskError::ResultTaken));
        }
        let result = self.tasks.take(self.index).or_else(|| self.tasks().wait(self.index, deadline))?;
        self.was_taken.store(true, Ordering::Relaxed);
        Some(result)
    }

    /// See [`TaskHandles::is_finished`].
    pub(crate) fn is_finished(&self) -> bool {
        self.tasks.is_finished(self.index)
    }

    /// See [`TaskHandles::is_running`].
    pub(crate) fn is_running(&self) -> bool {
        self.tasks().is_running(self.index)
    }

    /// See [`TaskHandles::cancel`]. A task that was cancelled will never run, also when this is asked once more.
    pub(crate) fn cancel(&self) -> bool {
        let cancelled = self.was_cancelled.load(Ordering::Relaxed) || self.tasks().cancel(self.index);
        self.was_cancelled.store(cancelled, Ordering::Relaxed);
        cancelled
    }

    /// See [`TaskHandles::kill`].
    pub(crate) fn kill(&self) -> bool {
        self.tasks().kill(self.index)
    }

    /// See [`TaskHandles::watch`].
    pub(crate) fn watch(&self, watcher: Watcher, attend: bool) -> Result<(), Watcher> {
        self.tasks().watch(self.index, watcher, attend)
    }

    /// See [`TaskHandles::is_here`].
    pub(crate) fn is_here(&self, waker: &Waker) -> bool {
        self.tasks().is_here(self.index, waker)
    }

    /// See [`TaskHandles::has_failed`].
    pub(crate) fn has_failed(&self) -> bool {
        self.tasks.has_failed(self.index)
    }

    /// See [`TaskHandles::has_result`].
    pub(crate) fn has_result(&self) -> bool {
        self.tasks.has_result()
    }

    /// See [`TaskHandles::abandon`].
    #[inline]
    pub(crate) fn abandon(&self) {
        if self.tasks.may_be_abandoned(self.index) {
            self.tasks().abandon(self.index);
        }
    }

    /// See [`TaskHandles::collector`].
    pub(crate) fn collector(&self) -> Option<Arc<dyn Collector>> {
        self.tasks.collector()
    }
}

/// Tasks that were submitted together, by index; or one, which looks at no index.
pub(crate) trait TaskHandles: Send + Sync {
    /// Takes the result, if it is here.
    fn take(&self, _index: u32) -> Option<Result<ErasedValue<'static>, TaskError>> {
        None
    }

    /// Waits for its end, at most until `deadline`. Takes the result; a second call finds none and gives `Cancelled`.
    fn wait(self: Arc<Self>, index: u32, deadline: Option<Instant>) -> Option<Result<ErasedValue<'static>, TaskError>>;

    /// Whether it has ended, well or not.
    fn is_finished(&self, index: u32) -> bool;

    /// Whether it runs now.
    fn is_running(self: Arc<Self>, index: u32) -> bool;

    /// Keeps it from running, if it has not started. True if it will never run.
    fn cancel(self: Arc<Self>, index: u32) -> bool;

    /// Ends it, if that can be done, whether it has started or not.
    fn kill(self: Arc<Self>, index: u32) -> bool;

    /// Tells the watcher of its end. `attend`: no thread collects results otherwise.
    ///
    /// # Errors
    ///
    /// The watcher, if it has ended.
    fn watch(self: Arc<Self>, index: u32, watcher: Watcher, attend: bool) -> Result<(), Watcher>;

    /// Whether the result of a task that has ended can be taken without waiting. If not, `waker` is woken when it can.
    fn is_here(self: Arc<Self>, _index: u32, _waker: &Waker) -> bool {
        true
    }

    /// Whether it has ended, and neither with a value nor because it was cancelled.
    fn has_failed(&self, index: u32) -> bool;

    /// Whether it ended at once, so that no thread need wait for it.
    fn has_result(&self) -> bool {
        false
    }

    /// Whether [`abandon`](TaskHandles::abandon) has something to do.
    fn may_be_abandoned(&self, _index: u32) -> bool {
        false
    }

    /// No thread waits for it any more.
    fn abandon(self: Arc<Self>, _index: u32) {}

    /// What a thread that waits for several tasks can do meanwhile, if they are all of one pool.
    fn collector(&self) -> Option<Arc<dyn Collector>> {
        None
    }
}

/// A pool whose results are collected by those who wait for them.
pub(crate) trait Collector: Send + Sync {
    /// Collects what is done.
    fn collect_done(&self);

    /// Waits until `done`, which collects results and looks, is true, at most until `deadline`. Whether it was.
    ///
    /// `done` may look at what the watchers of a task have noted: it is asked again after they were fired.
    fn wait_until(&self, deadline: Option<Instant>, done: &mut dyn FnMut() -> bool) -> bool;
}

/// A task that may borrow.
pub(crate) trait ScopedHandle<'s>: Send + Sync {
    /// Waits for it, and puts what it changed where its caller has it.
    fn finish(&self);
    /// Whether nothing of it uses what it has borrowed any more.
    fn is_over(&self) -> bool;
    /// Why it has no value, if nothing has asked for that, and nothing has cancelled it.
    fn failure(&self) -> Option<TaskError>;
    /// Whether it has ended, and there is no failure that must be told.
    fn is_settled(&self) -> bool;
    fn is_finished(&self) -> bool;
    fn cancel(&self) -> bool;
    fn kill(&self) -> bool;
    fn take(&self) -> Result<ErasedValue<'s>, TaskError>;
}

/// Where the result of a scoped task is put, and taken from.
pub(crate) struct ResultSlot<'s>(Mutex<Option<Result<ErasedValue<'s>, TaskError>>>);

impl<'s> ResultSlot<'s> {
    pub(crate) fn new(result: Option<Result<ErasedValue<'s>, TaskError>>) -> Self {
        Self(Mutex::new(result))
    }

    /// Puts one there, unless there is one.
    pub(crate) fn put(&self, result: Result<ErasedValue<'s>, TaskError>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(result);
    }

    pub(crate) fn take(&self) -> Result<ErasedValue<'s>, TaskError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or(Err(TaskError::Cancelled))
    }

    /// An error that nothing has taken, unless it says that the task was cancelled.
    pub(crate) fn failure(&self) -> Option<TaskError> {
        let mut result = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let error = result.take_if(|result| result.is_err())?.err()?;
        (!matches!(error, TaskError::Cancelled)).then_some(error)
    }

    /// Whether there is no error in it, as far as can be seen without waiting.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.try_lock().is_ok_and(|result| !matches!(*result, Some(Err(_))))
    }
}

/// Items that run ahead of the thread that takes their results, and results that nothing has taken.
pub(crate) trait Prefetch: Send + Sync {
    /// How many items may be sent now; 0 if there are enough on their way.
    fn room(&mut self) -> usize;

    fn send(&mut self, items: ErasedVec<'static>);

    /// Whether there is something to take.
    fn has_arrived(&self) -> bool;

    /// Whether nothing is on its way, and no result left.
    fn is_empty(&self) -> bool;

    /// Looks what has ended.
    fn collect(&mut self) {}

    /// Takes results of neighbouring items, and the number of the first.
    fn take(&mut self) -> Option<(usize, Results<'static>)>;

    /// Waits until something has ended.
    fn wait(&self);

    /// From now on `signal` is raised when something ends.
    fn raise(&mut self, _signal: Arc<Signal>) {}

    /// Whether items run only when their results are asked for.
    fn is_lazy(&self) -> bool {
        false
    }
}
