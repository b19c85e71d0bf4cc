//! Which pools can run which functions.

use super::function::{ParallelFn, ProcessFn};
#[cfg(feature = "dask")]
use crate::pool::DaskPool;
use crate::pool::{AnyPool, ProcessPool, ThreadPool};

/// A pool that can run the annotated function `F`: a [`ThreadPool`] runs every one, a [`ProcessPool`] those with
/// `mode = "process"` or `"dask"`, and so does a `DaskPool`. Implemented by these alone.
pub trait Pool<F: ParallelFn>: AnyPool {}

impl<F: ParallelFn> Pool<F> for ThreadPool {}
impl<F: ProcessFn> Pool<F> for ProcessPool {}
#[cfg(feature = "dask")]
impl<F: ProcessFn> Pool<F> for DaskPool {}
