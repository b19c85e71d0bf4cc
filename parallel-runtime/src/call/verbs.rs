//! The verbs that wait, which may borrow.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use super::function::ParallelFn;
use super::items::IntoItems;
use super::pool::Pool;
use super::route::{self, Route};
use super::table::Tables;
use crate::backend::Target;
use crate::error::TaskError;
use crate::function::erased::{ErasedValue, ItemsOf};
use crate::function::table::Piece;
use crate::observe::progress::Label;
use crate::options::CallOptions;
use crate::task::{Scope, ScopedTask};

/// The verbs of the annotated function `F`, on a chosen pool and with options: from `f::on(&pool)` or `f::options()`.
///
/// An *item* is the argument of a function with one parameter, a tuple for more, `()` for none.
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
    pub(super) options: CallOptions,
    /// Of the bar that shows how far a map has come.
    label: Label,
    _function: PhantomData<fn() -> F>,
}

impl<F> fmt::Debug for Call<'_, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("function", &std::any::type_name::<F>())
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// See the pools.
impl<F> UnwindSafe for Call<'_, F> {}
/// See the pools.
impl<F> RefUnwindSafe for Call<'_, F> {}

impl<F: ParallelFn> Call<'static, F> {
    /// The function's own pool and options, like `f::options()`.
    #[expect(clippy::new_without_default, reason = "a `Default` would say nothing")]
    pub fn new() -> Self {
        Self { target: None, options: F::spec().call, label: Label::NONE, _function: PhantomData }
    }
}

impl<'p, F: ParallelFn> Call<'p, F> {
    /// A pool of your own, like `f::on(&pool)`.
    ///
    /// Worker options of the attribute (`init`, `memory_limit`, `max_tasks_per_worker`) belong to the function's own pool; here the options of `pool`
    /// apply. A function with a `sandbox` only runs on a pool that has one.
    pub fn on<P: Pool<F>>(pool: &'p P) -> Self {
        Self { target: Some(pool.target()), options: F::spec().call, label: Label::NONE, _function: PhantomData }
    }

    /// Sets the number of items in one message, for verbs over many items. By default the number adapts to the time that items take. Items of an `async
    /// fn` travel alone: up to 16,384 items of a map are in progress at a time, and 128 items of an `imap` or stream for each worker.
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    #[doc(alias("chunksize"))]
    pub fn chunk(mut self, items: usize) -> Self {
        self.options = self.options.with_chunk(items);
        self
    }

    /// Sets the time limit of each task, counted from its start. A task that exceeds it ends as [`TaskError::TimedOut`].
    ///
    /// A task in a worker process is ended: the process gets SIGTERM, 100 ms later SIGKILL, and is replaced. A thread cannot be ended: the caller gets
    /// the error while the thread runs on, keeps its place in the pool, and counts in [`PoolStats::abandoned`](crate::PoolStats::abandoned). A call that
    /// lends references (`&T`, `&mut [T]`) to a thread returns the error only after the task has ended. Calls that run in place (`PARALLEL_MODE=serial`,
    /// or inside a worker process) have no limit.
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

    /// Sets how many more times a task is tried after its worker process died or it timed out there; a panic or an `Err` is not tried again, nor are
    /// tasks on threads. Each try gets the arguments as they were: changes behind a `&mut` by a failed try are undone.
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

    /// Shows the progress of a map on standard error (feature `progress`): this text, how many items have ended, how many of them failed, the rate, and
    /// the time left. On a terminal this is a bar. Elsewhere it is a line after 1 s, 2 s, 4 s and so on, at most once a minute, and one at the end.
    ///
    /// For the verbs over many items: `map`, `try_map`, `starmap`, `map_async`, `imap`, `imap_unordered`, `stream`. For a display of your own see
    /// [`MapTask::progress`](crate::MapTask::progress); for a bar among your own, [`progress_in`](Call::progress_in).
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
        self.label.text = Some(text.into());
        self
    }

    /// Adds the bar of a map to these bars, below the others (feature `progress`). Its text is that of [`progress`](Call::progress), or the name of the
    /// function. The [`MultiProgress`](crate::indicatif::MultiProgress) decides where it is drawn. Unlike with [`progress`](Call::progress), output of
    /// tasks is not kept apart from these bars.
    ///
    /// ```
    /// use parallel_runtime::indicatif::{MultiProgress, ProgressBar};
    /// use parallel_runtime::parallel;
    ///
    /// #[parallel]
    /// fn hash(block: u64) -> u64 {
    ///     block.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    /// }
    ///
    /// let bars = MultiProgress::new();
    /// let files = bars.add(ProgressBar::new(3));
    /// for file in 0..3 {
    ///     hash::options().progress(format!("file {file}")).progress_in(&bars).map(0..1000);
    ///     files.inc(1);
    /// }
    /// ```
    #[cfg(feature = "progress")]
    pub fn progress_in(mut self, bars: &indicatif::MultiProgress) -> Self {
        self.label.bars = Some(bars.clone());
        self
    }

    /// Needs the feature `progress`: a bar that shows how far a map has come.
    #[cfg(not(feature = "progress"))]
    #[doc(hidden)]
    pub fn progress(self, _text: impl NeedsProgress) -> Self {
        self
    }

    /// Where it goes, with what options.
    pub(super) fn route(&self) -> Route<'_> {
        Route { spec: F::spec(), target: self.target, options: self.options, label: &self.label }
    }

    /// Whether it runs in place.
    pub(super) fn is_here(&self) -> bool {
        self.route().runs_in_place()
    }

    /// Runs one item and waits on this thread for its result, like a plain call. In `async` code use `submit(item).await`.
    ///
    /// # Panics
    ///
    /// If the function panics, with the same message. With the text of the [`TaskError`] if its worker died or it could not
    /// run.
    #[track_caller]
    #[doc(alias("apply"))]
    pub fn call(&self, item: F::Item) -> F::Output {
        let (mut item, mut output) = (MaybeUninit::new(item), MaybeUninit::<F::Output>::uninit());
        // SAFETY: the item is one of this function, and the piece's from here on; there is room for the output; both stay until the end of
        // this call, which the piece does not outlive.
        let one =
            unsafe { Piece::new(Tables::<F>::borrowed(), item.as_mut_ptr().cast(), output.as_mut_ptr().cast(), 1) };
        match self.route().call(one) {
            // SAFETY: all outputs of the piece were written, that is this one.
            Ok(_) => unsafe { output.assume_init() },
            // Not in a closure, whose place would be told instead of the caller's.
            Err(failed) => route::resume(failed, F::NAME),
        }
    }

    /// Runs all items and returns their results, in the order of the items.
    ///
    /// # Panics
    ///
    /// Like [`call`](Call::call), at the first item that failed. Items that have not started by then do not run; those that
    /// run are waited for.
    #[track_caller]
    pub fn map<I: IntoItems<F::Item>>(&self, items: I) -> Vec<F::Output> {
        match self.route().map(Tables::<F>::borrowed(), &mut ItemsOf::new(items.into_iter())) {
            // SAFETY: these are outputs of this function.
            Ok(values) => unsafe { values.into_vec() },
            Err(failed) => route::resume(failed, F::NAME),
        }
    }

    /// Runs all items and returns the result or error of each, in the order of the items.
    pub fn try_map<I: IntoItems<F::Item>>(&self, items: I) -> Vec<Result<F::Output, TaskError>> {
        let results = self.route().try_map(Tables::<F>::borrowed(), &mut ItemsOf::new(items.into_iter()));
        let (mut each, mut all) = (results.into_each(), Vec::new());
        all.reserve_exact(each.len());
        // SAFETY: these are outputs of this function.
        while let Some(result) = unsafe { each.next() } {
            all.push(result);
        }
        all
    }

    /// Submits one item and returns at once. The item may borrow what outlives the [`scope`](crate::scope()).
    pub fn scoped<'scope>(&self, scope: &'scope Scope<'scope, '_>, item: F::Item) -> ScopedTask<'scope, F::Output>
    where
        F: 'scope,
        F::Item: 'scope,
        F::Output: 'scope,
    {
        let handle = self.route().submit_scoped(Tables::<F>::borrowed(), ErasedValue::new(item));
        // SAFETY: the task gives an output of this function.
        unsafe { scope.keep(handle) }
    }

    /// [`map`](Call::map) by Python's name for functions of several parameters.
    #[track_caller]
    pub fn starmap<I: IntoItems<F::Item>>(&self, items: I) -> Vec<F::Output> {
        self.map(items)
    }
}

/// Nothing is it: so the compiler says which feature is missing.
#[cfg(not(feature = "progress"))]
#[diagnostic::on_unimplemented(
    message = "`progress` needs the feature `progress` of parallel-runtime",
    label = "enable the feature to get a bar",
    note = "in Cargo.toml: `parallel-runtime = {{ version = \"...\", features = [\"progress\"] }}`"
)]
pub trait NeedsProgress {}
