//! What an annotated function is to the runtime: a type that implements [`ParallelFn`].

mod body;
pub(crate) mod init;
mod outlet;
mod parameter;
pub(crate) mod pass_mode;
pub(crate) mod referents;
mod remote;

pub use body::Body;
pub(crate) use outlet::{Delivered, Encode, Overflow, Placed};
pub use outlet::{Outlet, ServeError};
pub use parameter::{ByMut, ByRef, ByValue, IntoOwned, Lend, LendMut, One, OwnedSlice};
pub use remote::Remote;
pub(crate) use remote::{Received, code, entry_of, header, serve_at};

use std::sync::{Arc, Mutex, PoisonError};

use crate::codec::{CodecError, Reader, Writer};
use crate::function::pass_mode::Returned;
use crate::pool::Spec;

/// A function annotated with [`#[parallel]`](crate::parallel).
///
/// The attribute implements it for the type that stands beside the function under the same name; use it as a bound to write
/// code over annotated functions.
///
/// ```
/// use parallel_runtime::{Call, ParallelFn, parallel};
///
/// #[parallel]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// fn sum<F: ParallelFn<Item = u64, Output = u64>>(items: Vec<u64>) -> u64 {
///     Call::<F>::new().map(items).into_iter().sum()
/// }
/// assert_eq!(sum::<square>(vec![1, 2, 3]), 14);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a function annotated with `#[parallel]`",
    label = "not an annotated function"
)]
pub trait ParallelFn: Sized {
    /// The arguments of one call: the argument itself for a function of one parameter, a tuple for more, `()` for none.
    type Item: Send;

    /// What the function returns.
    type Output: Send;

    /// Whether it is an `async fn`: then many of its bodies run at a time on one worker.
    #[doc(hidden)]
    const IS_ASYNC: bool = false;

    /// What the attribute says: name, mode, pool, options.
    fn spec() -> &'static Spec;

    /// Calls the function right here.
    fn run(item: Self::Item) -> Self::Output;

    /// The call, apart from its caller; or the item, if it may hold borrows of the caller's.
    #[doc(hidden)]
    fn detach(item: Self::Item) -> Result<Detached<Self::Output>, Self::Item> {
        Err(item)
    }

    /// How a call crosses a process border; `None` for a function that is not `mode = "process"`.
    #[doc(hidden)]
    fn remote() -> Option<Remote<Self::Item, Self::Output>> {
        None
    }
}

/// A call that can outlive its caller.
#[doc(hidden)]
pub struct Detached<R> {
    pub(crate) body: Body<()>,
    pub(crate) output: Arc<Mutex<Option<R>>>,
}

/// A call of `F` that holds no borrows.
#[doc(hidden)]
pub fn detached<F: ParallelFn<Item: 'static, Output: 'static>>(item: F::Item) -> Detached<F::Output> {
    detached_body(Body::call(move || F::run(item)))
}

/// The same for an `async fn`.
#[doc(hidden)]
pub fn detached_body<R: Send + 'static>(body: Body<R>) -> Detached<R> {
    let output = Arc::new(Mutex::new(None));
    let theirs = Arc::clone(&output);
    let body = body.then(move |value| *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(value));
    Detached { body, output }
}

/// An annotated function whose calls can outlive the expression that makes them: its arguments have an owned form and its
/// result borrows nothing.
#[diagnostic::on_unimplemented(
    message = "`{Self}` returns a borrow of its arguments, so only the blocking verbs (a plain call, `map`, `try_map`, `starmap`, `inline`) can run it",
    label = "this verb outlives the arguments"
)]
pub trait OwnedFn: ParallelFn<Output: 'static> {
    /// The kinds of the parameters, which say what their owned forms are made from.
    #[doc(hidden)]
    type Parameters;

    /// The arguments in their owned form: `String` for `&str`, what a `Vec<T>` or a `SharedVec<T>` is turned into for `&[T]`.
    type Owned: Send + 'static;

    /// Calls the function right here with owned arguments.
    #[doc(hidden)]
    fn run_owned(item: Self::Owned) -> Self::Output;

    /// The call, with its arguments.
    #[doc(hidden)]
    fn body(item: Self::Owned) -> Body<Self::Output> {
        Body::call(move || Self::run_owned(item))
    }

    /// How a call with owned arguments crosses a process border; `None` for a function that is not `mode = "process"`.
    #[doc(hidden)]
    fn remote_owned() -> Option<Remote<Self::Owned, Self::Output>> {
        None
    }
}

/// An annotated function that can run in a worker process: one with `mode = "process"`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run on a `ProcessPool`",
    label = "this function is not `mode = \"process\"`",
    note = "annotate it with `#[parallel(mode = \"process\")]`: it may then run on either kind of pool"
)]
pub trait ProcessFn: ParallelFn {
    /// Worker: decodes the arguments of one item, runs the function, delivers its result.
    #[doc(hidden)]
    fn serve(reader: &mut Reader<'_>, outlet: &mut Outlet<'_>) -> Result<(), ServeError>;

    /// Program: encodes the arguments of one item.
    #[doc(hidden)]
    fn send(item: &Self::Item, writer: &mut Writer<'_>) -> Result<(), CodecError>;

    /// Program: decodes the output of one item.
    #[doc(hidden)]
    fn receive(returned: &mut Returned<'_>) -> Result<Self::Output, CodecError>;

    /// Whether there is anything to take back.
    #[doc(hidden)]
    const TAKES_BACK: bool = false;

    /// Program: copies what the function changed into the caller's memory.
    #[doc(hidden)]
    fn take_back(item: &mut Self::Item, returned: &mut Returned<'_>) -> Result<(), CodecError> {
        let _ = (item, returned);
        Ok(())
    }
}

/// A function that is both: its owned arguments can cross.
#[doc(hidden)]
pub trait ProcessOwnedFn: ProcessFn + OwnedFn {
    /// Program: encodes the arguments of one item.
    fn send_owned(item: &Self::Owned, writer: &mut Writer<'_>) -> Result<(), CodecError>;

    /// Program: copies what the function changed back, as [`ProcessFn::take_back`].
    fn take_back_owned(item: &mut Self::Owned, returned: &mut Returned<'_>) -> Result<(), CodecError> {
        let _ = (item, returned);
        Ok(())
    }
}
