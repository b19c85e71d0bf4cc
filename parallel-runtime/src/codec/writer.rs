//! The buffer that values are encoded into.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

/// A part of shared memory that a task may change, where this process sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LentMemory {
    pub(crate) start: NonNull<u8>,
    pub(crate) len: usize,
}

// SAFETY: it is an address and a length; what is done with the memory is up to the code that does it.
unsafe impl Send for LentMemory {}
// SAFETY: as above.
unsafe impl Sync for LentMemory {}

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
    /// The strictest alignment that [`align`](Writer::align) was asked for.
    alignment: usize,
    /// Where the slices lie that the callee may change in place.
    marks: Vec<u64>,
    /// Parts of shared memory that are lent to the callee, who may change them.
    lent: Vec<LentMemory>,
    _buffer: PhantomData<&'a mut [MaybeUninit<u8>]>,
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
            alignment: 1,
            marks: Vec::new(),
            lent: Vec::new(),
            _buffer: PhantomData,
        }
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
    }

    /// Overwrites bytes that were written before.
    #[inline(always)]
    pub(crate) fn patch<const N: usize>(&mut self, at: usize, bytes: [u8; N]) {
        assert!(at + N <= self.len.min(self.capacity), "only what was written is patched");
        // SAFETY: `at + N <= capacity`, so the target lies inside the buffer, which is exclusively borrowed for `'a`.
        let target = unsafe { self.start.as_ptr().add(at) };
        // SAFETY: `target` has room for N bytes (checked above); `[u8; N]` has alignment 1.
        unsafe { target.cast::<[u8; N]>().write(bytes) };
    }

    /// Whether there are slices that the callee may change in place.
    pub(crate) fn has_marks(&self) -> bool {
        !self.marks.is_empty()
    }

    /// Takes the offsets of the slices that the callee may change in place.
    pub(crate) fn take_marks(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.marks)
    }

    /// Remembers that shared memory is lent to the callee, who may change it.
    pub(crate) fn lend<E>(&mut self, slice: &[E]) {
        self.lent.push(LentMemory { start: NonNull::from(slice).cast(), len: size_of_val(slice) });
    }

    /// Takes what was lent.
    pub(crate) fn take_lent(&mut self) -> Vec<LentMemory> {
        std::mem::take(&mut self.lent)
    }

    #[inline(always)]
    pub(crate) fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        if self.capacity.wrapping_sub(self.len) >= N && self.len <= self.capacity {
            // SAFETY: `len + N <= capacity`, so the target lies inside the buffer, which is exclusively borrowed for `'a`.
            let target = unsafe { self.start.as_ptr().add(self.len) };
            // SAFETY: `target` has room for N bytes (checked above); `[u8; N]` has alignment 1.
            unsafe { target.cast::<[u8; N]>().write(bytes) };
            self.len += N;
        } else {
            self.count(N);
        }
    }

    #[inline]
    pub(crate) fn put_slice(&mut self, bytes: &[u8]) {
        if self.len <= self.capacity && self.capacity - self.len >= bytes.len() {
            // SAFETY: `len + bytes.len() <= capacity`, so the target lies inside the buffer.
            let target = unsafe { self.start.as_ptr().add(self.len) };
            // SAFETY: the source is a live slice; the target has room (checked above) and is exclusively borrowed, so the
            // two cannot overlap.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) };
            self.len += bytes.len();
        } else {
            self.count(bytes.len());
        }
    }

    /// Past the end: only counts.
    #[inline]
    fn count(&mut self, bytes: usize) {
        self.len = self.len.saturating_add(bytes);
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
        self.marks.push(self.len as u64);
    }
}
