//! Pools: threads or worker processes that run the calls of annotated functions.

#[cfg(feature = "dask")]
mod dask;
pub(crate) mod default;
mod process;
mod spec;
mod thread;

use std::sync::Arc;

#[cfg(feature = "dask")]
pub use dask::DaskPool;
pub use process::ProcessPool;
pub use spec::Spec;
pub use thread::ThreadPool;

use crate::function::{ParallelFn, ProcessFn};
use crate::remote::carrier::Carrier;
use crate::thread as thread_engine;

/// Where calls run.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// On the caller's thread.
    Here,
    Thread(Arc<thread_engine::Engine>),
    Remote(Carrier),
}

/// A pool that can run the annotated function `F`: a [`ThreadPool`] runs every one, a [`ProcessPool`] those with
/// `mode = "process"` or `"dask"`, and so does a `DaskPool`. Implemented by these alone.
pub trait Pool<F: ParallelFn>: sealed::Sealed {}

impl<F: ParallelFn> Pool<F> for ThreadPool {}
impl<F: ProcessFn> Pool<F> for ProcessPool {}
#[cfg(feature = "dask")]
impl<F: ProcessFn> Pool<F> for DaskPool {}

mod sealed {
    use super::{ProcessPool, Target, ThreadPool};

    pub trait Sealed {
        #[expect(private_interfaces, reason = "nobody outside can name this trait")]
        fn target(&self) -> &Target;
    }

    #[expect(private_interfaces, reason = "nobody outside can name this trait")]
    impl Sealed for ThreadPool {
        fn target(&self) -> &Target {
            self.target()
        }
    }

    #[cfg(feature = "dask")]
    #[expect(private_interfaces, reason = "nobody outside can name this trait")]
    impl Sealed for super::DaskPool {
        fn target(&self) -> &Target {
            self.target()
        }
    }

    #[expect(private_interfaces, reason = "nobody outside can name this trait")]
    impl Sealed for ProcessPool {
        fn target(&self) -> &Target {
            self.target()
        }
    }
}
