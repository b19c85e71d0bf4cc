//! The calls of a function, as plain function pointers: so the engines are compiled once, not once for each function.
//!
//! What is compiled for each function are the three loops here: over the items of a message, with the function's own steps
//! inlined into them.

use std::io;

use super::{Outlet, ProcessFn, ProcessOwnedFn, ServeError};
use crate::codec::{CodecError, Reader, Writer};
use crate::function::pass_mode::Returned;
use crate::shared::handles;
use crate::sys::image;

/// Codes before each result. The code is followed by the length of the result in four bytes; 0 where nothing follows it anyway.
pub(crate) mod code {
    /// Bytes of code and length.
    pub(crate) const HEADER: usize = 5;
    pub(crate) const VALUE: u8 = 0;
    pub(crate) const PANICKED: u8 = 1;
    pub(crate) const NOT_DECODED: u8 = 2;
    pub(crate) const NOT_ENCODED: u8 = 3;
    pub(crate) const NO_MEMORY: u8 = 4;
    /// An error of another machine's engine.
    #[cfg(feature = "dask")]
    pub(crate) const ENDED: u8 = 5;
}

/// Runs the items of a message in the worker. It travels there as an offset into the executable.
pub(super) type Serve = fn(&mut Reader<'_>, &mut Outlet<'_>, u32) -> Result<(), ServeError>;

/// The entry of a function: its offset in the executable, or an error if it is not part of it.
pub(crate) fn entry_of(serve: Serve) -> io::Result<u64> {
    image::offset_of(serve as usize)
}

/// The function at an entry.
///
/// # Safety
///
/// The entry came from [`entry_of`] in a process that runs the same executable.
pub(crate) unsafe fn serve_at(entry: u64) -> Serve {
    // SAFETY: by the caller's promise there is a `Serve` function at this offset of this image.
    unsafe { std::mem::transmute::<*const (), Serve>(image::address_at(entry)) }
}

/// Encodes items.
pub(crate) type Send<I> = fn(&[I], &mut Writer<'_>) -> Result<(), CodecError>;

/// Decodes results into a vector, and copies what was changed back into the items, until one is not a value.
pub(crate) type Receive<I, R> = for<'i> fn(&mut Returned<'_>, &'i mut [I], &mut Vec<R>) -> Received;

/// Decodes one value.
pub(crate) type Output<R> = fn(&mut Returned<'_>) -> Result<R, CodecError>;

/// Why [`Receive`] ended.
pub(crate) enum Received {
    /// All were values.
    All,
    /// The next one has this code; what follows it has not been read, and ends at this offset.
    Code(u8, usize),
    /// The next one does not decode; it has been skipped.
    Failed(CodecError),
}

/// How the calls of one function cross a process border; `I` is an item, borrowed or owned.
#[doc(hidden)]
pub struct Remote<I, R> {
    pub(crate) function: &'static str,
    pub(crate) serve: Serve,
    pub(crate) send: Send<I>,
    pub(crate) receive: Receive<I, R>,
    /// Decodes one value, and copies nothing back: for a caller that has let go of its arguments.
    pub(crate) output: Output<R>,
    /// Whether the caller needs its arguments until the results are there.
    pub(crate) takes_back: bool,
    /// Whether many of them run at a time on one worker.
    pub(crate) is_async: bool,
}

impl<I, R> Clone for Remote<I, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<I, R> Copy for Remote<I, R> {}

impl<I, R> Remote<I, R> {
    /// With the arguments as they are.
    pub fn borrowed<F: ProcessFn<Item = I, Output = R>>() -> Self {
        Self {
            function: F::spec().name,
            serve: serve::<F>,
            send: send::<F>,
            receive: receive::<F>,
            output: F::receive,
            takes_back: F::TAKES_BACK,
            is_async: F::IS_ASYNC,
        }
    }

    /// With owned arguments.
    pub fn owned<F: ProcessOwnedFn<Owned = I, Output = R>>() -> Self {
        Self {
            function: F::spec().name,
            serve: serve::<F>,
            send: send_owned::<F>,
            receive: receive_owned::<F>,
            output: F::receive,
            takes_back: false,
            is_async: F::IS_ASYNC,
        }
    }
}

fn serve<F: ProcessFn>(reader: &mut Reader<'_>, outlet: &mut Outlet<'_>, items: u32) -> Result<(), ServeError> {
    for _ in 0..items {
        outlet.begin();
        F::serve(reader, outlet)?;
        if outlet.is_full() {
            break;
        }
    }
    Ok(())
}

fn send<F: ProcessFn>(items: &[F::Item], writer: &mut Writer<'_>) -> Result<(), CodecError> {
    items.iter().try_for_each(|item| F::send(item, writer))
}

fn send_owned<F: ProcessOwnedFn>(items: &[F::Owned], writer: &mut Writer<'_>) -> Result<(), CodecError> {
    // Whoever sends them lets go of them afterwards.
    handles::retaining(|| items.iter().try_for_each(|item| F::send_owned(item, writer)))
}

fn receive<F: ProcessFn>(returned: &mut Returned<'_>, items: &mut [F::Item], values: &mut Vec<F::Output>) -> Received {
    receive_each(returned, items, values, F::receive, F::take_back)
}

fn receive_owned<F: ProcessOwnedFn>(
    returned: &mut Returned<'_>,
    items: &mut [F::Owned],
    values: &mut Vec<F::Output>,
) -> Received {
    receive_each(returned, items, values, F::receive, F::take_back_owned)
}

#[inline(always)]
fn receive_each<I, R>(
    returned: &mut Returned<'_>,
    items: &mut [I],
    values: &mut Vec<R>,
    receive: impl Fn(&mut Returned<'_>) -> Result<R, CodecError>,
    take_back: impl Fn(&mut I, &mut Returned<'_>) -> Result<(), CodecError>,
) -> Received {
    for item in items {
        let end = match header(&mut returned.results) {
            Ok((code::VALUE, end)) => end,
            Ok((other, end)) => return Received::Code(other, end),
            Err(error) => return Received::Failed(error),
        };
        let received = receive(returned).and_then(|value| take_back(item, returned).map(|()| value));
        match received {
            Ok(value) => values.push(value),
            Err(error) => {
                returned.results.go_to(end);
                return Received::Failed(error);
            }
        }
    }
    Received::All
}

/// The code of the next result, and where it ends.
#[inline(always)]
pub(crate) fn header(reader: &mut Reader<'_>) -> Result<(u8, usize), CodecError> {
    let [code, a, b, c, d] = reader.take()?;
    let len = u32::from_ne_bytes([a, b, c, d]);
    Ok((code, reader.offset().saturating_add(len as usize)))
}
