//! What a task does.

use crate::function::erased::ErasedValue;
use crate::function::table::{ErasedFuture, FunctionTable};
use crate::wait::executor;

/// What a task does.
pub(crate) enum Body {
    /// A call of a function with an item of its own.
    Item(&'static FunctionTable, ErasedValue<'static>),
    /// It keeps its thread until it returns.
    Call(Box<dyn FnOnce() -> ErasedValue<'static> + Send>),
    /// It gives its thread back whenever it waits.
    Future(ErasedFuture),
}

impl Body {
    /// A call of a function: its future, if it is an `async fn`.
    ///
    /// # Safety
    ///
    /// The value is an item of this function.
    pub(crate) unsafe fn of(function: &'static FunctionTable, item: ErasedValue<'static>) -> Self {
        let Some(future) = function.future else { return Self::Item(function, item) };
        // SAFETY: the item is one of this function.
        let begin = |item: *mut u8| unsafe { future(item) };
        // SAFETY: the future takes the item over at once.
        Self::Future(unsafe { item.take(begin) })
    }

    pub(super) fn is_future(&self) -> bool {
        matches!(self, Self::Future(_))
    }

    /// Runs it to its end on this thread.
    pub(super) fn run(self) -> ErasedValue<'static> {
        match self {
            // SAFETY: the item is one of this function: see `of`.
            Self::Item(function, item) => unsafe { function.call(item) },
            Self::Call(call) => call(),
            Self::Future(future) => executor::drive(future),
        }
    }
}
