//! Which pools can run which functions.

use super::function::{ParallelFn, ProcessFn};
#[cfg(feature = "dask")]
use crate::pool::DaskPool;
use crate::pool::{ProcessPool, ThreadPool};

/// A pool that can run the annotated function `F`: a [`ThreadPool`] runs every one, a [`ProcessPool`] those with
/// `mode = "process"` or `"dask"`, and so does a `DaskPool`. Implemented by these alone.
pub trait Pool<F: ParallelFn>: sealed::Sealed {}

impl<F: ParallelFn> Pool<F> for ThreadPool {}
impl<F: ProcessFn> Pool<F> for ProcessPool {}
#[cfg(feature = "dask")]
impl<F: ProcessFn> Pool<F> for DaskPool {}

mod sealed {
    use crate::backend::Target;
    use crate::pool::{ProcessPool, ThreadPool};

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
    impl Sealed for crate::pool::DaskPool {
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
