//! Where a worker delivers results.

use super::remote::code;
use crate::codec::{CodecError, Writer};

/// Why a worker has no result for an item, a panic apart.
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

/// Encodes one result. May be called twice: a result that does not fit is measured by the first call and written by the second.
pub(crate) type Encode<'e> = &'e mut dyn FnMut(&mut Writer<'_>) -> Result<(), CodecError>;

/// What is done about a result that does not fit, and about one that does.
pub(crate) trait Overflow {
    /// The results so far take `len` bytes of the room, and are those of one more item.
    fn delivered(&mut self, len: usize);

    /// Finds room for a result of `needed` bytes, and encodes it there.
    fn overflow(&mut self, needed: usize, encode: Encode<'_>) -> Result<(), ServeError>;
}

/// Where a worker delivers the results of a message: one after the other into the room that there is.
pub struct Outlet<'w> {
    writer: Writer<'w>,
    overflow: &'w mut dyn Overflow,
    full: bool,
    /// Where the last complete result ends.
    committed: usize,
    /// Items that have been begun, and items whose results are delivered.
    begun: u32,
    delivered: u32,
}

impl<'w> Outlet<'w> {
    pub(crate) fn new(writer: Writer<'w>, overflow: &'w mut dyn Overflow) -> Self {
        Self { writer, overflow, full: false, committed: 0, begun: 0, delivered: 0 }
    }

    /// Whether a result found no room: the message then ends with it.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// The next item is begun.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.begun += 1;
    }

    /// Whether the result of the item that was begun last is delivered: what fails after that fails nobody.
    pub(crate) fn has_delivered(&self) -> bool {
        self.delivered == self.begun
    }

    /// Takes the result of one item. `encode` may be called twice.
    #[inline]
    pub fn deliver(
        &mut self,
        mut encode: impl FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<(), ServeError> {
        self.deliver_as(code::VALUE, &mut encode)
    }

    #[inline]
    pub(crate) fn deliver_as(
        &mut self,
        code: u8,
        encode: &mut impl FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<(), ServeError> {
        // A result whose encoding panicked or failed half-way has left a piece.
        let before = self.committed;
        self.writer.rewind(before);
        self.writer.put([code]);
        self.writer.put([0; 4]);
        encode(&mut self.writer).map_err(ServeError::Encode)?;
        if !self.writer.overflowed() {
            // How long it is, so that the next one is found even if this one does not decode.
            let len = (self.writer.len() - before - code::HEADER) as u32;
            self.writer.patch(before + 1, len.to_ne_bytes());
            self.committed = self.writer.len();
            self.delivered += 1;
            self.overflow.delivered(self.committed);
            return Ok(());
        }
        let needed = self.writer.len() - before;
        self.writer.rewind(before);
        self.full = true;
        self.overflow.overflow(needed, &mut |writer| {
            writer.put([code]);
            writer.put([0; 4]);
            encode(writer)
        })?;
        self.delivered += 1;
        Ok(())
    }
}
