//! The bytes that values are decoded from.

use std::fmt;
use std::marker::PhantomData;
use std::ptr;

use super::attachment::Source;
use super::error::CodecError;
use crate::sys::memory;

/// What decoding results may allocate by default, in bytes: so much, and so many times the bytes that came.
const BUDGET: usize = 64 << 20;
const BUDGET_TIMES: usize = 32;

#[cold]
fn too_large() -> CodecError {
    CodecError::new(
        "it would take more memory than results may take: allow more by `ProcessPool::result_limit`, or return less at a time",
    )
}

/// A cursor over encoded bytes.
///
/// It copies out of its memory and hands out references into it only through `slice` and
/// `slice_mut`, which workers use on their arguments. The program reads results by copy alone: a worker
/// that misbehaves could still be writing them, and then a copy holds odd bytes, while a `&str` or `&[bool]` into that memory
/// would be undefined behaviour.
pub struct Reader<'m> {
    /// Slices lie at aligned offsets from here.
    start: *const u8,
    /// From here to the end is what has not been read: `start <= next <= end`, and all that lies between is one piece of memory.
    next: *const u8,
    end: *const u8,
    /// How many bytes values may still take.
    budget: usize,
    /// Where handles in the values are taken from; `None` where there can be none.
    source: Option<&'m dyn Source>,
    /// Whether references into the memory may be given out, and into memory that is lent with it: for arguments alone.
    lends: bool,
    _memory: PhantomData<&'m [u8]>,
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl<'m> Reader<'m> {
    /// Reads memory that may be shared with another process, which may be writing it: only copies are made of what is there.
    ///
    /// # Safety
    ///
    /// `len` bytes from `start` are readable for `'m`.
    pub(crate) unsafe fn from_raw(start: *const u8, len: usize) -> Self {
        // SAFETY: the end of the memory, as the caller promises.
        let end = unsafe { start.add(len) };
        Self { start, next: start, end, budget: usize::MAX, source: None, lends: false, _memory: PhantomData }
    }

    /// No bytes.
    #[inline(always)]
    pub(super) fn nothing() -> Self {
        let nowhere = ptr::NonNull::<u8>::dangling().as_ptr().cast_const();
        Self {
            start: nowhere,
            next: nowhere,
            end: nowhere,
            budget: 0,
            source: None,
            lends: false,
            _memory: PhantomData,
        }
    }

    /// The same, for data that may have been forged to use up memory: what values take beyond the default budget is an error.
    pub(crate) fn untrusted(self) -> Self {
        let budget = self.left().saturating_mul(BUDGET_TIMES).saturating_add(BUDGET);
        self.with_budget(budget)
    }

    /// The same, for values that may take so many bytes of memory.
    pub(crate) fn with_budget(mut self, budget: usize) -> Self {
        self.budget = budget;
        self
    }

    /// The same, for values in which there may be handles.
    #[inline(always)]
    pub(crate) fn receiving(mut self, source: &'m dyn Source) -> Self {
        self.source = Some(source);
        self
    }

    /// The same, for the arguments of a task: they are used in place.
    ///
    /// # Safety
    ///
    /// The memory is writable for `'m`, and nothing else touches it; what it says is lent to this task is.
    #[inline(always)]
    pub(crate) unsafe fn lending(mut self) -> Self {
        self.lends = true;
        self
    }

    /// Whether [`lending`](Reader::lending) was promised.
    pub(crate) fn lends(&self) -> bool {
        self.lends
    }

    #[inline(always)]
    pub(crate) fn source(&self) -> Option<&'m dyn Source> {
        self.source
    }

    pub(super) fn budget(&self) -> usize {
        self.budget
    }

    pub(super) fn set_budget(&mut self, budget: usize) {
        self.budget = budget;
    }

    /// A value takes so many bytes of memory.
    #[inline(always)]
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), CodecError> {
        match self.budget.checked_sub(bytes) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(too_large()),
        }
    }

    /// Bytes not read yet.
    #[inline(always)]
    pub(crate) fn left(&self) -> usize {
        self.end.addr() - self.next.addr()
    }

    #[inline(always)]
    fn advance(&mut self, count: usize) -> Result<*const u8, CodecError> {
        if count > self.left() {
            return Err(CodecError::end_of_data());
        }
        let start = self.next;
        // SAFETY: so many bytes are left, so the result is inside the memory or one past its end.
        self.next = unsafe { start.add(count) };
        Ok(start)
    }

    #[inline(always)]
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let start = self.advance(N)?;
        // SAFETY: `advance` checked that N bytes from `start` are readable; `[u8; N]` has alignment 1 and any bytes are valid.
        Ok(unsafe { ptr::read(start.cast::<[u8; N]>()) })
    }

    /// The next number, as it lies there. Not by way of its bytes: those the compiler may load one by one, store, and load at once, for which the
    /// processor waits.
    #[inline(always)]
    pub(crate) fn take_number<T: bytemuck::AnyBitPattern>(&mut self) -> Result<T, CodecError> {
        let start = self.advance(size_of::<T>())?;
        // SAFETY: `advance` checked that so many bytes from `start` are readable; any bytes are a `T`, and it need not be aligned.
        Ok(unsafe { ptr::read_unaligned(start.cast::<T>()) })
    }

    /// The next two numbers: see [`take_number`](Reader::take_number).
    #[inline(always)]
    pub(crate) fn take_two<A: bytemuck::AnyBitPattern, B: bytemuck::AnyBitPattern>(
        &mut self,
    ) -> Result<(A, B), CodecError> {
        let start = self.advance(size_of::<A>() + size_of::<B>())?;
        // SAFETY: as in `take_number`.
        let first = unsafe { ptr::read_unaligned(start.cast::<A>()) };
        // SAFETY: the second one lies behind the first, and inside what was checked.
        let second = unsafe { start.add(size_of::<A>()) };
        // SAFETY: as in `take_number`.
        Ok((first, unsafe { ptr::read_unaligned(second.cast::<B>()) }))
    }

    /// The next number, which is not taken.
    #[inline(always)]
    pub(crate) fn peek_u64(&self) -> Option<u64> {
        // SAFETY: eight bytes are left, so they are readable; `[u8; 8]` has alignment 1 and any bytes are valid.
        (self.left() >= 8).then(|| u64::from_ne_bytes(unsafe { ptr::read(self.next.cast::<[u8; 8]>()) }))
    }

    #[inline(always)]
    pub(crate) fn take_u8(&mut self) -> Result<u8, CodecError> {
        Ok(u8::from_ne_bytes(self.take()?))
    }

    /// Reads a length and refuses one that the rest of the data cannot hold, each element taking at least `element` bytes.
    #[inline]
    pub(crate) fn take_len(&mut self, element: usize) -> Result<usize, CodecError> {
        let len: u64 = self.take_number()?;
        let most = self.left().checked_div(element).map_or(u64::MAX, |most| most as u64);
        if len > most {
            return Err(CodecError::end_of_data());
        }
        usize::try_from(len).map_err(|_| CodecError::end_of_data())
    }

    /// Copies `count` elements out.
    pub(crate) fn take_plain<T: bytemuck::AnyBitPattern>(&mut self, count: usize) -> Result<Vec<T>, CodecError> {
        let size = count.checked_mul(size_of::<T>()).ok_or_else(CodecError::end_of_data)?;
        let start = self.advance(size)?;
        self.charge(size)?;
        let mut values: Vec<T> = Vec::with_capacity(count);
        memory::will_fill(values.as_mut_ptr().cast(), size);
        // SAFETY: `advance` checked that `size` bytes are readable; the vector has room for `count` elements, that is `size`
        // bytes, and is fresh memory, so the two do not overlap.
        unsafe { ptr::copy_nonoverlapping(start, values.as_mut_ptr().cast::<u8>(), size) };
        // SAFETY: `count` elements were just written, and every bit pattern is a value of `T`.
        unsafe { values.set_len(count) };
        Ok(values)
    }

    /// Copies the next bytes over `target`.
    pub(crate) fn copy_to<T: bytemuck::Pod>(&mut self, target: &mut [T]) -> Result<(), CodecError> {
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(target);
        let start = self.advance(bytes.len())?;
        // SAFETY: `advance` checked the source; `bytes` is exclusively borrowed, so it cannot overlap the memory being read.
        unsafe { ptr::copy_nonoverlapping(start, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    /// Skips to a multiple of `alignment` from the start.
    pub(crate) fn align(&mut self, alignment: usize) -> Result<(), CodecError> {
        let padding = self.offset().next_multiple_of(alignment) - self.offset();
        self.advance(padding).map(drop)
    }

    /// The bytes at a place after the next one, which are not taken.
    #[inline(always)]
    pub(crate) fn at<const N: usize>(&self, place: usize) -> Result<[u8; N], CodecError> {
        let left = self.left();
        if place > left || left - place < N {
            return Err(CodecError::end_of_data());
        }
        // SAFETY: the place was just checked to lie inside the memory.
        let start = unsafe { self.next.add(place) };
        // SAFETY: N bytes from there are readable, as was checked; `[u8; N]` has alignment 1 and any bytes are valid.
        Ok(unsafe { ptr::read(start.cast::<[u8; N]>()) })
    }

    /// A copy of so many bytes at a place after the next one, which are not taken.
    pub(super) fn copy_at(&self, place: usize, len: usize) -> Result<Vec<u8>, CodecError> {
        let left = self.left();
        if place > left || left - place < len {
            return Err(CodecError::end_of_data());
        }
        // SAFETY: the place was just checked to lie inside the memory.
        let start = unsafe { self.next.add(place) };
        let mut bytes: Vec<u8> = Vec::with_capacity(len);
        // SAFETY: `len` bytes from there are readable, as was checked; the vector has room for them, and is other memory.
        unsafe { ptr::copy_nonoverlapping(start, bytes.as_mut_ptr(), len) };
        // SAFETY: so many were just written.
        unsafe { bytes.set_len(len) };
        Ok(bytes)
    }

    /// The number after this byte, if it is the next one; both are taken then.
    #[inline(always)]
    pub(super) fn take_after<T: bytemuck::AnyBitPattern>(&mut self, first: u8) -> Option<T> {
        if self.left() <= size_of::<T>() {
            return None;
        }
        // SAFETY: more bytes are left than the number takes, so one is.
        let next = unsafe { ptr::read(self.next) };
        if next != first {
            return None;
        }
        // SAFETY: as above, so this lies inside the memory.
        let start = unsafe { self.next.add(1) };
        // SAFETY: as above: the number lies behind the first byte. Any bytes are a `T`, and it need not be aligned.
        let number = unsafe { ptr::read_unaligned(start.cast::<T>()) };
        // SAFETY: as above; the result is inside the memory or one past its end.
        self.next = unsafe { start.add(size_of::<T>()) };
        Some(number)
    }

    #[inline(always)]
    pub(super) fn peek_u8(&self) -> Result<u8, CodecError> {
        self.at::<1>(0).map(|[byte]| byte)
    }

    /// The next `len` bytes, as a reader of their own.
    #[inline(always)]
    pub(super) fn split(&mut self, len: usize) -> Result<Self, CodecError> {
        let start = self.advance(len)?;
        Ok(Self {
            start,
            next: start,
            end: self.next,
            budget: self.budget,
            source: self.source,
            lends: self.lends,
            _memory: PhantomData,
        })
    }

    /// Leaves out the last `len` bytes.
    pub(super) fn split_end(&mut self, len: usize) -> Result<Self, CodecError> {
        let rest = self.left().checked_sub(len).ok_or_else(CodecError::end_of_data)?;
        // SAFETY: `rest` bytes are left, so that lies inside the memory or one past its end.
        let start = unsafe { self.next.add(rest) };
        let end = std::mem::replace(&mut self.end, start);
        Ok(Self {
            start,
            next: start,
            end,
            budget: self.budget,
            source: self.source,
            lends: self.lends,
            _memory: PhantomData,
        })
    }

    /// Bytes read so far.
    #[inline(always)]
    pub(crate) fn offset(&self) -> usize {
        self.next.addr() - self.start.addr()
    }

    /// Goes on at an offset; stays where it is if that lies behind, or beyond the end.
    #[inline]
    pub(crate) fn go_to(&mut self, offset: usize) {
        if let Some(count) = offset.checked_sub(self.offset()) {
            let _ = self.advance(count);
        }
    }

    /// Skips `count` bytes.
    pub(crate) fn skip(&mut self, count: usize) -> Result<(), CodecError> {
        self.advance(count).map(drop)
    }

    /// The next `count` elements, in place.
    pub(crate) fn slice<T: bytemuck::AnyBitPattern>(&mut self, count: usize) -> Result<&'m [T], CodecError> {
        let start = self.plain_start::<T>(count)?;
        let start = if size_of::<T>() == 0 { ptr::NonNull::dangling().as_ptr() } else { start };
        // SAFETY: `plain_start` checked length and alignment (elements of no size lie anywhere); as `lending` was promised nothing writes this memory
        // during `'m`; every bit pattern is a value of `T`.
        Ok(unsafe { std::slice::from_raw_parts(start, count) })
    }

    /// The next `count` elements, in place and exclusive.
    pub(crate) fn slice_mut<T: bytemuck::Pod>(&mut self, count: usize) -> Result<&'m mut [T], CodecError> {
        let start = self.plain_start::<T>(count)?;
        let start = if size_of::<T>() == 0 { ptr::NonNull::dangling().as_ptr() } else { start };
        // SAFETY: as in `slice`; as `lending` was promised nothing else touches this memory during `'m`, and the cursor
        // has moved past it, so it is handed out once.
        Ok(unsafe { std::slice::from_raw_parts_mut(start.cast_mut(), count) })
    }

    fn plain_start<T>(&mut self, count: usize) -> Result<*const T, CodecError> {
        if !self.lends {
            return Err(CodecError::new("a slice can be used in place in arguments only"));
        }
        let size = count.checked_mul(size_of::<T>()).ok_or_else(CodecError::end_of_data)?;
        let start = self.advance(size)?.cast::<T>();
        if size_of::<T>() != 0 && !start.is_aligned() {
            return Err(CodecError::new("a slice does not lie at its alignment"));
        }
        Ok(start)
    }
}
