//! The names of fields and variants, as they are read.

use serde::de::{self, IntoDeserializer, Visitor};

use super::error::CodecError;
use super::reader::Reader;
use super::shape::{NAME, TEXT};
use crate::sys::image;

/// A name that was read.
pub(super) enum Name {
    /// A literal of the executable.
    Literal(&'static str),
    Text(String),
}

/// A name as it was written, at a place.
pub(super) struct Written {
    offset: u32,
    len: usize,
    /// Where its text is, if it is written as one.
    text: usize,
}

impl Written {
    #[inline(always)]
    pub(super) fn at(reader: &Reader<'_>, place: usize) -> Result<Self, CodecError> {
        let [a, b, c, d, e, f] = reader.at::<NAME>(place)?;
        let (offset, len) = (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([e, f]).into());
        Ok(Self { offset, len, text: place + NAME })
    }

    /// How many bytes it takes.
    #[inline(always)]
    pub(super) fn size(&self) -> usize {
        if self.offset == TEXT { NAME + self.len } else { NAME }
    }

    /// How many bytes of text it has.
    #[inline(always)]
    pub(super) fn text_len(&self) -> usize {
        if self.offset == TEXT { self.len } else { 0 }
    }

    /// Whether it is this very literal.
    #[inline(always)]
    pub(super) fn is(&self, literal: &'static str) -> bool {
        self.offset != TEXT && self.len == literal.len() && image::is_literal_at(literal, self.offset)
    }

    /// What it says.
    #[cold]
    pub(super) fn name(&self, reader: &Reader<'_>) -> Result<Name, CodecError> {
        if self.offset != TEXT {
            let literal = image::literal_at(self.offset, self.len);
            let literal = literal.ok_or_else(|| CodecError::mismatch("a name lies outside the executable"))?;
            return Ok(Name::Literal(literal));
        }
        let bytes = reader.copy_at(self.text, self.len)?;
        Ok(Name::Text(String::from_utf8(bytes).map_err(CodecError::mismatch)?))
    }

    /// What it says, which is most likely the `likely` one of these, or another one of them.
    #[inline(always)]
    pub(super) fn name_among(
        &self,
        reader: &Reader<'_>,
        known: &'static [&'static str],
        likely: usize,
    ) -> Result<Name, CodecError> {
        match known.get(likely) {
            Some(literal) if self.is(literal) => Ok(Name::Literal(literal)),
            _ => self.search(reader, known),
        }
    }

    fn search(&self, reader: &Reader<'_>, known: &'static [&'static str]) -> Result<Name, CodecError> {
        match known.iter().find(|literal| self.is(literal)) {
            Some(literal) => Ok(Name::Literal(literal)),
            None => self.name(reader),
        }
    }
}

impl Name {
    #[inline(always)]
    pub(super) fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self {
            Self::Literal(name) => visitor.visit_borrowed_str(name),
            Self::Text(name) => visitor.visit_string(name),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Literal(name) => name,
            Self::Text(name) => name,
        }
    }
}

/// A name that identifies a field or a variant, or is the key of what is read as a map.
pub(super) struct Text<'n>(pub(super) &'n str);

impl<'de> de::Deserializer<'de> for Text<'_> {
    type Error = CodecError;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        visitor.visit_enum(IntoDeserializer::<CodecError>::into_deserializer(self.0))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}
