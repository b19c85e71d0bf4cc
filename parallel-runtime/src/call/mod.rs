//! The verbs of an annotated function: those that wait, which may borrow. Those that take owned arguments are in [`owned`].

mod awaited;
mod owned;

pub use awaited::awaited;

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::error::TaskError;
use crate::function::init;
use crate::function::{ParallelFn, Remote};
use crate::observe::progress::{Label, Meter};
use crate::options::CallOptions;
use crate::panics;
use crate::pool::{Pool, Target};
use crate::remote::carrier::Carrier;
use crate::remote::map::{Control, Place, call, map, submit_lent};
use crate::task::{Scope, ScopedTask};
use crate::thread::Failed;
use crate::{sandbox, thread};

/// The verbs of the annotated function `F`, on a pool of your choice and with options: from `f::on(&pool)` or `f::options()`.
///
/// An *item* is the argument itself for a function of one parameter, a tuple for more, `()` for none.
///
/// ```
/// use parallel_runtime::{ThreadPool, parallel};
///
/// #[parallel]
/// fn area(width: u64, height: u64) -> u64 {
///     width * height
/// }
///
/// let pool = ThreadPool::new(2);
/// assert_eq!(area::on(&pool).call((3, 4)), 12);
/// assert_eq!(area::options().chunk(100).map([(1, 2), (3, 4)]), [2, 12]);
/// ```
#[must_use = "these are only options: call one of the verbs"]
pub struct Call<'p, F> {
    target: Option<&'p Target>,
    options: CallOptions,
    /// Of the bar that shows how far a map has come.
    label: Label,
    _function: PhantomData<fn() -> F>,
}

/// Where a call goes.
enum Route<'p> {
    Here,
    Thread(&'p Arc<thread::Engine>),
    Remote(&'p Carrier),
}

impl<F: ParallelFn> Call<'static, F> {
    /// The function's own pool and options, as `f::options()`.
    #[expect(clippy::new_without_default, reason = "a `Default` would say nothing")]
    pub fn new() -> Self {
        Self { target: None, options: F::spec().call, label: None, _function: PhantomData }
    }
}

impl<'p, F: ParallelFn> Call<'p, F> {
    /// A pool of your own, as `f::on(&pool)`.
    ///
    /// What the attribute says about workers (`init`, `memory_limit`, `max_tasks_per_worker`) belongs to the function's own pool;
    /// here the options of `pool` count. A function with a `sandbox` runs on a pool that has one, or not at all.
    pub fn on<P: Pool<F>>(pool: &'p P) -> Self {
        Self { target: Some(pool.target()), options: F::spec().call, label: None, _function: PhantomData }
    }

    /// How many items travel in one message, for the verbs over many items. Without it the number adapts to how long items
    /// take. Items of an `async fn` travel alone: as many as 16,384 of a map are under way at a time, and of an `imap` or a stream 128
    /// for each worker.
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    pub fn chunk(mut self, items: usize) -> Self {
        self.options = self.options.with_chunk(items);
        self
    }

    /// How long each task may take, from the moment it starts to run. What takes longer ends as [`TaskError::TimedOut`].
    ///
    /// In a worker process the task is ended: its process gets SIGTERM, and 100 ms later SIGKILL, and is replaced. A thread cannot
    /// be ended: the caller gets the error while the thread runs on, keeps its place in the pool, and is counted in
    /// [`PoolStats::abandoned`](crate::PoolStats::abandoned). And a call on a thread that holds borrows of its caller
    /// (`&T`, `&mut [T]`) has to wait for its end; it gives the error afterwards. Where calls run in place, with
    /// `PARALLEL_MODE=serial` or inside a worker process, there is no limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use parallel_runtime::{TaskError, parallel};
    ///
    /// #[parallel(mode = "process")]
    /// fn wait(milliseconds: u64) {
    ///     std::thread::sleep(Duration::from_millis(milliseconds));
    /// }
    ///
    /// let results = wait::options().timeout(Duration::from_millis(100)).try_map([1, 10_000, 1]);
    /// assert!(results[0].is_ok() && results[2].is_ok());
    /// assert!(matches!(results[1], Err(TaskError::TimedOut { .. })));
    /// ```
    ///
    /// # Panics
    ///
    /// If `limit` is zero.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options = self.options.with_timeout(limit);
        self
    }

    /// How often a task is tried again after its worker process died or it timed out there; never after a panic or an `Err`, and
    /// never on threads.
    ///
    /// Each try gets the arguments as they were: what a task had changed behind a `&mut` before it failed is not there for the
    /// next.
    ///
    /// ```
    /// use parallel_runtime::parallel;
    ///
    /// #[parallel(mode = "process")]
    /// fn sometimes(marker: String) -> u32 {
    ///     if std::fs::remove_file(marker).is_ok() {
    ///         std::process::abort(); // the first time
    ///     }
    ///     7
    /// }
    ///
    /// let marker = std::env::temp_dir().join(format!("parallel-doc-{}", std::process::id()));
    /// std::fs::write(&marker, "").unwrap();
    /// assert_eq!(sometimes::options().retries(1).call(marker.to_string_lossy().into_owned()), 7);
    /// ```
    pub fn retries(mut self, retries: u32) -> Self {
        self.options = self.options.with_retries(retries);
        self
    }

    /// With the feature `progress`: shows how far a map has come, on standard error, if that is a terminal: a bar with this text, how many items have ended, how many
    /// a second, and how long it will take. For the verbs over many items: `map`, `try_map`, `starmap`, `map_async`, `imap`,
    /// `imap_unordered`, `stream`.
    ///
    /// For a display of your own, see [`MapTask::progress`](crate::MapTask::progress).
    ///
    /// ```
    /// use parallel_runtime::parallel;
    ///
    /// #[parallel]
    /// fn hash(block: u64) -> u64 {
    ///     block.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    /// }
    ///
    /// let hashes = hash::options().progress("hashing").map(0..1000);
    /// assert_eq!(hashes.len(), 1000);
    /// ```
    #[cfg(feature = "progress")]
    pub fn progress(mut self, text: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        self.label = Some(text.into());
        self
    }

    /// The options of a call on a pool with these defaults.
    fn options(&self, defaults: CallOptions) -> CallOptions {
        self.options.or(defaults)
    }

    fn target(&self) -> &'p Target {
        self.target.unwrap_or_else(|| F::spec().target())
    }

    /// Whether it runs in place.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self.route(), Ok(Route::Here))
    }

    /// Where the call goes; an error if it may not go there, or if what has to run first fails.
    fn route(&self) -> Result<Route<'p>, TaskError> {
        let target = self.target();
        if let Some(sandbox) = F::spec().asks_for_sandbox() {
            let confined = match target {
                Target::Here => sandbox::confines_us(sandbox),
                Target::Thread(_) => false,
                Target::Remote(carrier) => carrier.has_sandbox(),
            };
            if !confined {
                return Err(unconfined(F::spec().name, target));
            }
        }
        Ok(match target {
            Target::Here => {
                if let Some(init) = F::spec().worker_options().init {
                    panics::catch(|| init::once_in_process(init)).map_err(panics::Caught::into_init_error)?;
                }
                Route::Here
            }
            Target::Thread(engine) => Route::Thread(engine),
            Target::Remote(carrier) => Route::Remote(carrier),
        })
    }

    /// Runs one item and waits for its result, like a plain call, on this thread: in `async` code, `submit(item).await` does not hold up
    /// its executor.
    ///
    /// # Panics
    ///
    /// If the function panics, with the same message. With the text of the [`TaskError`] if its worker died or it could not
    /// run.
    #[track_caller]
    pub fn call(&self, item: F::Item) -> F::Output {
        let result = match self.route() {
            Err(error) => Err(error),
            Ok(Route::Here) => return F::run(item),
            Ok(Route::Thread(engine)) => match self.options(engine.defaults).timeout {
                None => engine.call(F::spec().name, || F::run(item)),
                Some(limit) => thread::call_limited::<F>(engine, item, limit),
            },
            Ok(Route::Remote(carrier)) => call(carrier, &remote::<F>(), item, self.options(carrier.defaults())),
        };
        // Not in a closure, whose place would be told instead of the caller's.
        match result {
            Ok(value) => value,
            Err(error) => panics::resume(error, F::spec().name),
        }
    }

    /// Runs all items and gives their results, in the order of the items.
    ///
    /// # Panics
    ///
    /// Like [`call`](Call::call), at the first item that failed. Items that have not started by then do not run; those that
    /// run are waited for.
    #[track_caller]
    pub fn map<I: IntoIterator<Item = F::Item>>(&self, items: I) -> Vec<F::Output> {
        let never = AtomicBool::new(false);
        let items = items.into_iter();
        let meter = Meter::new(&self.label, items.size_hint());
        let run = |item| {
            let output = F::run(item);
            meter.add(1);
            output
        };
        let result = match self.route() {
            Err(error) => Err(error),
            Ok(Route::Here) => return items.map(run).collect(),
            Ok(Route::Thread(engine)) => {
                let options = self.options(engine.defaults);
                let items: Vec<F::Item> = items.collect();
                let chunk = options.chunk.unwrap_or(1);
                if options.timeout.is_some() || F::IS_ASYNC {
                    thread::map_apart::<F>(engine, items, options, true, &meter)
                        .and_then(|results| results.into_iter().collect())
                } else {
                    match engine.map(F::spec().name, items, chunk, &never, (true, false), &run) {
                        Ok(Ok(results)) => Ok(results),
                        Ok(Err(Failed::Panicked(caught))) => std::panic::resume_unwind(caught.payload),
                        Ok(Err(Failed::Stopped)) => Err(TaskError::Cancelled),
                        Ok(Err(Failed::Unprepared(error))) | Err(error) => Err(error),
                    }
                }
            }
            Ok(Route::Remote(carrier)) => {
                let mut results = Vec::with_capacity(items.size_hint().0);
                let options = self.options(carrier.defaults());
                let control = Control { options, meter: Some(&meter), ..Control::default() };
                map(carrier, &remote::<F>(), items, &control, Place::Values(&mut results)).map(|()| results)
            }
        };
        match result {
            Ok(values) => values,
            Err(error) => panics::resume(error, F::spec().name),
        }
    }

    /// Runs all items and gives each one's result or error, in the order of the items, whatever failed.
    pub fn try_map<I: IntoIterator<Item = F::Item>>(&self, items: I) -> Vec<Result<F::Output, TaskError>> {
        let name = F::spec().name;
        let mut items = items.into_iter();
        let meter = Meter::new(&self.label, items.size_hint());
        let caught = |item| {
            let result = panics::catch(|| F::run(item)).map_err(|caught| caught.into_error(name));
            meter.add(1);
            result
        };
        let never = AtomicBool::new(false);
        match self.route() {
            Err(error) => for_each(error, items.count()),
            Ok(Route::Here) => items.map(caught).collect(),
            Ok(Route::Thread(engine)) => {
                let options = self.options(engine.defaults);
                let items: Vec<F::Item> = items.collect();
                let (count, chunk) = (items.len(), options.chunk.unwrap_or(1));
                if options.timeout.is_some() || F::IS_ASYNC {
                    return thread::map_apart::<F>(engine, items, options, false, &meter)
                        .unwrap_or_else(|error| for_each(error, count));
                }
                // A pool that is killed keeps the results that there are.
                let caught = |item| if engine.is_killed() { Err(TaskError::Cancelled) } else { caught(item) };
                match engine.map(name, items, chunk, &never, (false, false), &caught) {
                    Ok(Ok(results)) => results,
                    Ok(Err(Failed::Unprepared(error))) | Err(error) => for_each(error, count),
                    Ok(Err(_)) => (0..count).map(|_| Err(TaskError::Cancelled)).collect(),
                }
            }
            Ok(Route::Remote(carrier)) => {
                let mut results = Vec::with_capacity(items.size_hint().0);
                let options = self.options(carrier.defaults());
                let control = Control { options, meter: Some(&meter), ..Control::default() };
                match map(carrier, &remote::<F>(), &mut items, &control, Place::Results(&mut results)) {
                    Ok(()) => results,
                    Err(error) => for_each(error, items.count()),
                }
            }
        }
    }

    /// Hands one item to the pool and returns at once. It may borrow what lives longer than the [`scope`](crate::scope()).
    pub fn scoped<'scope>(&self, scope: &'scope Scope<'scope, '_>, item: F::Item) -> ScopedTask<'scope, F::Output>
    where
        F: 'scope,
        F::Item: 'scope,
        F::Output: 'scope,
    {
        let name = F::spec().name;
        match self.route() {
            Err(error) => scope.ready(Err(error)),
            Ok(Route::Here) => scope.ready(panics::catch(|| F::run(item)).map_err(|caught| caught.into_error(name))),
            Ok(Route::Thread(engine)) => {
                let limit = self.options(engine.defaults).timeout;
                scope.on_thread(engine, name, limit, || F::run(item))
            }
            Ok(Route::Remote(carrier)) => {
                let (remote, mut item) = (remote::<F>(), Some(item));
                match submit_lent(carrier, &remote, &mut item, self.options(carrier.defaults())) {
                    Ok(ticket) => scope.in_process(carrier, ticket, remote, item),
                    Err(error) => scope.ready(Err(error)),
                }
            }
        }
    }

    /// [`map`](Call::map) under Python's name for functions of several parameters.
    #[track_caller]
    pub fn starmap<I: IntoIterator<Item = F::Item>>(&self, items: I) -> Vec<F::Output> {
        self.map(items)
    }
}

const NOT_REMOTE: &str = "the pool of a function that is not `mode = \"process\"` has no processes";

fn remote<F: ParallelFn>() -> Remote<F::Item, F::Output> {
    F::remote().expect(NOT_REMOTE)
}

/// One error for every item: if it cannot be had twice, the others are cancelled.
fn repeated(error: TaskError) -> impl Iterator<Item = TaskError> + Send {
    let again = match &error {
        TaskError::Spawn(error) => Some(error.to_string()),
        _ => None,
    };
    let others = std::iter::repeat_with(move || match &again {
        Some(text) => TaskError::Spawn(std::io::Error::other(text.clone())),
        None => TaskError::Cancelled,
    });
    std::iter::once(error).chain(others)
}

fn for_each<R>(error: TaskError, count: usize) -> Vec<Result<R, TaskError>> {
    repeated(error).take(count).map(Err).collect()
}

/// A function that asks for a sandbox was to run without it.
fn unconfined(name: &str, target: &Target) -> TaskError {
    let how = match target {
        Target::Here => {
            "and this process has not that one: do not call it inside a worker of another kind, nor in place"
        }
        Target::Thread(_) => "and a thread has none: use a pool of processes",
        Target::Remote(_) => "and this pool has none: give it one (`ProcessPool::sandbox`)",
    };
    TaskError::Spawn(std::io::Error::other(format!("`{name}` asks for a sandbox, {how}")))
}
