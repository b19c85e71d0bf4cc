//! The deserialiser: the mirror of [`ser`](super::ser).
//!
//! It gives each type what `serde_json` would give it for the same value, so that a type that can be read from JSON can be read from this:
//! structs by the names of their fields, enums by the names of their variants, whatever a type asks for.
//!
//! Little of it is generic: as much as can be is read before a visitor is needed ([`token`](super::token)).

use serde::de::value::MapDeserializer;
use serde::de::{self, DeserializeSeed, Visitor};

use super::attachment;
use super::error::CodecError;
use super::frame::{Frame, Offered, unread};
use super::kind::*;
use super::name::{Name, Text};
use super::plain;
use super::token::{Holds, Identifier, Keys, Token};

type Result<T> = std::result::Result<T, CodecError>;

/// Reads one value.
pub(super) struct Decoder<'d, 'm> {
    pub(super) frame: &'d mut Frame<'m>,
    /// The kind of the value, if it is known since it is a number in a run; else 0, and the kind comes first.
    run: u8,
}

impl<'d, 'm> Decoder<'d, 'm> {
    #[inline(always)]
    pub(super) fn new(frame: &'d mut Frame<'m>) -> Self {
        Self { frame, run: 0 }
    }

    #[inline(always)]
    fn charge<T>(&mut self) -> Result<()> {
        self.frame.reader.charge(size_of::<T>())
    }

    fn visit<'de, V: Visitor<'de>>(self, token: Token, visitor: V) -> Result<V::Value> {
        match token {
            Token::Unit => visitor.visit_unit(),
            Token::None => visitor.visit_none(),
            Token::Some => self.some(visitor),
            Token::Bool(value) => visitor.visit_bool(value),
            Token::Signed(value) => visitor.visit_i64(value),
            Token::Unsigned(value) => visitor.visit_u64(value),
            Token::I128(value) => visitor.visit_i128(value),
            Token::U128(value) => visitor.visit_u128(value),
            Token::Float(value) => visitor.visit_f64(value),
            Token::Char(value) => visitor.visit_char(value),
            Token::Str(value) => visitor.visit_string(value),
            Token::Bytes(value) => visitor.visit_byte_buf(value),
            Token::Name(name) => name.visit(visitor),
            Token::Sequence(run, count) => self.sequence(run, count, visitor),
            Token::Pairs(keys, count) => self.pairs(keys, count, &[], visitor),
            // No type but a handle reads this out of a buffer.
            Token::Attached(ticket) => {
                let entry = std::iter::once((attachment::NAME, ticket));
                visitor.visit_newtype_struct(MapDeserializer::<_, CodecError>::new(entry))
            }
        }
    }

    /// A handle, or what was written in its place.
    #[cold]
    fn attachment<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let kind = self.frame.kind(self.run)?;
        match kind {
            ATTACHED => {
                let (ticket, source) = self.frame.take_attachment()?;
                let offered = Offered { ticket, source };
                visitor.visit_u64(offered.ticket)
            }
            BYTES => visitor.visit_byte_buf(self.frame.take_bytes()?),
            STR | SHORT.. => visitor.visit_string(self.frame.take_text(kind)?),
            _ => Err(self.frame.unexpected(kind, &visitor)),
        }
    }

    /// A number of another kind than the type asked for.
    #[cold]
    #[inline(never)]
    fn other_number<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let kind = self.frame.kind(self.run)?;
        match self.frame.number(kind)? {
            Some(Token::Signed(value)) => visitor.visit_i64(value),
            Some(Token::Unsigned(value)) => visitor.visit_u64(value),
            Some(Token::I128(value)) => visitor.visit_i128(value),
            Some(Token::U128(value)) => visitor.visit_u128(value),
            Some(Token::Float(value)) => visitor.visit_f64(value),
            Some(_) => Err(CodecError::mismatch("there is no number")),
            None => Err(self.frame.unexpected(kind, &visitor)),
        }
    }

    /// What a `Some` holds that is written as such.
    fn some<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let frame = self.frame;
        let before = frame.reader.offset();
        let value = visitor.visit_some(Decoder::new(frame))?;
        if frame.reader.offset() == before { Err(unread()) } else { Ok(value) }
    }

    #[inline(always)]
    fn sequence<'de, V: Visitor<'de>>(self, run: u8, count: usize, visitor: V) -> Result<V::Value> {
        self.elements(run, count, &[], visitor)
    }

    /// `fields`: they are those of a struct.
    #[inline(always)]
    fn elements<'de, V: Visitor<'de>>(
        self,
        run: u8,
        count: usize,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.frame.open += 1;
        let (run, is_broken) = (run & !BROKEN, run & BROKEN != 0);
        let mut elements = Elements { frame: self.frame, run, is_broken, left: count, read: 0, fields };
        let value = visitor.visit_seq(&mut elements)?;
        elements.finish()?;
        Ok(value)
    }

    #[inline(always)]
    fn pairs<'de, V: Visitor<'de>>(
        self,
        keys: Keys,
        count: usize,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        self.frame.open += 1;
        let mut pairs = Pairs { frame: self.frame, keys, left: count, fields, read: 0, key: None };
        let value = visitor.visit_map(&mut pairs)?;
        pairs.finish()?;
        Ok(value)
    }

    /// A text, or what is read as one.
    #[inline]
    fn text<'de, V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value> {
        self.charge::<V::Value>()?;
        match self.frame.kind(self.run)? {
            kind @ (STR | SHORT..) => visitor.visit_string(self.frame.take_text(kind)?),
            UNIT_VARIANT => self.frame.take_name(&[])?.visit(visitor),
            kind => self.other_text(kind, visitor),
        }
    }

    #[cold]
    fn other_text<'de, V: Visitor<'de>>(self, kind: u8, visitor: V) -> Result<V::Value> {
        match kind {
            CHAR | BYTES => {
                let token = self.frame.token(kind)?;
                match token {
                    Token::Char(value) => visitor.visit_char(value),
                    Token::Bytes(value) => visitor.visit_byte_buf(value),
                    _ => Err(CodecError::mismatch("there is no text")),
                }
            }
            _ => Err(self.frame.unexpected(kind, &visitor)),
        }
    }
}

macro_rules! numbers {
    ($($method:ident => $visit:ident($type:ty) $kind:ident),*) => {$(
        #[inline(always)]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
            if self.run == $kind {
                let number: $type = self.frame.reader.take_number()?;
                return visitor.$visit(<$type>::from_le_bytes(number.to_ne_bytes()));
            }
            if self.run == 0
                && let Some(number) = self.frame.reader.take_after::<$type>($kind)
            {
                return visitor.$visit(<$type>::from_le_bytes(number.to_ne_bytes()));
            }
            self.other_number(visitor)
        }
    )*};
}

impl<'de> de::Deserializer<'de> for Decoder<'_, '_> {
    type Error = CodecError;

    numbers!(
        deserialize_i8 => visit_i8(i8) I8,
        deserialize_i16 => visit_i16(i16) I16,
        deserialize_i32 => visit_i32(i32) I32,
        deserialize_i64 => visit_i64(i64) I64,
        deserialize_i128 => visit_i128(i128) I128,
        deserialize_u8 => visit_u8(u8) U8,
        deserialize_u16 => visit_u16(u16) U16,
        deserialize_u32 => visit_u32(u32) U32,
        deserialize_u64 => visit_u64(u64) U64,
        deserialize_u128 => visit_u128(u128) U128,
        deserialize_f32 => visit_f32(f32) F32,
        deserialize_f64 => visit_f64(f64) F64
    );

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value> {
        self.charge::<V::Value>()?;
        let kind = self.frame.kind(self.run)?;
        let token = self.frame.token(kind)?;
        self.visit(token, visitor)
    }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let kind = self.frame.kind(self.run)?;
        if kind == BOOL {
            return match self.frame.reader.take_u8()? {
                value @ 0..=1 => visitor.visit_bool(value == 1),
                other => Err(CodecError::mismatch(format_args!("{other} is not a bool"))),
            };
        }
        Err(self.frame.unexpected(kind, &visitor))
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.text(visitor)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.text(visitor)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.text(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value> {
        self.charge::<V::Value>()?;
        match self.frame.kind(self.run)? {
            BYTES => visitor.visit_byte_buf(self.frame.take_bytes()?),
            kind @ (STR | SHORT..) => visitor.visit_string(self.frame.take_text(kind)?),
            kind => match self.frame.take_sequence(kind)? {
                Some((run, count)) => self.sequence(run, count, visitor),
                None => Err(self.frame.unexpected(kind, &visitor)),
            },
        }
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.frame.open_option(self.run, size_of::<V::Value>())? {
            Holds::Nothing => visitor.visit_none(),
            Holds::Marked => self.some(visitor),
            Holds::Value => visitor.visit_some(self),
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.frame.kind(self.run)? {
            UNIT | NONE => visitor.visit_unit(),
            kind => Err(self.frame.unexpected(kind, &visitor)),
        }
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value> {
        self.deserialize_unit(visitor)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value> {
        if attachment::is_ticket(name) {
            return self.attachment(visitor);
        }
        // What `serde_json` itself reads by this name it has written as a struct.
        if name == "$serde_json::private::RawValue" {
            return self.deserialize_any(visitor);
        }
        self.frame.check_depth()?;
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let (run, count) = self.frame.open_sequence(self.run, size_of::<V::Value>(), &visitor)?;
        match plain::vector::<V>(&mut self.frame.reader, run, count)? {
            Some(vector) => Ok(vector),
            None => self.sequence(run, count, visitor),
        }
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value> {
        if self.run == 0
            && let Some(count) = self.frame.reader.take_after::<u8>(TUPLE)
        {
            self.frame.check_depth()?;
            return self.sequence(0, count.into(), visitor);
        }
        let (run, count) = self.frame.open_sequence(self.run, 0, &visitor)?;
        self.sequence(run, count, visitor)
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let (keys, count) = self.frame.open_map(self.run, size_of::<V::Value>(), &visitor)?;
        self.pairs(keys, count, &[], visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let size = size_of::<V::Value>();
        match self.frame.open_struct(self.run, size, fields, is_derived::<V>(), &visitor)? {
            (Some(keys), _, count) => self.pairs(keys, count, fields, visitor),
            (None, run, count) => self.elements(run, count, fields, visitor),
        }
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value> {
        let (keys, has_payload) = self.frame.open_variant(self.run, size_of::<V::Value>(), &visitor)?;
        visitor.visit_enum(Variant { frame: self.frame, variants, keys, has_payload })
    }

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        match self.frame.identifier(self.run, &visitor)? {
            Identifier::Number(value) => visitor.visit_u64(value),
            Identifier::Text(text) => visitor.visit_str(text),
            Identifier::Bytes(bytes) => visitor.visit_byte_buf(bytes),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        let kind = self.frame.kind(self.run)?;
        self.frame.skip(kind)?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}

/// Whether serde's derive has made a visitor: then it reads the fields of a struct in order as well as by their names, and faster. One that was
/// made by hand may only know the names.
///
/// It is told by what it is called. If that should change structs are read by their names.
#[inline(always)]
fn is_derived<V>() -> bool {
    let name = std::any::type_name::<V>();
    name.ends_with("::__Visitor<'_>") || name.ends_with("::__Visitor")
}

/// A value that is part of another one begins.
struct Begun {
    offset: usize,
    open: u32,
}

impl Begun {
    #[inline(always)]
    fn at(frame: &Frame<'_>) -> Self {
        Self { offset: frame.reader.offset(), open: frame.open }
    }

    /// Whether it was read, all of it. `run`: as for [`Decoder`].
    #[inline(always)]
    fn is_read(&self, frame: &Frame<'_>, run: u8) -> bool {
        let offset = frame.reader.offset();
        let is_past = if run == 0 { offset != self.offset } else { offset == self.offset + width(run) };
        is_past && frame.open == self.open
    }
}

/// Reads one value that is part of another one, and makes sure that it was read.
#[inline(always)]
fn part<'de, S: DeserializeSeed<'de>>(frame: &mut Frame<'_>, seed: S) -> Result<S::Value> {
    frame.reader.charge(size_of::<S::Value>())?;
    let begun = Begun::at(frame);
    let value = seed.deserialize(Decoder::new(frame))?;
    if begun.is_read(frame, 0) { Ok(value) } else { Err(unread()) }
}

/// The elements of a sequence.
struct Elements<'d, 'm> {
    frame: &'d mut Frame<'m>,
    /// The kind of the numbers in the run that is being read; 0 if none is.
    run: u8,
    /// Whether others come after the run.
    is_broken: bool,
    left: usize,
    read: usize,
    /// The names of the elements, if they are the fields of a struct.
    fields: &'static [&'static str],
}

impl Elements<'_, '_> {
    #[cold]
    fn place(&self, error: CodecError) -> CodecError {
        match self.fields.get(self.read - 1) {
            Some(name) => error.in_field(name),
            None => error.in_element(self.read - 1),
        }
    }

    fn finish(self) -> Result<()> {
        if self.left != 0 || self.is_broken {
            return Err(CodecError::mismatch("there are more elements than its type takes"));
        }
        self.frame.open -= 1;
        Ok(())
    }

    /// Goes on after the run. False if nothing comes after it.
    #[cold]
    fn turn(&mut self) -> Result<bool> {
        if !self.is_broken {
            return Ok(false);
        }
        (self.run, self.is_broken, self.left) = (0, false, self.frame.take_count()?);
        Ok(self.left != 0)
    }
}

impl<'de> de::SeqAccess<'de> for &mut Elements<'_, '_> {
    type Error = CodecError;

    #[inline(always)]
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        if self.left == 0 && !self.turn()? {
            return Ok(None);
        }
        self.left -= 1;
        self.read += 1;
        self.frame.reader.charge(size_of::<S::Value>())?;
        let begun = Begun::at(self.frame);
        match seed.deserialize(Decoder { frame: self.frame, run: self.run }) {
            Ok(value) if begun.is_read(self.frame, self.run) => Ok(Some(value)),
            Ok(_) => Err(self.place(unread())),
            Err(error) => Err(self.place(error)),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        // Every element takes a byte at least, so that a forged number promises no more than there are bytes.
        Some(self.left)
    }
}

/// The keys and values of a map, or the names and values of a struct's fields.
struct Pairs<'d, 'm> {
    frame: &'d mut Frame<'m>,
    keys: Keys,
    left: usize,
    /// The fields of the struct that it is read as.
    fields: &'static [&'static str],
    read: usize,
    /// The name of the field whose value comes next.
    key: Option<&'static str>,
}

impl Pairs<'_, '_> {
    fn finish(self) -> Result<()> {
        if self.left != 0 {
            self.frame.skip_pairs(self.keys, self.left)?;
        }
        self.frame.open -= 1;
        Ok(())
    }

    /// The next name; `None` if there is none.
    #[inline(never)]
    fn name(&mut self) -> Result<Option<&str>> {
        while self.left != 0 {
            self.left -= 1;
            self.read += 1;
            let place = match self.keys {
                Keys::Shape(place) => place,
                Keys::Fields => {
                    self.key = self.fields.get(self.read - 1).copied();
                    return Ok(self.key);
                }
                _ => {
                    let name = self.frame.take_name(self.fields)?;
                    return Ok(Some(self.frame.keep(name)));
                }
            };
            let written = self.frame.name_at(place)?;
            self.keys = Keys::Shape(place + written.size());
            if self.frame.reader.peek_u8()? == ABSENT {
                self.frame.reader.skip(1)?;
                continue;
            }
            let name = self.frame.name_among(&written, self.fields, self.read - 1)?;
            self.key = match &name {
                Name::Literal(name) => Some(name),
                Name::Text(_) => None,
            };
            return Ok(Some(self.frame.keep(name)));
        }
        Ok(None)
    }

    #[cold]
    fn place(&self, error: CodecError) -> CodecError {
        match self.key {
            Some(name) => error.in_field(name),
            None => error.in_element(self.read.saturating_sub(1)),
        }
    }
}

impl<'de> de::MapAccess<'de> for &mut Pairs<'_, '_> {
    type Error = CodecError;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>> {
        if !matches!(self.keys, Keys::Values) {
            return match self.name()? {
                Some(name) => seed.deserialize(Text(name)).map(Some),
                None => Ok(None),
            };
        }
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.read += 1;
        part(self.frame, seed).map(Some).map_err(|error| self.place(error))
    }

    // Not inlined: it is the same for all structs with a field of this type.
    #[inline(never)]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value> {
        part(self.frame, seed).map_err(|error| self.place(error))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The variant of an enum, and what it holds.
struct Variant<'d, 'm> {
    frame: &'d mut Frame<'m>,
    variants: &'static [&'static str],
    keys: Keys,
    has_payload: bool,
}

impl<'d, 'm> Variant<'d, 'm> {
    #[inline(never)]
    fn name(&mut self) -> Result<&str> {
        if matches!(self.keys, Keys::Text) {
            return Ok(&self.frame.rare().text);
        }
        let name = self.frame.take_name(self.variants)?;
        Ok(self.frame.keep(name))
    }

    /// What it holds.
    #[inline(always)]
    fn payload(self) -> Result<Decoder<'d, 'm>> {
        if !self.has_payload {
            return Err(CodecError::mismatch("a variant holds nothing, and its type expects that it does"));
        }
        self.frame.open -= 1;
        Ok(Decoder::new(self.frame))
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'_, '_> {
    type Error = CodecError;
    type Variant = Self;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(mut self, seed: S) -> Result<(S::Value, Self)> {
        if matches!(self.keys, Keys::Values) {
            return Ok((part(self.frame, seed)?, self));
        }
        let value = seed.deserialize(Text(self.name()?))?;
        Ok((value, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, '_> {
    type Error = CodecError;

    #[inline]
    fn unit_variant(self) -> Result<()> {
        if self.has_payload { <() as de::Deserialize>::deserialize(self.payload()?) } else { Ok(()) }
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value> {
        seed.deserialize(self.payload()?)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        de::Deserializer::deserialize_tuple(self.payload()?, len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value> {
        de::Deserializer::deserialize_struct(self.payload()?, "", fields, visitor)
    }
}
