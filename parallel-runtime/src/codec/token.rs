//! Reading as far as that takes no visitor. None of it is generic, so it is compiled once.

use serde::de::Expected;

use super::error::CodecError;
use super::frame::{Frame, Offered, unread};
use super::kind::*;
use super::name::Name;

type Result<T> = std::result::Result<T, CodecError>;

/// A value of any kind, read as far as that takes no visitor.
pub(super) enum Token {
    Unit,
    None,
    Some,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    I128(i128),
    U128(u128),
    Float(f64),
    Char(char),
    Str(String),
    Bytes(Vec<u8>),
    Name(Name),
    Sequence(u8, usize),
    Pairs(Keys, usize),
    /// The ticket of a handle.
    Attached(u64),
}

/// What a field or a variant is told by.
pub(super) enum Identifier<'f> {
    Number(u64),
    Text(&'f str),
    Bytes(Vec<u8>),
}

/// What an option holds.
pub(super) enum Holds {
    Nothing,
    /// A value that would be read as nothing, or another option.
    Marked,
    Value,
}

/// Where the keys are of what is read as a map.
#[derive(Clone, Copy)]
pub(super) enum Keys {
    /// Before the values, as values.
    Values,
    /// Before the values, as names.
    Names,
    /// In the trailer, from this place on.
    Shape(usize),
    /// They are the fields that the type has, in order.
    Fields,
    /// Of the only one: it has been read, into the frame's `text`.
    Text,
}

impl Frame<'_> {
    #[inline(never)]
    pub(super) fn token(&mut self, kind: u8) -> Result<Token> {
        macro_rules! number {
            ($token:ident $type:ty) => {
                Token::$token(<$type>::from_le_bytes(self.reader.take()?).into())
            };
        }
        Ok(match kind {
            UNIT => Token::Unit,
            NONE => Token::None,
            SOME => {
                self.check_depth()?;
                Token::Some
            }
            BOOL => match self.reader.take_u8()? {
                value @ 0..=1 => Token::Bool(value == 1),
                other => return Err(CodecError::mismatch(format_args!("{other} is not a bool"))),
            },
            I8 => number!(Signed i8),
            U8 => number!(Unsigned u8),
            I16 => number!(Signed i16),
            U16 => number!(Unsigned u16),
            I32 => number!(Signed i32),
            U32 => number!(Unsigned u32),
            F32 => number!(Float f32),
            I64 => number!(Signed i64),
            U64 => number!(Unsigned u64),
            F64 => number!(Float f64),
            // What fits is given as what more visitors take: serde's own buffers know no numbers of 128 bits.
            I128 => {
                let value = i128::from_le_bytes(self.reader.take()?);
                match (u64::try_from(value), i64::try_from(value)) {
                    (Ok(value), _) => Token::Unsigned(value),
                    (_, Ok(value)) => Token::Signed(value),
                    _ => Token::I128(value),
                }
            }
            U128 => {
                let value = u128::from_le_bytes(self.reader.take()?);
                u64::try_from(value).map_or(Token::U128(value), Token::Unsigned)
            }
            CHAR => {
                let code = u32::from_le_bytes(self.reader.take()?);
                let value = char::from_u32(code);
                Token::Char(value.ok_or_else(|| CodecError::mismatch(format_args!("{code:#x} is not a char")))?)
            }
            STR | SHORT.. => Token::Str(self.take_text(kind)?),
            BYTES => Token::Bytes(self.take_bytes()?),
            UNIT_VARIANT => Token::Name(self.take_name(&[])?),
            ATTACHED => {
                // It is kept by serde's buffers, and taken some time before the value ends.
                let (ticket, source) = self.take_attachment()?;
                self.rare().offered.push(Offered { ticket, source });
                Token::Attached(ticket)
            }
            _ => {
                if let Some((run, count)) = self.take_sequence(kind)? {
                    return Ok(Token::Sequence(run, count));
                }
                match self.take_pairs(kind, &[])? {
                    Some((keys, count)) => Token::Pairs(keys, count),
                    None => return Err(CodecError::mismatch("there is a value of no kind")),
                }
            }
        })
    }

    /// Where the names of a struct's fields are, and how many, read as a struct of these fields, if there are any.
    #[inline(always)]
    pub(super) fn take_fields(&mut self, kind: u8, fields: &'static [&'static str]) -> Result<(Keys, usize)> {
        let (number, names) = self.take_shape()?;
        let are_fields = !fields.is_empty() && self.check_names(number, names, fields)?;
        let keys = if are_fields && kind == STRUCT { Keys::Fields } else { Keys::Shape(names.place) };
        Ok((keys, names.count))
    }

    /// What can be read as a map, of which the kind has been read: where its keys are, and how many. `None` if it cannot. It is read as a struct
    /// of these fields, if there are any.
    #[inline(never)]
    pub(super) fn take_pairs(&mut self, kind: u8, fields: &'static [&'static str]) -> Result<Option<(Keys, usize)>> {
        self.check_depth()?;
        Ok(Some(match kind {
            STRUCT | PARTIAL => self.take_fields(kind, fields)?,
            MAP => (Keys::Values, self.take_count()?),
            NAMED => {
                let count = u32::from_le_bytes(self.reader.take()?) as usize;
                if count > self.reader.left() {
                    return Err(CodecError::end_of_data());
                }
                (Keys::Names, count)
            }
            VARIANT => (Keys::Names, 1),
            _ => return Ok(None),
        }))
    }

    /// The kind of a value: that of its run, or the next byte.
    #[inline(always)]
    pub(super) fn kind(&mut self, run: u8) -> Result<u8> {
        if run != 0 { Ok(run) } else { self.reader.take_u8() }
    }

    /// A sequence begins: its run and the number of its elements.
    #[inline(never)]
    pub(super) fn open_sequence(&mut self, run: u8, size: usize, expected: &dyn Expected) -> Result<(u8, usize)> {
        self.reader.charge(size)?;
        let kind = self.kind(run)?;
        match self.take_sequence(kind)? {
            Some(sequence) => Ok(sequence),
            None => Err(self.unexpected(kind, expected)),
        }
    }

    /// A map begins: where its keys are, and how many.
    #[inline(never)]
    pub(super) fn open_map(&mut self, run: u8, size: usize, expected: &dyn Expected) -> Result<(Keys, usize)> {
        self.reader.charge(size)?;
        let kind = self.kind(run)?;
        match self.take_pairs(kind, &[])? {
            Some(pairs) => Ok(pairs),
            None => Err(self.unexpected(kind, expected)),
        }
    }

    /// A struct begins: where the names of its fields are, and how many. If they are not in the data, it is a sequence.
    ///
    /// `in_order`: it can be read as a sequence if all its fields are there, in order.
    #[inline(never)]
    pub(super) fn open_struct(
        &mut self,
        run: u8,
        size: usize,
        fields: &'static [&'static str],
        in_order: bool,
        expected: &dyn Expected,
    ) -> Result<(Option<Keys>, u8, usize)> {
        self.reader.charge(size)?;
        let kind = self.kind(run)?;
        // Most are of this kind: a call less.
        let pairs = if kind == STRUCT {
            self.check_depth()?;
            Some(self.take_fields(kind, fields)?)
        } else {
            self.take_pairs(kind, fields)?
        };
        if let Some((keys, count)) = pairs {
            let keys = if in_order && matches!(keys, Keys::Fields) { None } else { Some(keys) };
            return Ok((keys, 0, count));
        }
        match self.take_sequence(kind)? {
            Some((run, count)) => Ok((None, run, count)),
            None => Err(self.unexpected(kind, expected)),
        }
    }

    /// A variant begins: where its name is, and whether it holds something. A string is the name of one that holds nothing.
    #[inline(never)]
    pub(super) fn open_variant(&mut self, run: u8, size: usize, expected: &dyn Expected) -> Result<(Keys, bool)> {
        self.check_depth()?;
        self.reader.charge(size)?;
        let (keys, has_payload) = match self.kind(run)? {
            UNIT_VARIANT => (Keys::Names, false),
            VARIANT => (Keys::Names, true),
            // As JSON has it, which implementations by hand count on.
            MAP => {
                if self.take_count()? != 1 {
                    self.give_up();
                    return Err(CodecError::mismatch("a map of other than one entry is no variant of an enum"));
                }
                (Keys::Values, true)
            }
            kind @ (STR | SHORT..) => {
                let text = self.take_text(kind)?;
                self.rare().text = text;
                (Keys::Text, false)
            }
            kind => return Err(self.unexpected(kind, expected)),
        };
        // Ended when what the variant holds is read.
        self.open += u32::from(has_payload);
        Ok((keys, has_payload))
    }

    /// An option begins: whether there is something, and whether it is written as such.
    #[inline(never)]
    pub(super) fn open_option(&mut self, run: u8, size: usize) -> Result<Holds> {
        self.check_depth()?;
        self.reader.charge(size)?;
        if run != 0 {
            return Ok(Holds::Value);
        }
        let holds = match self.reader.peek_u8()? {
            NONE | UNIT => Holds::Nothing,
            SOME => Holds::Marked,
            _ => return Ok(Holds::Value),
        };
        self.reader.skip(1)?;
        Ok(holds)
    }

    /// What is left of a map or a struct by its visitor, if there is a way to pass over it.
    #[cold]
    pub(super) fn skip_pairs(&mut self, keys: Keys, count: usize) -> Result<()> {
        match keys {
            Keys::Shape(_) | Keys::Fields => (0..count).try_for_each(|_| self.skip_value()),
            _ => Err(unread()),
        }
    }

    /// What tells a field or a variant.
    #[inline(never)]
    pub(super) fn identifier(&mut self, run: u8, expected: &dyn Expected) -> Result<Identifier<'_>> {
        let kind = self.kind(run)?;
        let name = match kind {
            U8 | U16 | U32 | U64 => match self.token(kind)? {
                Token::Unsigned(value) => return Ok(Identifier::Number(value)),
                _ => return Err(CodecError::mismatch("there is no number")),
            },
            BYTES => return Ok(Identifier::Bytes(self.take_bytes()?)),
            STR | SHORT.. => Name::Text(self.take_text(kind)?),
            UNIT_VARIANT => self.take_name(&[])?,
            CHAR => match self.token(kind)? {
                Token::Char(value) => Name::Text(value.to_string()),
                _ => return Err(CodecError::mismatch("there is no text")),
            },
            _ => return Err(self.unexpected(kind, expected)),
        };
        Ok(Identifier::Text(self.keep(name)))
    }

    /// A number, as far as that takes no visitor: `None` if it is none.
    #[inline(never)]
    pub(super) fn number(&mut self, kind: u8) -> Result<Option<Token>> {
        if (I8..=U128).contains(&kind) && kind != CHAR { self.token(kind).map(Some) } else { Ok(None) }
    }
}
