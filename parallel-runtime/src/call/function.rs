//! What an annotated function is: a type that implements [`ParallelFn`].

use std::marker::PhantomData;

use crate::codec::{CodecError, Reader, Writer};
use crate::error::TaskError;
use crate::function::pass_mode::Returned;
use crate::function::remote::RemoteTable;
use crate::function::table::ErasedFuture;
use crate::function::{ResultWriter, ServeError};
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

    /// Its path.
    #[doc(hidden)]
    const NAME: &'static str;

    /// Says that a call is bound to nothing of its caller's; `None` if its arguments may borrow.
    #[doc(hidden)]
    const DETACHED: Option<Detached<Self>> = None;

    /// Whether it is an `async fn`: then many of its bodies run at a time on one worker.
    #[doc(hidden)]
    const IS_ASYNC: bool = false;

    /// How a call crosses a process border; `None` for a function that is not `mode = "process"`.
    #[doc(hidden)]
    const REMOTE: Option<Remote<Self>> = None;

    /// Makes what the function keeps on this thread; `None` for one without a `#[worker]` parameter.
    #[doc(hidden)]
    const KEEP: Option<fn() -> Result<(), TaskError>> = None;

    /// What the attribute says: mode, pool, options.
    fn spec() -> &'static Spec;

    /// Calls the function right here.
    fn run(item: Self::Item) -> Self::Output;
}

/// Says that the items of `F` borrow nothing. It can be made only where the compiler sees that, and it is that of `F` alone: one of another
/// lifetime does not pass for it.
///
/// ```compile_fail,E0308
/// use std::marker::PhantomData;
///
/// use parallel_runtime::ParallelFn;
/// use parallel_runtime::private::{Detached, Mode, Spec};
///
/// struct First<'a>(PhantomData<fn(&'a ())>);
///
/// impl<'a> ParallelFn for First<'a> {
///     type Item = &'a Vec<u8>;
///     type Output = u8;
///     const NAME: &'static str = "first";
///     const DETACHED: Option<Detached<Self>> = {
///         let forged: Option<Detached<First<'static>>> = Some(Detached::<First<'static>>::call());
///         forged
///     };
///     fn spec() -> &'static Spec {
///         static SPEC: Spec = Spec::new("first", Mode::Thread);
///         &SPEC
///     }
///     fn run(bytes: &'a Vec<u8>) -> u8 {
///         bytes[0]
///     }
/// }
/// ```
#[doc(hidden)]
#[derive(Debug)]
pub struct Detached<F> {
    /// Of an `async fn`.
    pub(super) future: Option<unsafe fn(*mut u8) -> ErasedFuture>,
    pub(super) _function: PhantomData<fn(F) -> F>,
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

    /// How a call with owned arguments crosses a process border; `None` for a function that is not `mode = "process"`.
    #[doc(hidden)]
    const REMOTE_OWNED: Option<RemoteOwned<Self>> = None;

    /// Calls the function right here with owned arguments.
    #[doc(hidden)]
    fn run_owned(item: Self::Owned) -> Self::Output;

    /// The same as a future: that of an `async fn`.
    #[doc(hidden)]
    fn future(item: Self::Owned) -> impl Future<Output = Self::Output> + Send + 'static {
        async { Self::run_owned(item) }
    }
}

/// An annotated function that can run in a worker process: one with `mode = "process"`. `#[parallel]` implements it.
///
/// # Safety
///
/// `serve` receives the parameters by the same pass modes, in the same order, as `send` sends them; `receive` and `take_back` receive
/// what `serve` delivers. Messages are not typed beyond that: a slice that is lent is a place in memory, and the receiver believes it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run on a `ProcessPool`",
    label = "this function is not `mode = \"process\"`",
    note = "annotate it with `#[parallel(mode = \"process\")]`: it may then run on either kind of pool"
)]
pub unsafe trait ProcessFn: ParallelFn {
    /// Worker: decodes the arguments of one item, runs the function, delivers its result.
    #[doc(hidden)]
    fn serve(reader: &mut Reader<'_>, results: &mut ResultWriter<'_>) -> Result<(), ServeError>;

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
///
/// # Safety
///
/// `send_owned` sends what [`ProcessFn::send`] sends for the same arguments.
#[doc(hidden)]
pub unsafe trait ProcessOwnedFn: ProcessFn + OwnedFn {
    /// Program: encodes the arguments of one item.
    fn send_owned(item: &Self::Owned, writer: &mut Writer<'_>) -> Result<(), CodecError>;
}

/// How the calls of `F` cross. It can be made only for a function whose arguments and results the compiler knows to cross.
#[doc(hidden)]
#[derive(Debug)]
pub struct Remote<F> {
    pub(super) table: RemoteTable,
    pub(super) _function: PhantomData<fn(F) -> F>,
}

/// The same with owned arguments.
#[doc(hidden)]
#[derive(Debug)]
pub struct RemoteOwned<F> {
    pub(super) table: RemoteTable,
    pub(super) _function: PhantomData<fn(F) -> F>,
}
