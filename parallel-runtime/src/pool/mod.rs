//! Pools: threads or worker processes that run the calls of annotated functions.

#[cfg(feature = "dask")]
mod dask;
pub(crate) mod default;
mod process;
mod spec;
mod thread;

#[cfg(feature = "dask")]
pub use dask::DaskPool;
pub use process::ProcessPool;
pub use spec::Spec;
pub use thread::ThreadPool;
