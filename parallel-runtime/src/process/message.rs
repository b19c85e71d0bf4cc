//! An encoded call, on its way to a worker.

use std::sync::Arc;

use super::board::slot::{INLINE_ALIGNMENT, INLINE_ARGUMENTS};
use crate::codec::{CodecError, Writer};
use crate::error::TaskError;
use crate::shared::{Arena, Block};

/// One or several items for one function.
pub(crate) struct Message {
    /// The function, as an offset from the start of the executable's image.
    pub(crate) entry: u64,
    pub(crate) items: u32,
    /// Whether the worker is to say how long it took.
    pub(crate) timed: bool,
    pub(crate) body: Body,
    /// Where the slices lie in the body that the worker may change in place.
    pub(crate) marks: Vec<u64>,
}

/// The encoded arguments.
pub(crate) enum Body {
    /// Few enough to travel in the slot.
    Inline { bytes: [u8; INLINE_ARGUMENTS], len: usize },
    Block { block: Block, len: usize },
}

/// Why there is no message.
#[derive(Debug)]
pub(crate) enum Refused {
    Codec(CodecError),
    Memory(TaskError),
}

impl From<CodecError> for Refused {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

impl Message {
    /// Encodes a call. `encode` may be called twice: once to measure, once to write. `guess` is about how many bytes it will
    /// take; a good guess saves the first call.
    pub(crate) fn encode(
        arena: &Arc<Arena>,
        entry: u64,
        items: u32,
        guess: usize,
        mut encode: impl FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<Self, Refused> {
        let needed = if guess <= INLINE_ARGUMENTS {
            let mut bytes = [0; INLINE_ARGUMENTS];
            let mut writer = Writer::bounded(&mut bytes);
            encode(&mut writer)?;
            let (len, marks) = (writer.len(), writer.take_marks());
            if !writer.overflowed() && marks.is_empty() && writer.alignment() <= INLINE_ALIGNMENT {
                drop(writer);
                return Ok(Self { entry, items, timed: false, body: Body::Inline { bytes, len }, marks });
            }
            len
        } else {
            guess
        };

        let mut room = needed.max(1);
        for _ in 0..2 {
            let mut block = arena.take(room as u64).map_err(Refused::Memory)?;
            let room_there = usize::try_from(block.len()).unwrap_or(room);
            // SAFETY: no worker knows of this block: it was just taken.
            let memory = unsafe { block.bytes_mut(room_there) };
            let mut writer = Writer::bounded(memory);
            encode(&mut writer)?;
            let (len, marks) = (writer.len(), writer.take_marks());
            if !writer.overflowed() {
                drop(writer);
                return Ok(Self { entry, items, timed: false, body: Body::Block { block, len }, marks });
            }
            room = len;
        }
        Err(Refused::Codec(CodecError::new("its `Serialize` wrote different amounts of data for the same value")))
    }
}
