//! How values cross a process border: a `serde` format ([`ser`], [`de`]) over a [`Writer`] and a [`Reader`].
//!
//! # The format
//!
//! Both ends are the same executable, so there is no schema and no version. But a value describes itself: whatever serde lets a type say about
//! itself (fields that are skipped, renamed, flattened; enums that are tagged or untagged) has the meaning that it has in JSON, and what a
//! type's `Serialize` and `Deserialize` disagree on is an error.
//!
//! ```text
//! frame    = length of the rest (u64; the top bit says that there is a trailer), value, [trailer]
//! value    = kind (u8), what a value of that kind needs: see `kind`
//! sequence = SEQ, kind of the run, number, elements
//!            kind 0: values; kind of a number: numbers without their kinds; with the top bit: these, then number, values
//! struct   = STRUCT, number of its shape (u32), values of its fields
//! name     = offset in the executable (u32), length (u16); or u32::MAX, length (u16), text
//! shape    = number of names (u32), names
//! trailer  = shapes, attachments (16 bytes each), where each shape begins (u32), how many attachments and how many shapes there are (u32),
//!            length of the trailer (u32)
//! ```
//!
//! * Names are what makes a self-describing format slow and large. Here a name is the place of a literal in the executable, and a struct does
//!   not carry its names but the number of its [`shape`], which is written once.
//! * `Some` is only written where what it holds would read as `None`; so an untagged enum sees what an option holds.
//! * The numbers of a sequence lie there bare, in a *run*, as long as they are of one kind.
//! * Handles of shared memory are not in the bytes but beside them: see [`attachment`].
//! * Names that are no literals of the executable (made at run time, or in a shared library) are written as text; so are all of them where equal
//!   values must be equal bytes ([`encode_key`]).
//! * Values say that they are human-readable, since serde's own buffers claim so: what holds an address inside a flattened struct is written and
//!   read with the same answer.
//!
//! Why our own format and not a published one: the writer must be able to *measure* (so that a large value is written once, straight into shared
//! memory), the reader must never form a reference into memory that a worker can still write, and names cost next to nothing.
//!
//! # What the other side may do
//!
//! Any bytes are a value or an error. A reader copies what it reads; a number of elements is checked against the bytes that are left, of which
//! each element takes one at least; recursion ends where the stack of the thread does; and what is decoded in the program has a budget of memory
//! ([`Reader::untrusted`]). Names that are given out lie in the part of the executable that holds literals and is never written, and are UTF-8.

pub(crate) mod attachment;
mod de;
mod error;
mod frame;
mod frame_writer;
mod kind;
mod name;
mod plain;
mod reader;
mod ser;
mod shape;
mod ticket;
mod token;
mod writer;

pub use error::CodecError;
pub(crate) use error::short_name;
pub use reader::Reader;
pub(crate) use writer::LentMemory;
pub use writer::Writer;
pub(crate) use writer::{ReferenceKey, References};

/// Writes a value through serde, as one frame.
#[inline(always)]
pub(crate) fn encode<T: serde::Serialize + ?Sized>(value: &T, writer: &mut Writer<'_>) -> Result<(), CodecError> {
    let frame = writer.open_frame();
    match value.serialize(writer.encoder()) {
        Ok(()) => writer.close_frame(frame),
        Err(error) => Err(error.in_value(std::any::type_name::<T>())),
    }
}

/// Writes a value so that equal values are equal bytes, as far as their `Serialize` writes equal values alike.
pub(crate) fn encode_key<T: serde::Serialize + ?Sized>(value: &T, writer: &mut Writer<'_>) -> Result<(), CodecError> {
    writer.set_canonical();
    encode(value, writer)
}

/// Reads a value through serde: one frame, to its end.
#[inline(always)]
pub(crate) fn decode<T: serde::de::DeserializeOwned>(reader: &mut Reader<'_>) -> Result<T, CodecError> {
    let (bytes, has_trailer) = frame::take_frame(reader)?;
    let mut frame = frame::Frame::new(bytes);
    if has_trailer {
        frame.open_trailer()?;
    }
    let read = T::deserialize(de::Decoder::new(&mut frame));
    reader.set_budget(frame.reader.budget());
    match read {
        Ok(value) if frame.is_read() => Ok(value),
        Ok(_) => Err(frame::unread().in_value(std::any::type_name::<T>())),
        Err(error) => Err(error.in_value(std::any::type_name::<T>())),
    }
}

#[cfg(test)]
mod tests;
