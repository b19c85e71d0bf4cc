//! Ordinary functions in parallel, on threads or in separate worker processes.
//!
//! Put [`#[parallel]`](macro@parallel) on a function: its calls then run on a pool, and beside it stands a type of the same name
//! with the verbs to call it by.
//!
//! ```
//! use parallel_runtime::parallel;
//!
//! #[parallel(pool = 2, mode = "process")]
//! fn area(width: u64, height: u64) -> u64 {
//!     width * height
//! }
//!
//! assert_eq!(area(3, 4), 12); // in a worker process; waits
//! let task = area::submit(5, 6); // does not wait
//! assert_eq!(area::map([(1, 2), (3, 4)]), [2, 12]); // many, in order
//! assert_eq!(task.join().unwrap(), 30);
//! ```
//!
//! # Where to go on
//!
//! | you want | look at |
//! | --- | --- |
//! | all keys and verbs, parameters by reference, methods | [`macro@parallel`] |
//! | a pool of your own, its life | [`ThreadPool`], [`ProcessPool`] |
//! | a cluster | [`DaskPool`](https://docs.rs/parallel-runtime/latest/parallel_runtime/struct.DaskPool.html), and the [book](https://github.com/parallel-rs/parallel/blob/main/docs/src/cluster.md) |
//! | options for one call, code over annotated functions | [`Call`], [`ParallelFn`] |
//! | a submitted call, a map in the background, a process of its own | [`Task`], [`MapTask`], [`Spawned`] |
//! | results as they come, of many items or of many tasks | [`Call::imap`], [`Call::imap_unordered`], [`as_completed`], [`wait`](wait()) |
//! | `async`: tasks are futures, many items a stream | [`Task`], [`Call::stream`] |
//! | to see what ran where, and how long it took | [`Timeline`], [`PoolStats`] |
//! | to borrow in calls that do not wait | [`scope()`] |
//! | what can go wrong | [`TaskError`], [`PoolError`] |
//! | big data without copies | [`SharedVec`], [`SharedSlice`] |
//! | values that several processes change | [`SharedValue`], [`SharedArray`], [`SharedDict`], [`SharedList`], [`macro@shared`] |
//! | processes that wait for each other | [`SharedQueue`], [`SharedLock`], [`SharedEvent`], [`SharedBarrier`], [`SharedSemaphore`] |
//!
//! # Threads or processes
//!
//! Threads share memory: nothing is copied, and everything `Send` can be passed. Processes share nothing: a crash costs one task,
//! a library that allows one call at a time runs once in each, and arguments and results are copied, which takes about a
//! microsecond for small ones. The function is the same, so try both.
//!
//! # Faults
//!
//! A task in a worker process may crash, hang or leak: it costs that task, and the pool goes on. `timeout`, `retries`,
//! `memory_limit`, `max_tasks_per_worker` and `sandbox` are keys of the attribute and options of [`ProcessPool`]; [`TaskError`]
//! says what happened. What holds when is in the book: [faults](https://github.com/parallel-rs/parallel/blob/main/docs/src/faults.md), and
//! [security](https://github.com/parallel-rs/parallel/blob/main/docs/src/security.md) against workers that untrusted input has taken over.
//!
//! | feature | gives |
//! | --- | --- |
//! | `sandbox` | `sandbox = "strict"`, [`Sandbox`](https://docs.rs/parallel-runtime/latest/parallel_runtime/struct.Sandbox.html): worker processes that may only compute |
//! | `ndarray` | [`SharedNdArray`](https://docs.rs/parallel-runtime/latest/parallel_runtime/struct.SharedNdArray.html): N-dimensional arrays in shared memory, and their views as parameters |
//! | `arrow` | [`SharedBatch`](https://docs.rs/parallel-runtime/latest/parallel_runtime/struct.SharedBatch.html): Arrow record batches in shared memory |
//! | `dask` | `mode = "dask"`, [`DaskPool`](https://docs.rs/parallel-runtime/latest/parallel_runtime/struct.DaskPool.html): functions on a Dask cluster |
//! | `tokio` | the bodies of `#[parallel] async fn`s run inside a tokio runtime |
//! | `progress` | `Call::progress`: a bar that shows how far a map has come |
//! | `tracing` | a span for each call (target `parallel`, level INFO, with `function`, `items`, `pool`, `worker`, `queued_us`, `ran_us`, `end`), and the events of tasks in worker processes, with the spans around them, for the program's subscriber; not those of `init`, which may set a subscriber of its own. Filter by `parallel=info` beside your own crate; the times are recorded when the span ends, so they show with `FmtSpan::CLOSE`. A span ends when the end of its task is seen |
//! | `log` | the records of the `log` crate that tasks log in worker processes, for the program's logger, before the results of the tasks; not those of `init`, which may set a logger of its own. While the program's level is not `Off`, submitted tasks do not travel together |
//!
//! # Async
//!
//! An annotated `async fn` is awaited where it is called, and its body runs on a worker, many at a time on each. Tasks and maps are
//! futures, under any executor.
//!
//! ```
//! use parallel_runtime::parallel;
//!
//! #[parallel(mode = "process", pool = 1)]
//! async fn word_count(text: String) -> usize {
//!     text.split(' ').count()
//! }
//!
//! // All of them are under way at the same time, on one worker.
//! let counts = word_count::map((0..100).map(|words| "word ".repeat(words) + "end"));
//! assert_eq!(counts[99], 100);
//! ```
//!
//! # How processes work
//!
//! A worker is this executable, run again; a hook that runs before `main` turns it into a worker, so no call in `main` is needed.
//! Calls go through memory that program and workers share (a nameless memfd or shared-memory object), without any thread between a caller and
//! a worker. Workers end with the program, however it ends.
//!
//! # Systems
//!
//! Everything works on 64-bit Linux. Processes also on macOS and FreeBSD, where nothing has run so far; threads, and shared types within one process,
//! everywhere. What a system lacks is a compile error at the key, or an error when the pool starts: see the
//! [table](https://github.com/parallel-rs/parallel/blob/main/docs/src/platforms.md).
//!
//! # Environment
//!
//! | variable | effect |
//! | --- | --- |
//! | `PARALLEL_MODE=serial`, `thread`, `process`, `dask` | where functions without a pool of their own run, and those of a `DaskPool`; `process` only where the function has that mode or `dask`, `dask` only where it has that |
//! | `PARALLEL_DASK=tcp://host:8786`, or else `DASK_SCHEDULER_ADDRESS` | the cluster of functions with `mode = "dask"`; without it they run in processes of this machine |
//! | `PARALLEL_PYTHON=path` | the Python interpreter with the package `distributed`; `python3` without it |
//! | `PARALLEL_WORKERS=n` | workers of pools that leave their number open |
//! | `PARALLEL_TIMELINE=run.html`, `run.json` | a record of all tasks, written when the program exits: see [`Timeline`] |
//! | `PARALLEL_ARENA_SIZE=64GiB` | address space for shared memory, 1 TiB on Linux without it: for emulators, and under a limit on address space |
//! | `PARALLEL_ARENA=shm` | shared memory from `/dev/shm` instead of a memfd |
//! | `RUST_MIN_STACK=bytes` | the stack of tasks in workers, 8 MiB without it |

mod backend;
mod call;
mod codec;
#[cfg(feature = "dask")]
mod dask;
mod environment;
mod error;
mod function;
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
