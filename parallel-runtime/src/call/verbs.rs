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
    /// The function's own pool and options, as `f::options()`.
    #[expect(clippy::new_without_default, reason = "a `Default` would say nothing")]
    pub fn new() -> Self {
        Self { target: None, options: F::spec().call, label: Label::NONE, _function: PhantomData }
    }
}

impl<'p, F: ParallelFn> Call<'p, F> {
    /// A pool of your own, as `f::on(&pool)`.
    ///
    /// What the attribute says about workers (`init`, `memory_limit`, `max_tasks_per_worker`) belongs to the function's own pool;
    /// here the options of `pool` count. A function with a `sandbox` runs on a pool that has one, or not at all.
    pub fn on<P: Pool<F>>(pool: &'p P) -> Self {
        Self { target: Some(pool.target()), options: F::spec().call, label: Label::NONE, _function: PhantomData }
    }

    /// How many items travel in one message, for the verbs over many items. Without it the number adapts to how long items
    /// take. Items of an `async fn` travel alone: as many as 16,384 of a map are under way at a time, and of an `imap` or a stream 128
    /// for each worker.
    ///
    /// # Panics
    ///
    /// If `items` is 0.
    #[doc(alias("chunksize"))]
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

    /// With the feature `progress`: shows how far a map has come, on standard error: this text, how many items have ended and how many of them without a
    /// result, how many a second, and how long it will take. On a terminal that is a bar; elsewhere it is a line after one second, two, four and so on, once a
    /// minute at last, and one at the end. For the verbs over many items: `map`, `try_map`, `starmap`, `map_async`, `imap`, `imap_unordered`, `stream`.
    ///
    /// For a display of your own, see [`MapTask::progress`](crate::MapTask::progress); to have the bar among your own, [`progress_in`](Call::progress_in).
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

    /// With the feature `progress`: the bar of a map is one of these, below those that are there. Its text is that of [`progress`](Call::progress), or the name of
    /// the function. Where and whether it is drawn is what the [`MultiProgress`](crate::indicatif::MultiProgress) says. What tasks
    /// print is not kept apart from these bars, as it is from those of [`progress`](Call::progress).
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

    /// Runs one item and waits for its result, like a plain call, on this thread: in `async` code, `submit(item).await` does not hold up
    /// its executor.
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

    /// Runs all items and gives their results, in the order of the items.
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

    /// Runs all items and gives each one's result or error, in the order of the items, whatever failed.
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

    /// Hands one item to the pool and returns at once. It may borrow what lives longer than the [`scope`](crate::scope()).
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

    /// [`map`](Call::map) under Python's name for functions of several parameters.
    #[track_caller]
    pub fn starmap<I: IntoItems<F::Item>>(&self, items: I) -> Vec<F::Output> {
        self.map(items)
    }
}

/// Nothing is it: so the compiler says which feature is missing.
#[cfg(not(feature = "progress"))]
#[diagnostic::on_unimplemented(
    message = "`progress` needs the feature `progress` of parallel-runtime",
    label = "there is no bar to show this beside",
    note = "in Cargo.toml: `parallel-runtime = {{ version = \"...\", features = [\"progress\"] }}`"
)]
pub trait NeedsProgress {}
