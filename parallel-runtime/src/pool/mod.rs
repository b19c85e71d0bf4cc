//! Pools: threads or worker processes that run the calls of annotated functions.

mod any;
#[cfg(feature = "dask")]
mod dask;
pub(crate) mod default;
mod process;
mod spec;
mod thread;

#[expect(unreachable_pub, reason = "a supertrait of `Pool`, which cannot be named outside")]
pub use any::AnyPool;
#[cfg(feature = "dask")]
pub use dask::DaskPool;
pub use process::ProcessPool;
pub use spec::Spec;
pub use thread::ThreadPool;
