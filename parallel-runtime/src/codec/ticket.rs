//! What stands for a handle of shared memory in its `Serialize`: a number, its ticket, and nothing else.

use serde::ser::{self, Serialize};

use super::error::CodecError;

type Result<T> = std::result::Result<T, CodecError>;

/// Reads a ticket.
pub(super) struct TicketReader;

/// What is none.
#[cold]
fn no_ticket<T>() -> Result<T> {
    Err(CodecError::new("a value that is no handle of shared memory says that it is one"))
}

macro_rules! no_tickets {
    ($($method:ident($type:ty)),*) => {$(
        fn $method(self, _value: $type) -> Result<u64> {
            no_ticket()
        }
    )*};
}

impl ser::Serializer for TicketReader {
    type Ok = u64;
    type Error = CodecError;
    type SerializeSeq = ser::Impossible<u64, CodecError>;
    type SerializeTuple = ser::Impossible<u64, CodecError>;
    type SerializeTupleStruct = ser::Impossible<u64, CodecError>;
    type SerializeTupleVariant = ser::Impossible<u64, CodecError>;
    type SerializeMap = ser::Impossible<u64, CodecError>;
    type SerializeStruct = ser::Impossible<u64, CodecError>;
    type SerializeStructVariant = ser::Impossible<u64, CodecError>;

    fn serialize_u64(self, ticket: u64) -> Result<u64> {
        Ok(ticket)
    }

    no_tickets!(
        serialize_bool(bool),
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_f32(f32),
        serialize_f64(f64),
        serialize_char(char),
        serialize_str(&str),
        serialize_bytes(&[u8]),
        serialize_unit_struct(&'static str)
    );

    fn serialize_none(self) -> Result<u64> {
        no_ticket()
    }
    fn serialize_some<T: Serialize + ?Sized>(self, _value: &T) -> Result<u64> {
        no_ticket()
    }
    fn serialize_unit(self) -> Result<u64> {
        no_ticket()
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<u64> {
        no_ticket()
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<u64> {
        no_ticket()
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<u64> {
        no_ticket()
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq> {
        no_ticket()
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple> {
        no_ticket()
    }
    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeTupleStruct> {
        no_ticket()
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant> {
        no_ticket()
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap> {
        no_ticket()
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct> {
        no_ticket()
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant> {
        no_ticket()
    }
}
