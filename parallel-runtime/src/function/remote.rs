//! How the calls of a function cross a process border.

use std::io;

use super::pass_mode::Returned;
use super::result_writer::{ResultWriter, ServeError};
use crate::codec::{CodecError, Reader, Writer};
use crate::sys::image;

/// Runs the items of a message in the worker. It travels there as an offset into the executable.
pub(crate) type Serve = fn(&mut Reader<'_>, &mut ResultWriter<'_>, u32) -> Result<(), ServeError>;

/// Encodes items: so many from a place on, which are the caller's.
pub(crate) type Send = unsafe fn(*const u8, usize, &mut Writer<'_>) -> Result<(), CodecError>;

/// Decodes results to a place on, until one is not a value: gives how many were. What was changed is copied back into the items, if they
/// are given: so many from another place on, or null.
pub(crate) type Receive = unsafe fn(&mut Returned<'_>, *mut u8, usize, *mut u8) -> (usize, Received);

/// Why [`Receive`] ended.
pub(crate) enum Received {
    /// All were values.
    All,
    /// The next one has this code; what follows it has not been read, and ends at this offset.
    Code(u8, usize),
    /// The next one does not decode; it has been skipped.
    Failed(CodecError),
}

/// How the calls of one function cross.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemoteTable {
    pub(crate) serve: Serve,
    pub(crate) send: Send,
    pub(crate) receive: Receive,
    /// Whether the caller needs its arguments until the results are there.
    pub(crate) takes_back: bool,
}

impl RemoteTable {
    /// The entry of the function: its offset in the executable, or an error if it is not part of it.
    pub(crate) fn entry(&self) -> io::Result<u64> {
        image::offset_of(self.serve as usize)
    }
}

/// The function at an entry.
///
/// # Safety
///
/// The entry came from [`RemoteTable::entry`] in a process that runs the same executable.
pub(crate) unsafe fn serve_at(entry: u64) -> Serve {
    // SAFETY: by the caller's promise there is a `Serve` function at this offset of this image.
    unsafe { std::mem::transmute::<*const (), Serve>(image::address_at(entry)) }
}

/// The code of the next result, and where it ends.
#[inline(always)]
pub(crate) fn header(reader: &mut Reader<'_>) -> Result<(u8, usize), CodecError> {
    let (code, len) = reader.take_two::<u8, u32>()?;
    Ok((code, reader.offset().saturating_add(len as usize)))
}
