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
}

impl<'w> Outlet<'w> {
    pub(crate) fn new(writer: Writer<'w>, overflow: &'w mut dyn Overflow) -> Self {
        Self { writer, overflow, full: false }
    }

    /// Whether a result found no room: the message then ends with it.
    pub(crate) fn is_full(&self) -> bool {
        self.full
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
        let before = self.writer.len();
        self.writer.put([code]);
        if let Err(error) = encode(&mut self.writer) {
            self.writer.rewind(before);
            return Err(ServeError::Encode(error));
        }
        if !self.writer.overflowed() {
            self.overflow.delivered(self.writer.len());
            return Ok(());
        }
        let needed = self.writer.len() - before;
        self.writer.rewind(before);
        self.full = true;
        self.overflow.overflow(needed, &mut |writer| {
            writer.put([code]);
            encode(writer)
        })
    }
}
