//! Pools: threads or worker processes that run the calls of annotated functions.

mod any;
mod current;
#[cfg(feature = "dask")]
mod dask;
pub(crate) mod default;
mod process;
mod spec;
mod thread;

#[expect(unreachable_pub, reason = "a supertrait of `Pool`, which cannot be named outside")]
pub use any::AnyPool;
pub use current::{CurrentWorker, current_worker};
#[cfg(feature = "dask")]
pub use dask::DaskPool;
pub use process::ProcessPool;
pub use spec::Spec;
pub use thread::ThreadPool;
