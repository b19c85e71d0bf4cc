//! The `#[parallel]` attribute. Use it through the `parallel-runtime` crate, which re-exports and documents it.
//!
//! One file for each step: `options` reads the attribute's arguments, `source`, `attributes`, `state`, `function`, `signature` and `parameter` what was annotated,
//! `lifetimes` gives names to lifetimes that have none, `expand` writes what a function becomes, of `pieces`, with its `verbs` and what `remote`
//! processes need, `methods` takes `impl` blocks apart. `shared` is the attribute for statics.

mod attributes;
mod documentation;
mod expand;
mod function;
mod lifetimes;
mod methods;
mod options;
mod parameter;
mod pieces;
mod remote;
mod shared;
mod signature;
mod source;
mod state;
#[cfg(test)]
mod tests;
mod units;
mod verbs;

use proc_macro::TokenStream;
use quote::quote;

/// Runs the calls of a function on a pool of threads or worker processes.
///
/// The function keeps its signature. A type of the same name has the verbs: `f::submit`, `f::map` and so on.
///
/// ```
/// use parallel_runtime::parallel;
///
/// #[parallel(pool = 2, mode = "process")]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// assert_eq!(square(3), 9);
/// assert_eq!(square::map(0..4), [0, 1, 4, 9]);
/// ```
///
/// # Keys
///
/// | key | value | default | meaning |
/// | --- | --- | --- | --- |
/// | `mode` | `"thread"`, `"process"`, `"serial"`, `"dask"` | `"thread"` | where the function runs |
/// | `pool` | a number, or the path of a `static` pool | one worker for each CPU that this process may use | the number of workers, or the pool; 0 is the default |
/// | `chunk` | a number | adaptive | items in a message, for verbs over many items |
/// | `crate` | a path in quotes | `"::parallel_runtime"` | where the expansion finds the runtime |
/// | `timeout` | `"250ms"`, `"5s"`, `"2m"` | none | the time limit of a task, from its start; in a process the task is then ended, on a thread it runs on |
/// | `retries` | a number | 0 | further tries if the worker process died or the task timed out, not after a panic or an `Err` |
/// | `max_tasks_per_worker` | a number | none | replaces a worker process after so many tasks |
/// | `memory_limit` | `"512MiB"` | none | limits the private memory of a worker process, beyond what a fresh one has; Linux |
/// | `init` | the path of a `fn()` | none | runs once in each worker before its first task |
/// | `state` | the path of a `fn() -> T` | none | makes the value that each worker keeps between tasks, for the parameter with `#[worker]` |
/// | `sandbox` | `"strict"` | none | worker processes without network, new files or new programs; Linux, needs the feature `sandbox` |
///
/// Functions with the same mode, size and worker options share a default pool, which starts at first use. The last five keys are options of workers: with the path of a
/// pool they are set where the pool is declared, except `state`, which the function may have as well.
///
/// `mode = "dask"` needs the feature of that name. The cluster is that of the `static` pool (a `DaskPool`), or of `PARALLEL_DASK`. Without either, the function runs in
/// worker processes of this machine, as many as `pool` says. What is said of `mode = "process"` below applies, except that shared memory is copied.
///
/// # Verbs
///
/// For `#[parallel] fn f(a: A, b: B) -> R`; an *item* is `(A, B)`, or `A` alone for a function of one parameter, or `()`.
///
/// | call | result |
/// | --- | --- |
/// | `f(a, b)` | `R`: runs on the pool and waits; panics if the task fails |
/// | `f::submit(a, b)` | `Task<R>`, at once; waits only if the pool has a `queue` and it is full |
/// | `f::try_submit(a, b)` | the same, or the arguments if that queue is full |
/// | `f::map(items)`, `f::starmap(items)` | `Vec<R>`, in order; panics if an item fails |
/// | `f::try_map(items)` | `Vec<Result<R, TaskError>>`, one for each item |
/// | `f::map_async(items)`, `f::starmap_async(items)` | `MapTask<R>`, at once |
/// | `f::imap(items)`, `f::imap_unordered(items)` | a lazy iterator of results as they come, in order or with the item's number |
/// | `f::stream(items)` | the same as a `futures_core::Stream` |
/// | `f::scoped(scope, a, b)` | `ScopedTask<R>`, at once; may borrow what outlives the `scope` |
/// | `f::spawn(a, b)` | `Spawned<R>`: a thread or process of its own |
/// | `f::inline(a, b)` | `R`: the plain function, in place |
/// | `f::on(&pool)`, `f::options()` | `Call`: the same verbs over items, on another pool or with options |
///
/// # Parameters
///
/// Parameters and results are `Send`; with `mode = "process"` they also implement serde's `Serialize` and `Deserialize`. A generic parameter of such a function is bounded by
/// `Serialize + DeserializeOwned + Send + 'static`.
///
/// Verbs that wait (a plain call, `map`, `try_map`, `starmap`) take references as they are: `&T`, `&str`, `&[T]`, `&mut [T]`. The other verbs take owned forms: `String` for
/// `&str`, `PathBuf` for `&Path`, `T` for `&T`, `Vec<T>` or `SharedVec<T>` for `&[T]`. To see the changes of a `&mut` parameter use a verb that waits, or pass a `SharedVec<T>` by value and return it.
///
/// With `mode = "process"` a slice of plain numbers in shared memory (a part of a `SharedVec` or `SharedSlice`) is passed by its place. Any other slice is copied to the
/// worker, and a `&mut` slice back. If the task fails, the caller's slice is unchanged, and each of its `retries` starts from there. A function that returns a borrow of its
/// arguments has the waiting verbs only, and no `mode = "process"`.
///
/// # What a worker keeps
///
/// A parameter with `#[worker]`, `&T` or `&mut T`, is not an argument: callers do not see it. It is a value that each worker (a process, or a thread of a thread pool)
/// keeps between tasks, such as an open document, a loaded model or a cache. `state` names the function that makes it, before the worker's first task that needs it. A pool can
/// make it from a configuration (`ProcessPool::state_with`, `ThreadPool::state_with`), and takes precedence. The value need be neither `Send` nor serialisable. It is dropped
/// when the worker ends in order, and made again after a task that used it has panicked. In place (`mode = "serial"`, `f::inline`, nested calls) it belongs to the calling
/// thread. In an `async fn` it is `&T`, where `T` is `Send + Sync`.
///
/// ```
/// use std::collections::HashMap;
///
/// use parallel_runtime::parallel;
///
/// #[parallel(mode = "process", pool = 2, state = HashMap::new)]
/// fn seen(#[worker] words: &mut HashMap<String, u32>, word: String) -> u32 {
///     let count = words.entry(word).or_default();
///     *count += 1;
///     *count
/// }
///
/// assert_eq!(seen("a".to_owned()), 1);
/// ```
///
/// # Async
///
/// An `async fn` keeps its signature: `f(x).await` does not block the caller's executor. Its body runs on a worker, many bodies at a time on each, as in `asyncio`. A body frees
/// the worker's thread whenever it waits, so it should not block, also not on a shared object (`SharedQueue::pop`, a lock, a semaphore). It is `Send`, and each item of a
/// `map` is sent alone. With the feature `tokio` it is polled inside a tokio runtime. Dropping the future before the task has started cancels it; a running task goes on: to end
/// it, keep the `Task` of `f::submit(x)` and `kill` it. `f::inline(x)` is the plain `async fn`.
///
/// Its parameters may be `&T`, `&str` and `&[T]`, not `&mut`. The future of a plain call may be leaked while the task runs, so its body works on a copy of what they refer to,
/// which must be `Clone`. `map`, `try_map` and `scoped` borrow: on threads each body then keeps its thread until it ends.
///
/// ```
/// use parallel_runtime::parallel;
///
/// #[parallel(mode = "process", pool = 2)]
/// async fn word_count(text: String) -> usize {
///     text.split_whitespace().count()
/// }
///
/// async fn both() -> usize {
///     word_count("one two".to_owned()).await + word_count("three".to_owned()).await
/// }
/// # use std::task::{Context, Poll, Waker};
/// # let mut future = std::pin::pin!(both());
/// # let count = loop {
/// #     if let Poll::Ready(count) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
/// #         break count;
/// #     }
/// # };
/// # assert_eq!(count, 3);
/// ```
///
/// # Methods
///
/// Put a bare `#[parallel]` on the `impl` block and the keys on its methods. `Foo::area_call()`, and the type `Foo_area` beside the block, have the verbs of `Foo::area`,
/// with the receiver as first argument.
///
/// ```
/// use parallel_runtime::parallel;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Square(u64);
///
/// #[parallel]
/// impl Square {
///     #[parallel(mode = "process", pool = 2)]
///     fn times(&self, factor: u64) -> u64 {
///         self.0 * self.0 * factor
///     }
/// }
///
/// assert_eq!(Square(3).times(2), 18);
/// assert_eq!(Square::times_call().map([(&Square(1), 1), (&Square(2), 10)]), [1, 40]);
/// assert_eq!(Square_times::map([(&Square(3), 1)]), [9]);
/// ```
///
/// # Limits
///
/// * `#[track_caller]` in the body sees the runtime, not the caller.
/// * `impl Trait` parameters and results, and `unsafe`, `const` and `extern` functions are refused.
/// * A module and a function of the same name, re-exported together (`mod work; pub use work::work;`), clash with the type.
#[proc_macro_attribute]
pub fn parallel(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let original = proc_macro2::TokenStream::from(item.clone());
    match methods::expand_any(arguments.into(), item.into()) {
        Ok(tokens) => tokens.into(),
        Err(error) => {
            // The item stays, so that an editor goes on to know it.
            let errors = error.to_compile_error();
            let item = methods::without_attributes(original);
            quote!(#item #errors).into()
        }
    }
}

/// Makes a static the same in the program and in every worker process, without passing it to tasks.
///
/// Its type is a handle of a shared object: `SharedValue`, `SharedArray`, `SharedSlice`, `SharedDict`, `SharedList`, `SharedQueue`,
/// `SharedLock`, `SharedEvent`, `SharedBarrier` or `SharedSemaphore`. The first process that uses it
/// evaluates its expression, once. The static derefs to its type.
///
/// ```
/// use parallel_runtime::{SharedArray, SharedValue, parallel, shared};
///
/// #[shared]
/// static HITS: SharedValue<u64> = SharedValue::new(0);
///
/// #[shared]
/// static BY_DIGIT: SharedArray<u64> = SharedArray::new(10);
///
/// #[parallel(mode = "process", pool = 2)]
/// fn note(digit: usize) {
///     HITS.update(|hits| *hits += 1);
///     BY_DIGIT.update(digit, |times| *times += 1);
/// }
///
/// note::map([1, 4, 1]);
/// assert_eq!((HITS.get(), BY_DIGIT.get(1)), (3, 2));
/// ```
///
/// A clone of the static (`HITS.clone()`) is a handle of the same object. The static must be part of the executable itself, not of a
/// shared library. `#[shared(crate = "path")]` says where the expansion finds the runtime.
#[proc_macro_attribute]
pub fn shared(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let original = proc_macro2::TokenStream::from(item.clone());
    match shared::expand(arguments.into(), item.into()) {
        Ok(tokens) => tokens.into(),
        Err(error) => {
            let errors = error.to_compile_error();
            quote!(#original #errors).into()
        }
    }
}
