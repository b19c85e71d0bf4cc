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
mod error;
mod reader;
mod ser;
mod writer;

pub use error::CodecError;
pub use reader::Reader;
pub(crate) use writer::LentMemory;
pub use writer::Writer;

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
