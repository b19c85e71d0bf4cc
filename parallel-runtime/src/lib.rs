//! Run ordinary functions in parallel: on threads, in separate worker processes, or on a Dask cluster.
//!
//! Put [`#[parallel]`](macro@parallel) on a function. Its calls then run on a pool, and a type of the same name offers the other ways to call it.
//!
//! ```
//! use parallel_runtime::parallel;
//!
//! #[parallel(pool = 2, mode = "process")]
//! fn area(width: u64, height: u64) -> u64 {
//!     width * height
//! }
//!
//! assert_eq!(area(3, 4), 12); // runs in a worker process and waits
//! let task = area::submit(5, 6); // does not wait
//! assert_eq!(area::map([(1, 2), (3, 4)]), [2, 12]); // many calls, results in order
//! assert_eq!(task.join().unwrap(), 30);
//! ```
//!
//! # Where to go next
//!
//! The [guide] is the book of this crate: start with [getting started](guide::getting_started), or with
//! [coming from Python](guide::from_python).
//!
//! | for | see |
//! | --- | --- |
//! | keys of the attribute, verbs, parameters by reference, methods | [`macro@parallel`] |
//! | pools | [`ThreadPool`], [`ProcessPool`], [`DaskPool`] |
//! | options of one call; code that is generic over annotated functions | [`Call`], [`ParallelFn`] |
//! | a submitted call, a map in the background, a process of its own | [`Task`], [`MapTask`], [`Spawned`] |
//! | results as they come | [`Call::imap`], [`Call::imap_unordered`], [`as_completed`], [`wait`](wait()) |
//! | async code: tasks are futures, many items a stream | [`Task`], [`Call::stream`] |
//! | borrowing in calls that do not wait | [`scope()`] |
//! | values that workers keep | [guide::state], [`CurrentWorker`] |
//! | what ran where, and for how long | [`Timeline`], [`PoolStats`], [guide::observing] |
//! | errors | [`TaskError`], [`PoolError`], [guide::faults] |
//! | large data without copies | [`SharedVec`], [`SharedSlice`], [`SharedNdArray`], [`SharedBatch`] |
//! | values that several processes change | [`SharedValue`], [`SharedArray`], [`SharedDict`], [`SharedList`], [`macro@shared`] |
//! | processes that wait for each other | [`SharedQueue`], [`SharedLock`], [`SharedEvent`], [`SharedBarrier`], [`SharedSemaphore`] |
//!
//! # Threads or processes
//!
//! Threads share memory: nothing is copied, and arguments only need to be [`Send`]. Processes share nothing: a crash costs one task, a library that
//! allows one call at a time runs once in each process, and arguments and results are copied, which takes about a microsecond for small ones.
//! [The guide](guide::choosing) compares them.
//!
//! # Faults
//!
//! A task in a worker process may crash, hang or leak. It costs that task; the pool goes on with a new worker. `timeout`, `retries`, `memory_limit`,
//! `max_tasks_per_worker` and `sandbox` are keys of the attribute and options of [`ProcessPool`]. [`TaskError`] says what happened.
//! The guide says what is guaranteed: [faults](guide::faults), and [security](guide::security) against workers that hostile input has taken over.
//!
//! # Async
//!
//! The body of an annotated `async fn` runs on a worker, many bodies at a time on each. Tasks and maps are futures under any executor.
//!
//! ```
//! use parallel_runtime::parallel;
//!
//! #[parallel(mode = "process", pool = 1)]
//! async fn word_count(text: String) -> usize {
//!     text.split(' ').count()
//! }
//!
//! // All of them are in progress at the same time, on one worker.
//! let counts = word_count::map((0..100).map(|words| "word ".repeat(words) + "end"));
//! assert_eq!(counts[99], 100);
//! ```
//!
//! # How processes work
//!
//! A worker is this executable, started again. A hook that runs before `main` turns it into a worker, so `main` needs no call. Calls go through memory
//! that program and workers share, without a thread between a caller and a worker. Workers end with the program, however it ends.
//! [The guide](guide::internals) has the details.
//!
//! # Examples
//!
//! The repository has whole programs, each run by `cargo run --release --example NAME`:
//!
//! | example | shows |
//! | --- | --- |
//! | `quickstart` | the verbs |
//! | `find_duplicates -- DIR` | hashing files serially, on threads, in processes |
//! | `crashy_parser` | a C parser full of bugs, in a sandbox |
//! | `double_in_place` | a hundred million numbers, copied and in shared memory |
//! | `shared_counter`, `shared_with_python` | a counter of several processes; an array shared with a Python program |
//! | `ndarray_stencil`, `arrow_groupby` | arrays and data frames in place |
//! | `async_service` | a web service that renders in workers |
//! | `timeline` | what ran where, as a page |
//! | `article` | Python's toolbox for parallel work, step by step |
//! | `examples/real` | HDF5, PDFium, CPython and Tesseract: see [guide::real_libraries] |
//!
//! # Platforms
//!
//! Everything works on 64-bit Linux. Processes also compile for macOS and FreeBSD, where nothing has run yet. Threads, and shared types within one
//! process, work everywhere. What a system lacks is a compile error at the key, or an error when the pool starts: see the
//! [table](guide::platforms).
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | adds |
//! | --- | --- |
//! | `sandbox` | [`Sandbox`], `sandbox = "strict"`: worker processes that may only compute |
//! | `ndarray` | [`SharedNdArray`]: N-dimensional arrays in shared memory, and their views as parameters |
//! | `arrow` | [`SharedBatch`]: Arrow record batches in shared memory |
//! | `dask` | [`DaskPool`], `mode = "dask"`: functions on a Dask cluster |
//! | `tokio` | bodies of `#[parallel] async fn`s run inside a tokio runtime |
//! | `progress` | `Call::progress`: a progress bar for a map |
//! | `dashboard` | `PARALLEL_DASHBOARD`: a page that shows what runs now |
//! | `tracing` | a span for each call, and the events of worker processes: see [observing](guide::observing) |
//! | `log` | the log records of worker processes: see [observing](guide::observing) |
//!
//! # Environment variables
//!
//! | variable | effect |
//! | --- | --- |
//! | `PARALLEL_MODE=serial`, `thread`, `process` or `dask` | where functions without a pool of their own run, and those of a `DaskPool`. `process` applies only to functions with that mode or `dask`, and `dask` only to those with `dask` |
//! | `PARALLEL_WORKERS=8` | workers of pools that leave their number open; one for each CPU without it |
//! | `PARALLEL_TIMELINE=run.html` or `run.json` | a record of all tasks, written when the program ends: see [`Timeline`] |
//! | `PARALLEL_DASHBOARD=127.0.0.1:8787` | the same while the program runs (feature `dashboard`): see [observing](guide::observing) |
//! | `PARALLEL_DASK=tcp://host:8786`, or else `DASK_SCHEDULER_ADDRESS` | the cluster of functions with `mode = "dask"`; without it they run in processes of this machine |
//! | `PARALLEL_PYTHON=path` | the Python interpreter that has the package `distributed`; `python3` without it |
//! | `PARALLEL_ARENA_SIZE=64GiB` | address space for shared memory; 1 TiB on Linux without it. For emulators, and under a limit on address space |
//! | `PARALLEL_ARENA=shm` | shared memory from `/dev/shm` instead of a memfd |
//! | `RUST_MIN_STACK=bytes` | the stack of tasks in workers; 8 MiB without it |
#![cfg_attr(not(feature = "dask"), doc = "\n\n[`DaskPool`]: guide::cluster")]
#![cfg_attr(not(feature = "sandbox"), doc = "\n\n[`Sandbox`]: guide::security")]
#![cfg_attr(not(feature = "ndarray"), doc = "\n\n[`SharedNdArray`]: guide::shared_memory")]
#![cfg_attr(not(feature = "arrow"), doc = "\n\n[`SharedBatch`]: guide::shared_memory")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backend;
mod call;
mod codec;
#[cfg(feature = "dask")]
mod dask;
mod environment;
mod error;
mod function;
// Nothing of it is code, so a build does not read it.
#[cfg(any(doc, doctest))]
pub mod guide;
mod ipc;
mod observe;
mod options;
mod panics;
mod pool;
#[doc(hidden)]
pub mod private;
mod process;
#[cfg_attr(not(feature = "dask"), allow(dead_code, reason = "only engines beyond this machine use all of it"))]
mod remote;
mod sandbox;
mod shared;
mod sys;
mod task;
mod thread;
mod wait;

// For functions that unit tests annotate.
#[cfg(test)]
extern crate self as parallel_runtime;

pub use call::{
    Call, Imap, ImapUnordered, IntoItems, OwnedFn, ParallelFn, Pool, ProcessFn, TaskStream, TrySubmitError,
};
pub use error::{PoolError, RemoteError, TaskError};
pub use function::OwnedSlice;
/// For [`Call::progress_in`], in the version that this crate uses.
#[cfg(feature = "progress")]
pub use indicatif;
pub use observe::stats::{Percentiles, PoolStats, WorkerLoad};
pub use observe::timeline::Timeline;
pub use parallel_macros::{parallel, shared};
#[cfg(feature = "dask")]
pub use pool::DaskPool;
pub use pool::{CurrentWorker, ProcessPool, ThreadPool, current_worker};
#[cfg(feature = "sandbox")]
pub use sandbox::Sandbox;
pub use shared::array::{SharedArray, SharedArrayGuard};
#[cfg(feature = "arrow")]
pub use shared::arrow::SharedBatch;
pub use shared::broken::{BrokenBarrier, Poisoned};
pub use shared::containers::dict::SharedDict;
pub use shared::containers::list::SharedList;
pub use shared::containers::queue::{Closed, SharedQueue, TryPushError};
#[cfg(feature = "ndarray")]
pub use shared::ndarray::{SharedArray1, SharedArray2, SharedArray3, SharedArrayD, SharedNdArray, SharedNdSlice};
pub use shared::objects::{SharedUsage, shared_usage};
pub use shared::raw::SharedElement;
pub use shared::slice::SharedSlice;
pub use shared::statics::{SharedObject, SharedStatic};
pub use shared::sync::barrier::SharedBarrier;
pub use shared::sync::event::SharedEvent;
pub use shared::sync::mutex::{SharedLock, SharedLockGuard};
pub use shared::sync::semaphore::{SharedPermit, SharedSemaphore};
pub use shared::value::{SharedPlain, SharedValue, SharedValueGuard};
pub use shared::vec::SharedVec;
pub use sys::cpu::cpu_count;
pub use task::{AsCompleted, MapTask, Scope, ScopedTask, Spawned, Task, WaitFor, Waited, as_completed, scope, wait};
