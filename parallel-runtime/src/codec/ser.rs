//! The serialiser.
//!
//! See [`codec`](super) for what is written. Whatever code of the user's does with these types, what is written is one value, or the whole
//! value is refused: see [`Writer::close_frame`].

use serde::ser::{self, Serialize};

use super::attachment::{self, Attached};
use super::error::CodecError;
use super::frame_writer::PLAIN;
use super::kind::*;
use super::plain::Plain;
use super::shape::{self, Shape};
use super::ticket::TicketReader;
use super::writer::Writer;

type Result<T> = std::result::Result<T, CodecError>;

/// The first element of a sequence: a number comes without its kind, and says which it is.
const FIRST: u8 = 0xFF;

/// Writes one value.
pub(super) struct Encoder<'e, 'a> {
    out: &'e mut Writer<'a>,
    /// [`PLAIN`], [`FIRST`], or the kind of the numbers in the run that this value is an element of: such a number comes without its kind.
    expect: u8,
    /// Whether it is what a `Some` holds.
    some: bool,
}

impl<'a> Writer<'a> {
    #[inline(always)]
    pub(super) fn encoder(&mut self) -> Encoder<'_, 'a> {
        Encoder { out: self, expect: PLAIN, some: false }
    }
}

impl<'e, 'a> Encoder<'e, 'a> {
    #[inline(always)]
    fn number<const N: usize>(self, kind: u8, bytes: [u8; N]) -> Result<()> {
        if self.expect == kind {
            self.out.put(bytes);
        } else if self.expect == PLAIN {
            self.out.put_both([kind], bytes);
        } else {
            self.number_apart(kind, bytes);
        }
        Ok(())
    }

    /// The first of a sequence, or one that is not of its run.
    #[cold]
    fn number_apart<const N: usize>(self, kind: u8, bytes: [u8; N]) {
        // A wider one would be as long as a number with what comes before one that breaks a run.
        if self.expect == FIRST && N <= 8 {
            self.out.first = kind;
            self.out.put(bytes);
        } else {
            self.open().put_both([kind], bytes);
        }
    }

    /// What follows is no number of the run, which it ends: room for the number of what comes after the run. The sequence notices it by
    /// these nine bytes or more.
    #[inline(always)]
    fn open(self) -> &'e mut Writer<'a> {
        if self.expect != PLAIN && self.expect != FIRST {
            self.out.put([0; 8]);
        }
        self.out
    }

    #[inline(always)]
    fn tag(self, kind: u8) -> &'e mut Writer<'a> {
        let out = self.open();
        out.put([kind]);
        out
    }

    /// What reads as `None`.
    #[inline]
    fn nothing(self, kind: u8) -> Result<()> {
        if self.some {
            self.tag(SOME).put([kind]);
        } else {
            self.tag(kind);
        }
        Ok(())
    }

    #[inline(never)]
    fn sequence(self, len: Option<usize>) -> Result<Elements<'e, 'a>> {
        self.out.check_depth()?;
        let out = self.open();
        let header = out.len();
        let stated = len.unwrap_or(0) as u64;
        out.put_both([SEQ, PLAIN], stated.to_le_bytes());
        let end = out.len();
        Ok(Elements { out, header, stated, count: 0, run: 0, expect: FIRST, width: usize::MAX, rest: 0, end })
    }

    #[inline]
    fn tuple(self, len: usize) -> Result<Elements<'e, 'a>> {
        if len >= 8 {
            return self.sequence(Some(len));
        }
        self.out.check_depth()?;
        let out = self.open();
        out.put([TUPLE, len as u8]);
        let (header, stated) = (usize::MAX, len as u64);
        let end = out.len();
        Ok(Elements { out, header, stated, count: 0, run: 0, expect: PLAIN, width: 0, rest: 0, end })
    }

    #[inline(always)]
    fn fields(self, type_name: &'static str) -> Result<Fields<'e, 'a>> {
        self.out.check_depth()?;
        let out = self.open();
        let header = out.len();
        let slot = shape::slot_of(type_name);
        let shape = out.put_struct(slot);
        let rest = shape.map_or(&[][..], |shape| &*shape.names);
        let base = out.unsettled_names().len();
        Ok(Fields { out, header, shape, rest, base, slot, is_partial: false })
    }

    /// A handle, which is offered under this ticket.
    #[cold]
    fn attach(self, ticket: u64) -> Result<()> {
        let out = self.open();
        let Some(carrier) = out.carrier() else {
            return Err(CodecError::new("a handle of shared memory cannot be sent from here"));
        };
        match carrier(ticket, out)? {
            Attached::Entry(entry) => {
                let index = out.entries().len() as u32;
                out.entries_mut().push(entry);
                out.put_both([ATTACHED], index.to_le_bytes());
            }
            Attached::Bytes(bytes) => {
                out.put_both([BYTES], (bytes.len() as u64).to_le_bytes());
                out.put_slice(&bytes);
            }
            Attached::Text(text) => out.put_text(&text),
        }
        Ok(())
    }

    #[inline(never)]
    fn variant(self, variant: &'static str) -> Result<Self> {
        self.out.check_depth()?;
        let out = self.tag(VARIANT);
        out.put_name(variant)?;
        Ok(out.encoder())
    }
}

macro_rules! numbers {
    ($($method:ident($type:ty) $kind:ident),*) => {$(
        #[inline(always)]
        fn $method(self, value: $type) -> Result<()> {
            self.number($kind, value.to_le_bytes())
        }
    )*};
}

impl<'e, 'a> ser::Serializer for Encoder<'e, 'a> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Elements<'e, 'a>;
    type SerializeTuple = Elements<'e, 'a>;
    type SerializeTupleStruct = Elements<'e, 'a>;
    type SerializeTupleVariant = Elements<'e, 'a>;
    type SerializeMap = Entries<'e, 'a>;
    type SerializeStruct = Fields<'e, 'a>;
    type SerializeStructVariant = Fields<'e, 'a>;

    numbers!(
        serialize_i8(i8) I8,
        serialize_i16(i16) I16,
        serialize_i32(i32) I32,
        serialize_i64(i64) I64,
        serialize_i128(i128) I128,
        serialize_u8(u8) U8,
        serialize_u16(u16) U16,
        serialize_u32(u32) U32,
        serialize_u64(u64) U64,
        serialize_u128(u128) U128,
        serialize_f32(f32) F32,
        serialize_f64(f64) F64
    );

    #[inline(always)]
    fn serialize_bool(self, value: bool) -> Result<()> {
        self.number(BOOL, [u8::from(value)])
    }

    #[inline(always)]
    fn serialize_char(self, value: char) -> Result<()> {
        self.number(CHAR, u32::from(value).to_le_bytes())
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<()> {
        self.open().put_text(value);
        Ok(())
    }

    #[inline]
    fn serialize_bytes(self, value: &[u8]) -> Result<()> {
        let out = self.open();
        out.put_both([BYTES], (value.len() as u64).to_le_bytes());
        out.put_slice(value);
        Ok(())
    }

    #[inline]
    fn serialize_none(self) -> Result<()> {
        self.nothing(NONE)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.out.check_depth()?;
        let mut inner = self;
        if inner.some {
            inner = inner.tag(SOME).encoder();
        }
        value.serialize(Encoder { some: true, ..inner })
    }

    #[inline]
    fn serialize_unit(self) -> Result<()> {
        self.nothing(UNIT)
    }

    #[inline]
    fn serialize_unit_struct(self, _name: &'static str) -> Result<()> {
        self.nothing(UNIT)
    }

    #[inline]
    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<()> {
        self.tag(UNIT_VARIANT).put_name(variant)
    }

    #[inline(always)]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<()> {
        if attachment::is_ticket(name) {
            return self.attach(value.serialize(TicketReader)?);
        }
        value.serialize(self)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        value.serialize(self.variant(variant)?)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Elements<'e, 'a>> {
        self.sequence(len)
    }

    #[inline]
    fn collect_seq<I: IntoIterator<Item: Serialize>>(self, elements: I) -> Result<()> {
        if let Some(plain) = Plain::of(&elements) {
            self.open().put_plain(plain.kind, plain.count, plain.bytes);
            return Ok(());
        }
        let elements = elements.into_iter();
        let mut sequence = self.sequence(match elements.size_hint() {
            (low, Some(high)) if low == high => Some(low),
            _ => None,
        })?;
        for element in elements {
            sequence.element(&element)?;
        }
        sequence.finish()
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Elements<'e, 'a>> {
        self.tuple(len)
    }

    #[inline]
    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Elements<'e, 'a>> {
        self.tuple(len)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Elements<'e, 'a>> {
        self.variant(variant)?.tuple(len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Entries<'e, 'a>> {
        self.out.check_depth()?;
        let out = self.open();
        let header = out.len();
        out.put_both([MAP], (len.unwrap_or(0) as u64).to_le_bytes());
        Ok(Entries { out, header, count: 0 })
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, _len: usize) -> Result<Fields<'e, 'a>> {
        self.fields(name)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Fields<'e, 'a>> {
        self.variant(variant)?.fields(variant)
    }

    fn is_human_readable(&self) -> bool {
        true
    }
}

/// Writes the elements of a sequence or a tuple.
///
/// As long as they are numbers of one kind, that kind stands in the head and they lie there bare: a *run*. From the first one that is no
/// such number on they are values as everywhere.
pub(super) struct Elements<'e, 'a> {
    out: &'e mut Writer<'a>,
    /// Where the sequence begins; `usize::MAX` for a tuple, which has no runs.
    header: usize,
    /// The number of elements that stands in the head.
    stated: u64,
    /// Elements written: those of the run, or those after it.
    count: u64,
    /// Elements of the run, once it has ended.
    run: u64,
    expect: u8,
    /// Bytes that an element of the run takes. 0: nothing is a run any more.
    width: usize,
    /// Where the number of the elements after the run goes.
    rest: usize,
    /// Where the last element ends.
    end: usize,
}

impl Elements<'_, '_> {
    #[inline(always)]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let before = self.out.len();
        if before != self.end {
            return Err(self.damaged());
        }
        if let Err(error) = value.serialize(Encoder { out: self.out, expect: self.expect, some: false }) {
            return Err(self.fail(error));
        }
        self.count += 1;
        self.end = self.out.len();
        if self.width != 0 && self.end - before != self.width {
            self.turn(before);
        }
        Ok(())
    }

    #[cold]
    fn fail(&mut self, error: CodecError) -> CodecError {
        let index = self.run + self.count;
        self.out.fail(error.in_element(index as usize))
    }

    /// Something has been written that is no element: one that has panicked half-way, in code that goes on after that.
    #[cold]
    fn damaged(&mut self) -> CodecError {
        self.out.fail(CodecError::new("its `Serialize` went on after an error or a panic"))
    }

    /// The first element was written, or the first that is not of the run.
    #[cold]
    fn turn(&mut self, before: usize) {
        if self.expect == FIRST {
            self.expect = std::mem::take(&mut self.out.first);
            self.width = if self.expect == PLAIN { 0 } else { width(self.expect) };
            self.out.patch(self.header + 1, [self.expect]);
        } else {
            self.out.patch(self.header + 1, [self.expect | BROKEN]);
            (self.run, self.count, self.rest, self.expect, self.width) = (self.count - 1, 1, before, PLAIN, 0);
        }
    }

    #[inline(always)]
    fn finish(self) -> Result<()> {
        let is_right = self.rest == 0 && self.count == self.stated && self.out.len() == self.end;
        if is_right { Ok(()) } else { self.correct() }
    }

    #[cold]
    fn correct(mut self) -> Result<()> {
        if self.out.len() != self.end {
            return Err(self.damaged());
        }
        let mut in_head = self.count;
        if self.rest != 0 {
            self.out.patch(self.rest, self.count.to_le_bytes());
            in_head = self.run;
        }
        if self.header != usize::MAX {
            self.out.patch(self.header + 2, in_head.to_le_bytes());
            return Ok(());
        }
        let (stated, count) = (self.stated, self.count);
        Err(self.out.fail(CodecError::new(format_args!("a tuple said that it has {stated} elements and had {count}"))))
    }
}

/// Writes the entries of a map.
pub(super) struct Entries<'e, 'a> {
    out: &'e mut Writer<'a>,
    header: usize,
    /// Keys and values.
    count: u64,
}

impl Entries<'_, '_> {
    #[inline(always)]
    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.count += 1;
        self.out.begun += 1;
        value.serialize(self.out.encoder()).map_err(|error| self.fail(error))?;
        self.out.begun -= 1;
        Ok(())
    }

    #[cold]
    fn fail(&mut self, error: CodecError) -> CodecError {
        let index = (self.count - 1) / 2;
        self.out.fail(error.in_element(index as usize))
    }
}

impl ser::SerializeMap for Entries<'_, '_> {
    type Ok = ();
    type Error = CodecError;
    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<()> {
        if !self.count.is_multiple_of(2) {
            return Err(self.fail(CodecError::new("a key of a map has no value")));
        }
        self.part(key)
    }
    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        if self.count.is_multiple_of(2) {
            return Err(self.fail(CodecError::new("a value of a map has no key")));
        }
        self.part(value)
    }
    #[inline]
    fn end(mut self) -> Result<()> {
        if !self.count.is_multiple_of(2) {
            return Err(self.fail(CodecError::new("the last key of a map has no value")));
        }
        self.out.patch(self.header + 1, (self.count / 2).to_le_bytes());
        Ok(())
    }
}

/// Writes the fields of a struct.
pub(super) struct Fields<'e, 'a> {
    out: &'e mut Writer<'a>,
    header: usize,
    /// The shape that the struct has had so far.
    shape: Option<&'static Shape>,
    /// The names that are still expected in that shape.
    rest: &'static [&'static str],
    /// Where its names start among the unsettled ones, if it has no shape. Where all values have their names: how many fields there are.
    base: usize,
    slot: u8,
    /// Whether a field was skipped.
    is_partial: bool,
}

impl Fields<'_, '_> {
    #[inline(always)]
    fn name(&mut self, name: &'static str) -> Result<()> {
        if let Some((expected, rest)) = self.rest.split_first()
            && std::ptr::eq(*expected, name)
        {
            self.rest = rest;
            return Ok(());
        }
        self.unforeseen(name)
    }

    #[inline(never)]
    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
        self.name(name)?;
        self.out.begun += 1;
        match value.serialize(self.out.encoder()) {
            Ok(()) => {
                self.out.begun -= 1;
                Ok(())
            }
            Err(error) => Err(self.out.fail_in_field(error, name)),
        }
    }

    fn skip(&mut self, name: &'static str) -> Result<()> {
        if self.out.canonical {
            return Ok(());
        }
        self.name(name)?;
        self.is_partial = true;
        self.out.put([ABSENT]);
        Ok(())
    }

    #[cold]
    fn unforeseen(&mut self, name: &'static str) -> Result<()> {
        if self.out.canonical {
            self.base += 1;
            let named = self.out.put_text_name(name);
            return named.map_err(|error| self.out.fail(error));
        }
        self.diverge();
        self.out.unsettled_names_mut().push(name);
        Ok(())
    }

    /// It does not have the expected shape.
    fn diverge(&mut self) {
        if let Some(shape) = self.shape.take() {
            // What its fields hold is settled.
            self.base = self.out.unsettled_names().len();
            let so_far = shape.names.len() - self.rest.len();
            self.out.unsettled_names_mut().extend(&shape.names[..so_far]);
            self.rest = &[];
        }
    }

    #[inline(never)]
    fn finish(mut self) -> Result<()> {
        if self.out.canonical {
            self.out.patch(self.header + 1, (self.base as u32).to_le_bytes());
            return Ok(());
        }
        if !self.rest.is_empty() {
            self.diverge();
        }
        let number = match self.shape {
            Some(shape) => self.out.defined.number_of(shape),
            None => self.learn()?,
        };
        if number != 0 {
            self.out.patch(self.header + 1, number.to_le_bytes());
        }
        if self.is_partial {
            self.out.patch(self.header, [PARTIAL]);
        }
        Ok(())
    }

    #[cold]
    fn learn(&mut self) -> Result<u32> {
        let names = std::mem::take(self.out.unsettled_names_mut());
        let number = self.out.defined.number_of_names(&names[self.base..], self.slot);
        *self.out.unsettled_names_mut() = names;
        self.out.unsettled_names_mut().truncate(self.base);
        number.map_err(|error| self.out.fail(error))
    }
}

macro_rules! elements {
    ($($trait:ident::$method:ident),*) => {$(
        impl ser::$trait for Elements<'_, '_> {
            type Ok = ();
            type Error = CodecError;
            #[inline(always)]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
                self.element(value)
            }
            #[inline(always)]
            fn end(self) -> Result<()> {
                self.finish()
            }
        }
    )*};
}
elements!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

macro_rules! named {
    ($($trait:ident),*) => {$(
        impl ser::$trait for Fields<'_, '_> {
            type Ok = ();
            type Error = CodecError;
            #[inline(always)]
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<()> {
                self.field(name, value)
            }
            fn skip_field(&mut self, name: &'static str) -> Result<()> {
                self.skip(name)
            }
            #[inline]
            fn end(self) -> Result<()> {
                self.finish()
            }
        }
    )*};
}
named!(SerializeStruct, SerializeStructVariant);
