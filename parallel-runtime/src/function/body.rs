//! What a task does.

use std::pin::Pin;

use crate::wait::executor::drive;

/// What a task does: a call, or the future of an `async fn`.
pub enum Body<R> {
    /// It keeps its thread until it returns.
    Call(Box<dyn FnOnce() -> R + Send>),
    /// It gives its thread back whenever it waits.
    Future(Pin<Box<dyn Future<Output = R> + Send>>),
}

impl<R: 'static> Body<R> {
    /// A call.
    pub fn call(call: impl FnOnce() -> R + Send + 'static) -> Self {
        Self::Call(Box::new(call))
    }

    /// A future.
    pub fn future(future: impl Future<Output = R> + Send + 'static) -> Self {
        Self::Future(Box::pin(future))
    }

    pub(crate) fn is_future(&self) -> bool {
        matches!(self, Self::Future(_))
    }

    /// The same, and then something else with its result.
    pub(crate) fn then<S: 'static>(self, then: impl FnOnce(R) -> S + Send + 'static) -> Body<S> {
        match self {
            Self::Call(call) => Body::call(move || then(call())),
            Self::Future(future) => Body::future(async move { then(future.await) }),
        }
    }

    /// The same, unless `is_wanted` says at its start that it is not wanted any more.
    pub(crate) fn when(self, is_wanted: impl FnOnce() -> bool + Send + 'static) -> Body<Option<R>> {
        match self {
            Self::Call(call) => Body::call(move || is_wanted().then(call)),
            Self::Future(future) => Body::future(async move { if is_wanted() { Some(future.await) } else { None } }),
        }
    }
}

impl<R> Body<R> {
    /// Runs it to its end on this thread.
    pub(crate) fn run(self) -> R {
        match self {
            Self::Call(call) => call(),
            Self::Future(future) => drive(future),
        }
    }
}
