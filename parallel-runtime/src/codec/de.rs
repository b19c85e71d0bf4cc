//! The deserialiser: the mirror of [`ser`](super::ser).

use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

use super::error::CodecError;
use super::reader::Reader;
use super::ser::UNKNOWN_LENGTH;

/// Reads one value.
pub(super) struct Decoder<'d, 'm> {
    pub(super) reader: &'d mut Reader<'m>,
}

/// The elements of a sequence, map or tuple.
struct Elements<'d, 'm> {
    reader: &'d mut Reader<'m>,
    /// `None` where each element is preceded by a 1.
    left: Option<usize>,
    /// What a size hint may promise: never more than the data can hold.
    hint: usize,
}

macro_rules! numbers {
    ($($method:ident => $visit:ident($type:ty)),*) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
            visitor.$visit(<$type>::from_ne_bytes(self.reader.take()?))
        }
    )*};
}

impl<'d, 'm> Decoder<'d, 'm> {
    /// A sequence or map that states its length.
    fn elements(self) -> Result<Elements<'d, 'm>, CodecError> {
        let stated = u64::from_ne_bytes(self.reader.take()?);
        let left = if stated == UNKNOWN_LENGTH {
            None
        } else {
            Some(usize::try_from(stated).map_err(|_| CodecError::end_of_data())?)
        };
        // Elements of zero bytes are rare and an honest count of them may exceed the bytes left; a forged one ends at the
        // first element that is not empty.
        let hint = left.unwrap_or(0).min(self.reader.left());
        Ok(Elements { reader: self.reader, left, hint })
    }

    fn fields(self, len: usize) -> Elements<'d, 'm> {
        Elements { reader: self.reader, left: Some(len), hint: len }
    }
}

impl<'de> de::Deserializer<'de> for Decoder<'_, '_> {
    type Error = CodecError;

    numbers!(
        deserialize_i8 => visit_i8(i8), deserialize_i16 => visit_i16(i16), deserialize_i32 => visit_i32(i32),
        deserialize_i64 => visit_i64(i64), deserialize_i128 => visit_i128(i128), deserialize_u8 => visit_u8(u8),
        deserialize_u16 => visit_u16(u16), deserialize_u32 => visit_u32(u32), deserialize_u64 => visit_u64(u64),
        deserialize_u128 => visit_u128(u128), deserialize_f32 => visit_f32(f32), deserialize_f64 => visit_f64(f64)
    );

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, CodecError> {
        Err(CodecError::new(
            "this type asks the data what it is (`deserialize_any`: untagged and internally tagged enums, `flatten`, \
             `serde_json::Value`), and a process border carries no type names: pass it as text or bytes",
        ))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.reader.take_u8()? {
            0 => visitor.visit_bool(false),
            1 => visitor.visit_bool(true),
            other => Err(CodecError::mismatch(format_args!("{other} is not a bool"))),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let code = u32::from_ne_bytes(self.reader.take()?);
        match char::from_u32(code) {
            Some(value) => visitor.visit_char(value),
            None => Err(CodecError::mismatch(format_args!("{code:#x} is not a char"))),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let len = self.reader.take_len(1)?;
        let bytes = self.reader.take_plain::<u8>(len)?;
        visitor.visit_string(String::from_utf8(bytes).map_err(CodecError::new)?)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let len = self.reader.take_len(1)?;
        visitor.visit_byte_buf(self.reader.take_plain::<u8>(len)?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.reader.check_depth()?;
        match self.reader.take_u8()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self),
            other => Err(CodecError::mismatch(format_args!("{other} is not the tag of an option"))),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.reader.check_depth()?;
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.reader.check_depth()?;
        let mut elements = self.elements()?;
        let value = visitor.visit_seq(&mut elements)?;
        elements.finish()?;
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_seq(&mut self.fields(len))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_seq(&mut self.fields(len))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.reader.check_depth()?;
        let mut elements = self.elements()?;
        let value = visitor.visit_map(&mut elements)?;
        elements.finish()?;
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_seq(&mut self.fields(fields.len()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.reader.check_depth()?;
        visitor.visit_enum(self)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, CodecError> {
        Err(CodecError::new(
            "this type asks for the names of fields (`flatten`), and a process border carries none: write the fields out, or \
             pass it as text or bytes",
        ))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl Elements<'_, '_> {
    #[inline(always)]
    fn more(&mut self) -> Result<bool, CodecError> {
        match &mut self.left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => match self.reader.take_u8()? {
                1 => Ok(true),
                _ => {
                    self.left = Some(0);
                    Ok(false)
                }
            },
        }
    }

    /// A visitor may stop early (an array of fixed length); the end mark is then still to be read.
    fn finish(mut self) -> Result<(), CodecError> {
        if self.more()? {
            return Err(CodecError::mismatch("the sequence has more elements than the type takes"));
        }
        Ok(())
    }
}

impl<'de> de::SeqAccess<'de> for &mut Elements<'_, '_> {
    type Error = CodecError;

    #[inline(always)]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, CodecError> {
        if !self.more()? {
            return Ok(None);
        }
        let before = self.reader.offset();
        let value = seed.deserialize(Decoder { reader: self.reader })?;
        if self.reader.offset() == before {
            self.reader.count_empty()?;
        }
        Ok(Some(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint)
    }
}

impl<'de> de::MapAccess<'de> for &mut Elements<'_, '_> {
    type Error = CodecError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, CodecError> {
        // An entry without data is one of at most two in any map of keys that differ; what is forged is counted.
        if self.left.is_some_and(|left| left > self.reader.left()) {
            self.reader.count_empty()?;
        }
        if self.more()? { seed.deserialize(Decoder { reader: self.reader }).map(Some) } else { Ok(None) }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, CodecError> {
        seed.deserialize(Decoder { reader: self.reader })
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.hint)
    }
}

impl<'de, 'd, 'm> de::EnumAccess<'de> for Decoder<'d, 'm> {
    type Error = CodecError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), CodecError> {
        let index = u32::from_ne_bytes(self.reader.take()?);
        let value = seed.deserialize(IntoDeserializer::<CodecError>::into_deserializer(index))?;
        Ok((value, self))
    }
}

impl<'de> de::VariantAccess<'de> for Decoder<'_, '_> {
    type Error = CodecError;

    fn unit_variant(self) -> Result<(), CodecError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, CodecError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_seq(&mut self.fields(len))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_seq(&mut self.fields(fields.len()))
    }
}
