//! The first byte of a value: of what kind it is.

/// `()`, or a unit struct.
pub(super) const UNIT: u8 = 1;
/// `None`.
pub(super) const NONE: u8 = 2;
/// `Some` of what would read as `None`; any other `Some` is written as what it holds.
pub(super) const SOME: u8 = 3;
/// The numbers, from here to [`U128`]: the bytes of one follow.
pub(super) const BOOL: u8 = 8;
pub(super) const I8: u8 = 9;
pub(super) const U8: u8 = 10;
pub(super) const I16: u8 = 11;
pub(super) const U16: u8 = 12;
pub(super) const I32: u8 = 13;
pub(super) const U32: u8 = 14;
pub(super) const F32: u8 = 15;
pub(super) const CHAR: u8 = 16;
pub(super) const I64: u8 = 17;
pub(super) const U64: u8 = 18;
pub(super) const F64: u8 = 19;
pub(super) const I128: u8 = 20;
pub(super) const U128: u8 = 21;
/// Length, text.
pub(super) const STR: u8 = 32;
/// Length, bytes.
pub(super) const BYTES: u8 = 33;
/// Kind of a run, number of elements, elements.
pub(super) const SEQ: u8 = 34;
/// Number of elements in one byte, elements.
pub(super) const TUPLE: u8 = 35;
/// Number of entries, keys and values.
pub(super) const MAP: u8 = 36;
/// Number of a shape, values of its fields.
pub(super) const STRUCT: u8 = 37;
/// The same where some fields are [`ABSENT`].
pub(super) const PARTIAL: u8 = 38;
/// In place of the value of a field that was skipped.
pub(super) const ABSENT: u8 = 39;
/// Number of fields, names and values.
pub(super) const NAMED: u8 = 40;
/// Name.
pub(super) const UNIT_VARIANT: u8 = 41;
/// Name, value.
pub(super) const VARIANT: u8 = 42;
/// Number of an entry of the frame's table: see [`attachment`](super::attachment).
pub(super) const ATTACHED: u8 = 43;
/// With the length of the text in the other bits: a short [`STR`].
pub(super) const SHORT: u8 = 0x80;

/// In the kind of a run: not all elements belong to it. The number of the others, and these, follow.
pub(super) const BROKEN: u8 = 0x80;

/// How many bytes a number of this kind takes.
#[inline]
pub(super) const fn width(kind: u8) -> usize {
    match kind {
        BOOL..=U8 => 1,
        I16 | U16 => 2,
        I32..=CHAR => 4,
        I64..=F64 => 8,
        _ => 16,
    }
}

/// What a value of a kind is, for people.
pub(super) fn describe(kind: u8) -> &'static str {
    match kind {
        UNIT => "a unit",
        NONE => "`None`",
        SOME => "`Some`",
        BOOL => "a bool",
        I8..=U32 | I64 | U64 | I128 | U128 => "an integer",
        F32 | F64 => "a floating-point number",
        CHAR => "a char",
        STR | SHORT.. => "a string",
        BYTES => "bytes",
        SEQ => "a sequence",
        TUPLE => "a tuple",
        MAP => "a map",
        STRUCT | PARTIAL | NAMED => "a struct",
        UNIT_VARIANT | VARIANT => "a variant of an enum",
        ATTACHED => "a handle of shared memory",
        ABSENT => "a field that was skipped",
        _ => "damaged data",
    }
}
