//! One value as it is read: its bytes, and the shapes of the structs in it.

use serde::de::{Error, Expected};

use super::attachment::{EXCLUSIVE, Entry, Source};
use super::error::CodecError;
use super::frame_writer::HAS_TRAILER;
use super::kind::*;
use super::name::{Name, Written};
use super::reader::Reader;
use crate::sys::stack;

type Result<T> = std::result::Result<T, CodecError>;

/// A value that is being read.
///
/// Code of the user's takes part in that, and may leave a value unread, or go on after an error. So `open` counts what was begun and not
/// ended in order, and the frame is read in order only if that is 0 and no bytes are left. Another frame begins where this one ends, whatever
/// happened in this one.
pub(super) struct Frame<'m> {
    pub(super) reader: Reader<'m>,
    /// The definitions of shapes, where each begins, how many there are, and how long all that is.
    trailer: Reader<'m>,
    shapes: usize,
    /// The table of attachments: where it begins in the trailer, and how many there are.
    table: (usize, usize),
    rare: Option<Box<Rare<'m>>>,
    floor: usize,
    pub(super) open: u32,
    /// Shapes whose names were compared with the fields of a type: the number, the address of the fields, and whether they are the same.
    compared: [(u32, usize, bool); 4],
}

/// What few values need.
#[derive(Default)]
pub(super) struct Rare<'m> {
    /// Entries of the table that are exclusive and were given out.
    given: Vec<u32>,
    /// What is in serde's buffers.
    pub(super) offered: Vec<Offered<'m>>,
    /// The last name that was no literal.
    pub(super) text: String,
}

/// A handle that is offered, until this ends.
pub(super) struct Offered<'m> {
    pub(super) ticket: u64,
    pub(super) source: &'m dyn Source,
}

impl Drop for Offered<'_> {
    fn drop(&mut self) {
        self.source.withdraw(self.ticket);
    }
}

/// Bytes of the numbers at the end of the trailer.
const ENDS: usize = 3 * size_of::<u32>();

/// The names of a shape.
#[derive(Clone, Copy)]
pub(super) struct Names {
    pub(super) count: usize,
    /// Where they begin in the trailer.
    pub(super) place: usize,
}

#[cold]
fn too_deep() -> CodecError {
    CodecError::new("it is nested too deeply for the stack of this thread: pass it in a flat form")
}

/// The bytes of the next frame, and whether something follows the value; the reader goes on after it.
#[inline(always)]
pub(super) fn take_frame<'m>(reader: &mut Reader<'m>) -> Result<(Reader<'m>, bool)> {
    let head = u64::from_le_bytes(reader.take()?);
    let len = usize::try_from(head & !HAS_TRAILER).map_err(|_| CodecError::end_of_data())?;
    Ok((reader.split(len)?, head & HAS_TRAILER != 0))
}

impl<'m> Frame<'m> {
    /// A frame of these bytes, which [`take_frame`] has found.
    #[inline(always)]
    pub(super) fn new(reader: Reader<'m>) -> Self {
        let trailer = Reader::nothing();
        Self {
            reader,
            trailer,
            shapes: 0,
            table: (0, 0),
            rare: None,
            floor: stack::floor(),
            open: 0,
            compared: [(0, 0, false); 4],
        }
    }

    /// Reads what follows the value.
    #[inline(never)]
    pub(super) fn open_trailer(&mut self) -> Result<()> {
        const WORD: usize = size_of::<u32>();
        let end = self.reader.left().checked_sub(ENDS).ok_or_else(CodecError::end_of_data)?;
        let number = |place| self.reader.at(place).map(|bytes| u32::from_le_bytes(bytes) as usize);
        let (attached, shapes, len) = (number(end)?, number(end + WORD)?, number(end + 2 * WORD)?);
        self.shapes = shapes;
        self.trailer = self.reader.split_end(len)?;
        // Both are looked up from the end.
        let sizes = shapes.checked_mul(WORD).zip(attached.checked_mul(size_of::<Entry>()));
        let sizes = sizes.and_then(|(places, table)| places.checked_add(ENDS)?.checked_add(table));
        let Some(table) = sizes.and_then(|sizes| len.checked_sub(sizes)) else {
            return Err(CodecError::mismatch("what follows the value is damaged"));
        };
        self.table = (table, attached);
        Ok(())
    }

    /// Offers what an entry of the table stands for. Gives the ticket, and where it is offered.
    #[cold]
    pub(super) fn take_attachment(&mut self) -> Result<(u64, &'m dyn Source)> {
        let index = u32::from_le_bytes(self.reader.take()?);
        let (start, count) = self.table;
        let Some(source) = self.reader.source().filter(|_| (index as usize) < count) else {
            return Err(CodecError::mismatch("a handle of shared memory is missing"));
        };
        let entry: Entry = self.trailer.at(start + index as usize * size_of::<Entry>())?;
        if entry[entry.len() - 1] & EXCLUSIVE != 0 {
            if self.rare().given.contains(&index) {
                return Err(CodecError::mismatch("the same handle of shared memory is read twice"));
            }
            self.rare().given.push(index);
        }
        Ok((source.accept(entry)?, source))
    }

    #[cold]
    pub(super) fn rare(&mut self) -> &mut Rare<'m> {
        self.rare.get_or_insert_default()
    }

    /// Whether all of it was read, in order.
    #[inline(always)]
    pub(super) fn is_read(&self) -> bool {
        self.reader.left() == 0 && self.open == 0
    }

    #[inline(always)]
    pub(super) fn check_depth(&self) -> Result<()> {
        if stack::pointer() < self.floor { Err(too_deep()) } else { Ok(()) }
    }

    /// The names of the next struct, and its number.
    #[inline(always)]
    pub(super) fn take_shape(&mut self) -> Result<(u32, Names)> {
        let number = u32::from_le_bytes(self.reader.take()?);
        Ok((number, self.names(number)?))
    }

    #[inline]
    fn names(&self, number: u32) -> Result<Names> {
        let number = number as usize;
        if number >= self.shapes {
            return Err(CodecError::mismatch("a struct has no shape"));
        }
        let from_end = ENDS + (self.shapes - number) * size_of::<u32>();
        let place = u32::from_le_bytes(self.trailer.at(self.trailer.left() - from_end)?) as usize;
        let count = u32::from_le_bytes(self.trailer.at(place)?) as usize;
        // A forged count costs no more than there are bytes.
        if count > self.trailer.left() {
            return Err(CodecError::end_of_data());
        }
        Ok(Names { count, place: place + size_of::<u32>() })
    }

    /// The name at a place of the trailer.
    #[inline(always)]
    pub(super) fn name_at(&self, place: usize) -> Result<Written> {
        Written::at(&self.trailer, place)
    }

    #[inline(always)]
    pub(super) fn name_among(
        &mut self,
        name: &Written,
        fields: &'static [&'static str],
        likely: usize,
    ) -> Result<Name> {
        self.reader.charge(name.text_len())?;
        name.name_among(&self.trailer, fields, likely)
    }

    /// The name that comes next in the value.
    #[inline(always)]
    pub(super) fn take_name(&mut self, known: &'static [&'static str]) -> Result<Name> {
        let written = Written::at(&self.reader, 0)?;
        self.reader.charge(written.text_len())?;
        let name = written.name_among(&self.reader, known, usize::MAX)?;
        self.reader.skip(written.size())?;
        Ok(name)
    }

    /// A name as text.
    pub(super) fn keep(&mut self, name: Name) -> &str {
        match name {
            Name::Literal(name) => name,
            Name::Text(name) => {
                let rare = self.rare();
                rare.text = name;
                &rare.text
            }
        }
    }

    /// Makes sure that no field was renamed between writing and reading: that it is not so that one was written which the type does not
    /// have, and one that it has was not.
    ///
    /// One of these alone is right: the type does not read the field, or it has a default. But both together are also what
    /// `#[serde(rename(serialize = .., deserialize = ..))]` looks like; the value would be replaced by the default without an error.
    ///
    /// True if all names are the fields, in order.
    #[inline(always)]
    pub(super) fn check_names(&mut self, number: u32, names: Names, fields: &'static [&'static str]) -> Result<bool> {
        let address = fields.as_ptr().addr();
        let slot = (number as usize ^ address >> 4) % self.compared.len();
        let (known_number, known_address, are_same) = self.compared[slot];
        if (known_number, known_address) == (number, address) {
            return Ok(are_same);
        }
        let are_same = self.compare_names(names, fields).inspect_err(|_| self.give_up())?;
        self.compared[slot] = (number, address, are_same);
        Ok(are_same)
    }

    #[inline(never)]
    fn compare_names(&mut self, names: Names, fields: &'static [&'static str]) -> Result<bool> {
        let mut place = names.place;
        let mut in_order = 0;
        while names.count == fields.len() && in_order < names.count {
            let name = self.name_at(place)?;
            if !name.is(fields[in_order]) {
                break;
            }
            place += name.size();
            in_order += 1;
        }
        if in_order == names.count && in_order == fields.len() {
            return Ok(true);
        }
        let mut written = Vec::with_capacity(names.count.min(64));
        place = names.place;
        for index in 0..names.count {
            let name = self.name_at(place)?;
            written.push(self.name_among(&name, fields, index)?);
            place += name.size();
        }
        let unknown = written.iter().find(|name| !fields.contains(&name.as_str()));
        let missing = fields.iter().find(|field| !written.iter().any(|name| name.as_str() == **field));
        let (Some(unknown), Some(missing)) = (unknown, missing) else { return Ok(false) };
        Err(CodecError::new(format_args!(
            "it is written with a field `{}` that it is not read with, and read with a field `{missing}` that it is not written with: \
             give a renamed field the same name for both, or write and read the same fields",
            unknown.as_str()
        )))
    }

    /// A number of values: never more than there are bytes.
    pub(super) fn take_count(&mut self) -> Result<usize> {
        self.reader.take_len(1)
    }

    /// The text of a string.
    #[inline(never)]
    pub(super) fn take_text(&mut self, kind: u8) -> Result<String> {
        let len = if kind & SHORT != 0 { usize::from(kind & !SHORT) } else { self.take_count()? };
        String::from_utf8(self.reader.take_plain::<u8>(len)?).map_err(CodecError::mismatch)
    }

    /// Bytes of which the kind has been read.
    pub(super) fn take_bytes(&mut self) -> Result<Vec<u8>> {
        let len = self.take_count()?;
        self.reader.take_plain(len)
    }

    /// The kind of a run and the number of elements, of a sequence whose own kind has been read. `None` if it is none.
    #[inline(never)]
    pub(super) fn take_sequence(&mut self, kind: u8) -> Result<Option<(u8, usize)>> {
        let (run, count) = match kind {
            SEQ => (self.reader.take_u8()?, self.take_count()?),
            BYTES => (U8, self.take_count()?),
            TUPLE => (0, self.reader.take_u8()?.into()),
            _ => return Ok(None),
        };
        self.check_depth()?;
        if run != 0 && !(BOOL..=F64).contains(&(run & !BROKEN)) {
            return Err(CodecError::mismatch("a sequence of no kind"));
        }
        Ok(Some((run, count)))
    }

    /// Passes over the next value.
    pub(super) fn skip_value(&mut self) -> Result<()> {
        let kind = self.reader.take_u8()?;
        self.skip(kind)
    }

    /// Passes over a value of which the kind has been read.
    #[inline(never)]
    pub(super) fn skip(&mut self, kind: u8) -> Result<()> {
        self.check_depth()?;
        match kind {
            UNIT | NONE | ABSENT => Ok(()),
            SOME => self.skip_value(),
            BOOL..=U128 => self.reader.skip(width(kind)),
            SHORT.. => self.reader.skip((kind & !SHORT).into()),
            STR | BYTES => {
                let len = self.take_count()?;
                self.reader.skip(len)
            }
            SEQ | TUPLE => {
                let (run, mut count) = self.take_sequence(kind)?.unwrap_or_default();
                if run != 0 {
                    self.reader.skip(count.saturating_mul(width(run & !BROKEN)))?;
                    count = if run & BROKEN != 0 { self.take_count()? } else { 0 };
                }
                (0..count).try_for_each(|_| self.skip_value())
            }
            MAP => {
                let count = self.take_count()?;
                (0..count).try_for_each(|_| self.skip_value().and_then(|()| self.skip_value()))
            }
            STRUCT | PARTIAL => {
                let (_, names) = self.take_shape()?;
                (0..names.count).try_for_each(|_| self.skip_value())
            }
            NAMED => {
                let count = u32::from_le_bytes(self.reader.take()?);
                (0..count).try_for_each(|_| self.take_name(&[]).and_then(|_| self.skip_value()))
            }
            UNIT_VARIANT => self.take_name(&[]).map(drop),
            ATTACHED => self.reader.skip(size_of::<u32>()),
            VARIANT => self.take_name(&[]).and_then(|_| self.skip_value()),
            _ => Err(CodecError::mismatch("there is a value of no kind")),
        }
    }

    /// The value is refused half-way: nothing that comes after it can be read, even if the error is swallowed.
    #[cold]
    pub(super) fn give_up(&mut self) {
        self.open = self.open.saturating_add(1 << 20);
    }

    /// What there is, of which the kind has been read, is not what the type expects. It is passed over: code of the user's may go on.
    #[cold]
    pub(super) fn unexpected(&mut self, kind: u8, expected: &dyn Expected) -> CodecError {
        if self.skip(kind).is_err() {
            self.give_up();
        }
        CodecError::mismatch(format_args!("there is {}, and its type expects {expected}", describe(kind)))
    }
}

/// A value was left unread by the type that it is for.
#[cold]
pub(super) fn unread() -> CodecError {
    CodecError::custom("its `Deserialize` does not read all that its `Serialize` writes")
}
