//! The buffer that values are encoded into.

use std::any::{Any, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

use super::attachment::{Attached, Entry, Purpose};
use super::error::CodecError;
use super::shape::Defined;

/// A part of shared memory that is lent to a task, which may change it, where this process sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LentMemory {
    pub(crate) start: NonNull<u8>,
    pub(crate) len: usize,
}

// SAFETY: it is an address and a length; what is done with the memory is up to the code that does it.
unsafe impl Send for LentMemory {}
// SAFETY: as above.
unsafe impl Sync for LentMemory {}

/// What few messages have.
#[derive(Default)]
struct More {
    /// Where the slices lie that the callee may change in place.
    marks: Vec<u64>,
    /// Parts of shared memory that are lent to the callee.
    lent: Vec<LentMemory>,
    /// The names of fields of structs that are being written and have no known shape.
    names: Vec<&'static str>,
    /// The table of the frame: what travels beside its value.
    entries: Vec<Entry>,
}

/// What takes attachments along: it takes what is offered under a ticket.
pub(crate) type Carrier = fn(u64, &mut Writer<'_>) -> Result<Attached, CodecError>;

/// A reference, as what it points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ReferenceKey {
    pub(crate) address: usize,
    pub(crate) size: usize,
    pub(crate) type_id: TypeId,
}

/// Finds references that are in many of the values that are written.
pub(crate) trait References {
    /// Where what a reference points to lies, if it was met before: `encode` writes it there. Three numbers, which the reader understands.
    fn place_of(
        &mut self,
        key: ReferenceKey,
        encode: &mut dyn FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<Option<[u64; 3]>, CodecError>;

    /// What a reference points to is worth a place of its own, if it is met again.
    fn note(&mut self, key: ReferenceKey);
}

/// A bounded byte buffer.
///
/// It never fails for lack of room: past its end it only counts. The caller then knows from
/// `len` how much memory the same value needs and encodes it again, once, into memory of that size. That is
/// how a value of a gigabyte is written straight into shared memory without a buffer in between.
pub struct Writer<'a> {
    start: NonNull<u8>,
    capacity: usize,
    /// Bytes asked for; the part up to `capacity` has been written.
    len: usize,
    /// Bytes that can still be written: `capacity - len`, or 0 once something did not fit.
    room: usize,
    /// The strictest alignment that [`align`](Writer::align) was asked for.
    alignment: usize,
    /// The shapes of the structs in the value that is being written.
    pub(super) defined: Defined,
    /// The kind of the first element of a sequence, if it was a number: see [`ser`](super::ser).
    pub(super) first: u8,
    /// Whether equal values are to be equal bytes, wherever they are written: then names are text.
    pub(super) canonical: bool,
    /// An error that was returned to code of the user's.
    pub(super) failed: bool,
    /// Parts of values that were begun and not ended.
    pub(super) begun: u32,
    /// How far down the stack may be used.
    pub(super) stack_floor: usize,
    more: Option<Box<More>>,
    references: Option<&'a mut (dyn References + 'a)>,
    /// What takes handles along; `None` where they mean nothing.
    carrier: Option<Carrier>,
    /// What the values are written for.
    pub(crate) purpose: Purpose,
    /// Whether slices must be kept that are lent, because their owner may be dropped before they are read.
    pub(crate) keeps_slices: bool,
    /// What the carrier keeps with the values.
    pub(crate) luggage: Option<Box<dyn Any>>,
    _buffer: PhantomData<&'a mut [MaybeUninit<u8>]>,
}

impl fmt::Debug for Writer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl<'a> Writer<'a> {
    /// A writer that fills `buffer` and then only counts.
    #[inline]
    pub(crate) fn new(buffer: &'a mut [MaybeUninit<u8>]) -> Self {
        let capacity = buffer.len();
        Self {
            start: NonNull::from(buffer).cast(),
            capacity,
            len: 0,
            room: capacity,
            alignment: 1,
            defined: Defined::new(),
            first: 0,
            canonical: false,
            failed: false,
            begun: 0,
            stack_floor: 0,
            more: None,
            references: None,
            carrier: None,
            purpose: Purpose::Move,
            keeps_slices: false,
            luggage: None,
            _buffer: PhantomData,
        }
    }

    /// The same, which takes handles along that are in the values.
    #[inline(always)]
    pub(crate) fn carrying(mut self, carrier: Carrier, purpose: Purpose) -> Self {
        self.carrier = Some(carrier);
        self.purpose = purpose;
        self
    }

    /// The same, for values in which references may be that are in others as well.
    pub(crate) fn with_references(mut self, references: Option<&'a mut (dyn References + 'a)>) -> Self {
        self.references = references;
        self
    }

    /// Finds references; `None` if these are of no use.
    #[inline(always)]
    pub(crate) fn references(&mut self) -> Option<&mut (dyn References + 'a)> {
        // What owns its arguments lies where the next arguments will.
        if self.keeps_slices { None } else { self.references.as_deref_mut() }
    }

    pub(super) fn carrier(&self) -> Option<Carrier> {
        self.carrier
    }

    /// Lets another writer go on for this one for a while.
    pub(crate) fn lend_to<R>(&mut self, other: &mut Writer<'_>, write: impl FnOnce(&mut Writer<'_>) -> R) -> R {
        (other.carrier, other.purpose, other.luggage) = (self.carrier, self.purpose, self.luggage.take());
        let result = write(other);
        self.luggage = other.luggage.take();
        result
    }

    /// Bytes that the values written so far take, whether or not they fitted.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Whether something did not fit.
    #[inline(always)]
    pub(crate) fn overflowed(&self) -> bool {
        self.len > self.capacity
    }

    /// The alignment that the start of the buffer must have for the slices in it.
    pub(crate) fn alignment(&self) -> usize {
        self.alignment
    }

    /// Goes back to an earlier [`len`](Writer::len): what came after is forgotten.
    #[inline(always)]
    pub(crate) fn rewind(&mut self, len: usize) {
        debug_assert!(len <= self.len, "going back means going back");
        self.len = len;
        self.room = self.capacity.saturating_sub(len);
    }

    /// Overwrites bytes that were written before, if they fitted.
    #[inline(always)]
    pub(crate) fn patch<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        assert!(at.checked_add(N).is_some_and(|end| end <= self.len), "only what was written is patched");
        if at + N > self.capacity {
            return;
        }
        // SAFETY: `at + N <= capacity`, so the target lies inside the buffer, which is exclusively borrowed for `'a`.
        let target = unsafe { self.start.as_ptr().add(at) };
        // SAFETY: `target` has room for N bytes (checked above); `[u8; N]` has alignment 1.
        unsafe { target.cast::<[u8; N]>().write(bytes) };
    }

    /// From here on equal values are equal bytes.
    pub(super) fn set_canonical(&mut self) {
        self.canonical = true;
    }

    /// What belongs to the frame before is of no use.
    #[inline(always)]
    pub(super) fn forget_more(&mut self) {
        if let Some(more) = &mut self.more {
            more.names.clear();
            more.entries.clear();
        }
    }

    #[cold]
    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The names of fields of structs that are being written and have no known shape.
    #[inline]
    pub(super) fn unsettled_names(&self) -> &[&'static str] {
        self.more.as_ref().map_or(&[], |more| &more.names)
    }

    /// The table of the frame.
    #[inline]
    pub(super) fn entries(&self) -> &[Entry] {
        self.more.as_ref().map_or(&[], |more| &more.entries)
    }

    #[cold]
    pub(super) fn entries_mut(&mut self) -> &mut Vec<Entry> {
        &mut self.more().entries
    }

    #[cold]
    pub(super) fn unsettled_names_mut(&mut self) -> &mut Vec<&'static str> {
        &mut self.more().names
    }

    /// Whether there are slices that the callee may change in place.
    pub(crate) fn has_marks(&self) -> bool {
        self.more.as_ref().is_some_and(|more| !more.marks.is_empty())
    }

    /// Takes the offsets of the slices that the callee may change in place.
    pub(crate) fn take_marks(&mut self) -> Vec<u64> {
        self.more.as_mut().map_or_else(Vec::new, |more| std::mem::take(&mut more.marks))
    }

    /// Remembers that shared memory is lent to the callee, which may change it.
    pub(crate) fn lend<E>(&mut self, slice: &[E]) {
        self.more().lent.push(LentMemory { start: NonNull::from(slice).cast(), len: size_of_val(slice) });
    }

    /// Takes what was lent.
    pub(crate) fn take_lent(&mut self) -> Vec<LentMemory> {
        self.more.as_mut().map_or_else(Vec::new, |more| std::mem::take(&mut more.lent))
    }

    /// Takes room for `count` more bytes; `None` if they do not fit, and are only counted, or if there are none.
    #[inline(always)]
    fn room(&mut self, count: usize) -> Option<*mut u8> {
        if count == 0 {
            // Past the end there is no address for them either.
            return None;
        }
        if self.room >= count {
            // SAFETY: `len + room <= capacity` while there is room, so the target lies inside the buffer, which is exclusively borrowed
            // for `'a`.
            let target = unsafe { self.start.as_ptr().add(self.len) };
            self.len += count;
            self.room -= count;
            Some(target)
        } else {
            self.count(count);
            None
        }
    }

    #[inline(always)]
    pub(crate) fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some(target) = self.room(N) {
            // SAFETY: `target` has room for N bytes; `[u8; N]` has alignment 1.
            unsafe { target.cast::<[u8; N]>().write(bytes) };
        }
    }

    /// Two pieces at once.
    #[inline(always)]
    pub(super) fn put_both<const N: usize, const M: usize>(&mut self, first: [u8; N], second: [u8; M]) {
        if let Some(target) = self.room(N + M) {
            // SAFETY: `target` has room for N + M bytes; `[u8; N]` has alignment 1.
            unsafe { target.cast::<[u8; N]>().write(first) };
            // SAFETY: as above: M bytes are left after N.
            let rest = unsafe { target.add(N) };
            // SAFETY: as above; `[u8; M]` has alignment 1.
            unsafe { rest.cast::<[u8; M]>().write(second) };
        }
    }

    #[inline]
    pub(crate) fn put_slice(&mut self, bytes: &[u8]) {
        if let Some(target) = self.room(bytes.len()) {
            // SAFETY: the source is a live slice; the target has room and is exclusively borrowed, so the two cannot overlap.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
        }
    }

    /// Past the end: only counts.
    #[cold]
    fn count(&mut self, bytes: usize) {
        self.len = self.len.saturating_add(bytes);
        self.room = 0;
    }

    /// Makes the next byte lie at a multiple of `alignment` from the start of the buffer.
    pub(crate) fn align(&mut self, alignment: usize) {
        self.alignment = self.alignment.max(alignment);
        while !self.len.is_multiple_of(alignment) {
            self.put([0_u8]);
        }
    }

    /// Remembers that a slice which the callee may change in place starts here.
    pub(crate) fn mark(&mut self) {
        let len = self.len as u64;
        self.more().marks.push(len);
    }
}
