//! Ordinary functions in parallel, on threads or in separate worker processes.
#![doc = ""]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!(
    "parallel-runtime runs on 64-bit Linux so far: worker processes are found through /proc/self/exe and share a memfd"
);

mod call;
mod codec;
mod cpu;
mod environment;
mod error;
mod function;
mod options;
mod panics;
mod pool;
#[doc(hidden)]
pub mod private;
mod process;
mod shared;
mod sync;
mod task;
mod thread;

pub use call::Call;
pub use cpu::cpu_count;
pub use error::{PoolError, TaskError};
pub use function::{OwnedFn, ParallelFn, ProcessFn};
pub use parallel_macros::parallel;
pub use pool::{Pool, PoolStats, ProcessPool, ThreadPool};
pub use task::{MapTask, Spawned, Task};
