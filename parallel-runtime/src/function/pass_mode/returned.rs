//! What comes back for one item.

use std::fmt;
use std::ptr::NonNull;

use crate::codec::{CodecError, Reader};

/// What came back for one item: its encoded result, and the slices that were changed in place.
pub struct Returned<'a> {
    /// The encoded output, followed by what the strategies gave back.
    pub(crate) results: Reader<'a>,
    /// The arguments as the worker left them; empty unless the function takes plain slices by `&mut`.
    pub(crate) arguments: Changed<'a>,
}

impl fmt::Debug for Returned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Returned").finish_non_exhaustive()
    }
}

/// The argument memory of a message, and where the slices lie in it that the worker may have changed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Changed<'a> {
    /// Start and length of the memory.
    pub(crate) memory: Option<(NonNull<u8>, usize)>,
    /// Offsets not taken back yet.
    pub(crate) marks: &'a [u64],
}

impl<'a> Returned<'a> {
    /// The encoded output.
    pub fn results(&mut self) -> &mut Reader<'a> {
        &mut self.results
    }

    /// Whether it came from another machine.
    pub(super) fn is_far(&self) -> bool {
        self.results.source().is_some_and(|source| source.is_far())
    }

    /// The bytes from the next changed slice on.
    pub(super) fn next_changed(&mut self) -> Result<Reader<'a>, CodecError> {
        let missing = || CodecError::new("a slice that was lent did not come back");
        let (&mark, rest) = self.arguments.marks.split_first().ok_or_else(missing)?;
        let (start, len) = self.arguments.memory.ok_or_else(missing)?;
        self.arguments.marks = rest;
        // SAFETY: the maker of this `Changed` keeps the memory alive for `'a`; only copies are made from this reader.
        let mut reader = unsafe { Reader::from_raw(start.as_ptr(), len) };
        reader.skip(usize::try_from(mark).map_err(|_| missing())?)?;
        Ok(reader)
    }
}
