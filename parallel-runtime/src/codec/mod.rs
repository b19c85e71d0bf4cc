//! How values cross a process border.
//!
//! Both ends are the same executable, so the format needs no schema, no version and no byte order: numbers are
//! fixed-width and native, lengths are `u64`, enum variants are `u32`, and fields follow each other without names. It is a
//! `serde` format ([`ser`], [`de`]) over a [`Writer`] and a [`Reader`]. By which way each parameter of an annotated function travels
//! is not its concern.
//!
//! Why our own format and not a published one: the writer must be able to *measure* (so that a large value is written once,
//! straight into shared memory), the reader must never form a reference into memory that a worker can still write, and
//! values that a positional format cannot hold must be refused by name instead of decoded wrongly.

mod de;
mod reader;
mod ser;
mod writer;

use std::fmt;

pub use reader::Reader;
pub(crate) use writer::LentMemory;
pub use writer::Writer;

/// Why a value could not be encoded or decoded. The text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError(String);

impl CodecError {
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }

    pub(crate) fn end_of_data() -> Self {
        Self::mismatch("the data ended before the value did")
    }

    /// The bytes are not those of the type.
    pub(crate) fn mismatch(what: impl fmt::Display) -> Self {
        Self(format!("{what}; does its type serialise and deserialise the same fields?"))
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

impl serde::ser::Error for CodecError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

impl serde::de::Error for CodecError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

/// Writes a value through serde.
#[inline(always)]
pub(crate) fn encode<T: serde::Serialize + ?Sized>(value: &T, writer: &mut Writer<'_>) -> Result<(), CodecError> {
    value.serialize(ser::Encoder { writer })
}

/// Reads a value through serde.
#[inline(always)]
pub(crate) fn decode<T: serde::de::DeserializeOwned>(reader: &mut Reader<'_>) -> Result<T, CodecError> {
    T::deserialize(de::Decoder { reader })
}

#[cfg(test)]
mod tests;
