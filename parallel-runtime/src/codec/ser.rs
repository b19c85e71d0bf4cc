//! The serialiser: serde's data model, fixed-width and native.

use serde::ser::{self, Serialize};

use super::error::CodecError;
use super::writer::Writer;

/// Writes one value.
pub(super) struct Encoder<'e, 'a> {
    pub(super) writer: &'e mut Writer<'a>,
}

/// Writes the elements of a sequence or map whose length may only be known at its end.
pub(super) struct Elements<'e, 'a> {
    writer: &'e mut Writer<'a>,
    /// Set where serde did not tell the length: each element is then preceded by a 1, and the end is a 0.
    unsized_: bool,
}

/// The length that stands for "each element is preceded by a 1".
pub(super) const UNKNOWN_LENGTH: u64 = u64::MAX;

macro_rules! numbers {
    ($($method:ident($type:ty)),*) => {$(
        #[inline(always)]
        fn $method(self, value: $type) -> Result<(), CodecError> {
            self.writer.put(value.to_ne_bytes());
            Ok(())
        }
    )*};
}

impl<'e, 'a> Encoder<'e, 'a> {
    fn elements(self, len: Option<usize>) -> Elements<'e, 'a> {
        let stated = len.map_or(UNKNOWN_LENGTH, |len| len as u64);
        self.writer.put(stated.to_ne_bytes());
        Elements { writer: self.writer, unsized_: len.is_none() }
    }

    fn variant(self, index: u32) -> Elements<'e, 'a> {
        self.writer.put(index.to_ne_bytes());
        self.fields()
    }

    fn fields(self) -> Elements<'e, 'a> {
        Elements { writer: self.writer, unsized_: false }
    }
}

impl<'e, 'a> ser::Serializer for Encoder<'e, 'a> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Elements<'e, 'a>;
    type SerializeTuple = Elements<'e, 'a>;
    type SerializeTupleStruct = Elements<'e, 'a>;
    type SerializeTupleVariant = Elements<'e, 'a>;
    type SerializeMap = Elements<'e, 'a>;
    type SerializeStruct = Elements<'e, 'a>;
    type SerializeStructVariant = Elements<'e, 'a>;

    numbers!(
        serialize_i8(i8),
        serialize_i16(i16),
        serialize_i32(i32),
        serialize_i64(i64),
        serialize_i128(i128),
        serialize_u8(u8),
        serialize_u16(u16),
        serialize_u32(u32),
        serialize_u64(u64),
        serialize_u128(u128),
        serialize_f32(f32),
        serialize_f64(f64)
    );

    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.writer.put([u8::from(value)]);
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.serialize_u32(u32::from(value))
    }

    fn serialize_str(self, value: &str) -> Result<(), CodecError> {
        self.serialize_bytes(value.as_bytes())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), CodecError> {
        self.writer.put((value.len() as u64).to_ne_bytes());
        self.writer.put_slice(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), CodecError> {
        self.writer.put([0_u8]);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        self.writer.put([1_u8]);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), CodecError> {
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), CodecError> {
        Ok(())
    }

    fn serialize_unit_variant(self, _name: &'static str, index: u32, _variant: &'static str) -> Result<(), CodecError> {
        self.serialize_u32(index)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<(), CodecError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.writer.put(index.to_ne_bytes());
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Elements<'e, 'a>, CodecError> {
        Ok(self.elements(len))
    }

    fn serialize_tuple(self, _len: usize) -> Result<Elements<'e, 'a>, CodecError> {
        Ok(self.fields())
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<Elements<'e, 'a>, CodecError> {
        Ok(self.fields())
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Elements<'e, 'a>, CodecError> {
        Ok(self.variant(index))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Elements<'e, 'a>, CodecError> {
        Ok(self.elements(len))
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Elements<'e, 'a>, CodecError> {
        Ok(self.fields())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Elements<'e, 'a>, CodecError> {
        Ok(self.variant(index))
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl Elements<'_, '_> {
    #[inline(always)]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        if self.unsized_ {
            self.writer.put([1_u8]);
        }
        self.field(value)
    }

    #[inline(always)]
    fn field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        value.serialize(Encoder { writer: self.writer })
    }

    fn finish(self) -> Result<(), CodecError> {
        if self.unsized_ {
            self.writer.put([0_u8]);
        }
        Ok(())
    }
}

/// Fields travel without their names, so one that is left out would shift all that follow.
fn skipped(field: &str) -> CodecError {
    CodecError::new(format_args!(
        "the field `{field}` was left out by `skip_serializing_if`, which a process border cannot carry: remove that \
         attribute, or pass the value in a type without it"
    ))
}

impl ser::SerializeSeq for Elements<'_, '_> {
    type Ok = ();
    type Error = CodecError;
    #[inline(always)]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.element(value)
    }
    fn end(self) -> Result<(), CodecError> {
        self.finish()
    }
}

impl ser::SerializeMap for Elements<'_, '_> {
    type Ok = ();
    type Error = CodecError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CodecError> {
        self.element(key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.field(value)
    }
    fn end(self) -> Result<(), CodecError> {
        self.finish()
    }
}

macro_rules! positional {
    ($($trait:ident::$method:ident),*) => {$(
        impl ser::$trait for Elements<'_, '_> {
            type Ok = ();
            type Error = CodecError;
            #[inline(always)]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
                self.field(value)
            }
            fn end(self) -> Result<(), CodecError> {
                Ok(())
            }
        }
    )*};
}
positional!(
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

macro_rules! named {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Elements<'_, '_> {
            type Ok = ();
            type Error = CodecError;
            #[inline(always)]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, _key: &'static str, value: &T) -> Result<(), CodecError> {
                self.field(value)
            }
            fn skip_field(&mut self, key: &'static str) -> Result<(), CodecError> {
                Err(skipped(key))
            }
            fn end(self) -> Result<(), CodecError> {
                Ok(())
            }
        }
    )*};
}
named!(SerializeStruct, SerializeStructVariant);
