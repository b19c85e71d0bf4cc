//! What an annotated function is to the runtime: a type that implements [`ParallelFn`].

mod parameter;

pub use parameter::{ByMut, ByRef, ByValue, IntoOwned, Lend, LendMut, One};

use crate::codec::strategy::Returned;
use crate::codec::{CodecError, Reader, Writer};
use crate::options::Spec;

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

    /// What the attribute says: name, mode, pool, options.
    fn spec() -> &'static Spec;

    /// Calls the function right here.
    fn run(item: Self::Item) -> Self::Output;

    /// How a call crosses a process border; `None` for a function that is not `mode = "process"`.
    #[doc(hidden)]
    fn remote() -> Option<Remote<Self>> {
        None
    }
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

    /// The arguments in their owned form: `String` for `&str`, `Vec<T>` for `&[T]`.
    type Owned: Send + 'static;

    /// Calls the function right here with owned arguments.
    #[doc(hidden)]
    fn run_owned(item: Self::Owned) -> Self::Output;

    /// Encodes owned arguments. Only called where [`ParallelFn::remote`] is something.
    #[doc(hidden)]
    fn send_owned(item: &Self::Owned, writer: &mut Writer<'_>) -> Result<(), CodecError>;
}

/// An annotated function that can run in a worker process: one with `mode = "process"`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot run on a `ProcessPool`",
    label = "this function is not `mode = \"process\"`",
    note = "annotate it with `#[parallel(mode = \"process\")]`: it may then run on either kind of pool"
)]
pub trait ProcessFn: ParallelFn {}

/// The functions by which a call crosses a process border.
#[doc(hidden)]
pub struct Remote<F: ParallelFn> {
    /// Runs in the worker.
    pub serve: Serve,
    /// Encodes the arguments.
    pub send: fn(&F::Item, &mut Writer<'_>) -> Result<(), CodecError>,
    /// Decodes the output.
    pub receive: fn(&mut Returned<'_>) -> Result<F::Output, CodecError>,
    /// Copies what the function changed into the caller's memory, for functions that take `&mut`.
    pub take_back: Option<TakeBack<F>>,
}

/// See [`Remote::take_back`].
#[doc(hidden)]
pub type TakeBack<F> =
    for<'i> fn(&'i mut <F as ParallelFn>::Item, &mut Returned<'_>) -> Result<(), CodecError>;

/// Decodes the arguments of one item, runs the function, delivers its result. It travels to the worker as an offset into the
/// executable.
#[doc(hidden)]
pub type Serve = fn(&mut Reader<'_>, &mut dyn Outlet) -> Result<(), ServeError>;

/// Where a worker delivers the result of one item.
#[doc(hidden)]
pub trait Outlet {
    /// Takes the result from `encode`, which may be called twice: a result that does not fit is measured by the first call
    /// and written by the second.
    fn deliver(
        &mut self,
        encode: &mut dyn FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<(), ServeError>;
}

/// Why a worker has no result for an item, a panic apart.
#[doc(hidden)]
#[derive(Debug)]
pub enum ServeError {
    /// The arguments do not decode.
    Decode(CodecError),
    /// The result does not encode.
    Encode(CodecError),
    /// The result does not fit into shared memory.
    OutOfSharedMemory {
        /// Bytes that were needed.
        requested: u64,
        /// Bytes that were there.
        available: u64,
    },
}
