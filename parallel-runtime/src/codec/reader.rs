//! The bytes that values are decoded from.

use std::marker::PhantomData;
use std::ptr;

use super::error::CodecError;

/// Elements without data (`()`, `[u8; 0]`) that one message of results may hold: they cost nothing to claim.
const MOST_EMPTY: usize = 1 << 20;

/// Bytes of stack that decoding results may use. A level of a recursive type takes some 100 to 1,000 bytes.
const MOST_STACK: usize = 512 << 10;

/// About where the stack ends now.
#[inline(always)]
fn stack_pointer() -> usize {
    let here = 0_u8;
    std::hint::black_box(&raw const here).addr()
}

#[cold]
fn too_deep() -> CodecError {
    CodecError::new("it is nested too deeply: return such a value in a flat form")
}

#[cold]
fn too_many_empty() -> CodecError {
    CodecError::new(format_args!("it holds more than {MOST_EMPTY} elements without data"))
}

/// A cursor over encoded bytes.
///
/// It copies out of its memory and hands out references into it only through `slice` and
/// `slice_mut`, which workers use on their arguments. The program reads results by copy alone: a worker
/// that misbehaves could still be writing them, and then a copy holds odd bytes, while a `&str` or `&[bool]` into that memory
/// would be undefined behaviour.
pub struct Reader<'m> {
    next: *const u8,
    left: usize,
    /// Bytes read so far: slices lie at aligned offsets from the start.
    offset: usize,
    /// How many elements without data may still come.
    empty_left: usize,
    /// How far down the stack may be used.
    stack_floor: usize,
    _memory: PhantomData<&'m [u8]>,
}

impl<'m> Reader<'m> {
    /// Reads memory that may be shared with another process.
    ///
    /// # Safety
    ///
    /// `len` bytes from `start` are readable for `'m`. If [`slice`](Reader::slice) is called, nothing writes them during
    /// `'m`; if [`slice_mut`](Reader::slice_mut) is called, they are writable and nothing else touches them during `'m`.
    pub(crate) unsafe fn from_raw(start: *const u8, len: usize) -> Self {
        Self { next: start, left: len, offset: 0, empty_left: usize::MAX, stack_floor: 0, _memory: PhantomData }
    }

    /// The same, for data that somebody may have forged to keep us busy or to make us recurse without end: what the data claims
    /// beyond [`MOST_EMPTY`] and [`MOST_STACK`] is an error.
    pub(crate) fn untrusted(mut self) -> Self {
        self.empty_left = MOST_EMPTY;
        self.stack_floor = stack_pointer().saturating_sub(MOST_STACK);
        self
    }

    /// An element had no data.
    #[inline(always)]
    pub(crate) fn count_empty(&mut self) -> Result<(), CodecError> {
        match self.empty_left.checked_sub(1) {
            Some(left) => {
                self.empty_left = left;
                Ok(())
            }
            None => Err(too_many_empty()),
        }
    }

    /// To be called before a value that may hold others of its own kind.
    #[inline(always)]
    pub(crate) fn check_depth(&self) -> Result<(), CodecError> {
        if stack_pointer() < self.stack_floor { Err(too_deep()) } else { Ok(()) }
    }

    /// Bytes not read yet.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    #[inline(always)]
    fn advance(&mut self, count: usize) -> Result<*const u8, CodecError> {
        if count > self.left {
            return Err(CodecError::end_of_data());
        }
        let start = self.next;
        // SAFETY: `count <= left`, so the result is inside the memory or one past its end.
        self.next = unsafe { start.add(count) };
        self.left -= count;
        self.offset += count;
        Ok(start)
    }

    #[inline(always)]
    pub(crate) fn take<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let start = self.advance(N)?;
        // SAFETY: `advance` checked that N bytes from `start` are readable; `[u8; N]` has alignment 1 and any bytes are valid.
        Ok(unsafe { ptr::read(start.cast::<[u8; N]>()) })
    }

    /// The next number, which is not taken.
    #[inline(always)]
    pub(crate) fn peek_u64(&self) -> Option<u64> {
        // SAFETY: eight bytes are left, so they are readable; `[u8; 8]` has alignment 1 and any bytes are valid.
        (self.left >= 8).then(|| u64::from_ne_bytes(unsafe { ptr::read(self.next.cast::<[u8; 8]>()) }))
    }

    #[inline(always)]
    pub(crate) fn take_u8(&mut self) -> Result<u8, CodecError> {
        Ok(u8::from_ne_bytes(self.take()?))
    }

    /// Reads a length and refuses one that the rest of the data cannot hold, each element taking at least `element` bytes.
    #[inline]
    pub(crate) fn take_len(&mut self, element: usize) -> Result<usize, CodecError> {
        let len = u64::from_ne_bytes(self.take()?);
        let most = self.left.checked_div(element).map_or(u64::MAX, |most| most as u64);
        if len > most {
            return Err(CodecError::end_of_data());
        }
        usize::try_from(len).map_err(|_| CodecError::end_of_data())
    }

    /// Copies `count` elements out.
    pub(crate) fn take_plain<T: bytemuck::AnyBitPattern>(&mut self, count: usize) -> Result<Vec<T>, CodecError> {
        let size = count.checked_mul(size_of::<T>()).ok_or_else(CodecError::end_of_data)?;
        let start = self.advance(size)?;
        let mut values: Vec<T> = Vec::with_capacity(count);
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
        let padding = self.offset.next_multiple_of(alignment) - self.offset;
        self.advance(padding).map(drop)
    }

    /// Bytes read so far.
    #[inline(always)]
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    /// Goes on at an offset; stays where it is if that lies behind, or beyond the end.
    #[inline]
    pub(crate) fn go_to(&mut self, offset: usize) {
        if let Some(count) = offset.checked_sub(self.offset) {
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
        // SAFETY: `plain_start` checked length and alignment (elements of no size lie anywhere); by the contract of `from_raw` nothing writes this memory
        // during `'m`; every bit pattern is a value of `T`.
        Ok(unsafe { std::slice::from_raw_parts(start, count) })
    }

    /// The next `count` elements, in place and exclusive.
    pub(crate) fn slice_mut<T: bytemuck::Pod>(&mut self, count: usize) -> Result<&'m mut [T], CodecError> {
        let start = self.plain_start::<T>(count)?;
        let start = if size_of::<T>() == 0 { ptr::NonNull::dangling().as_ptr() } else { start };
        // SAFETY: as in `slice`; by the contract of `from_raw` nothing else touches this memory during `'m`, and the cursor
        // has moved past it, so it is handed out once.
        Ok(unsafe { std::slice::from_raw_parts_mut(start.cast_mut(), count) })
    }

    fn plain_start<T>(&mut self, count: usize) -> Result<*const T, CodecError> {
        let size = count.checked_mul(size_of::<T>()).ok_or_else(CodecError::end_of_data)?;
        let start = self.advance(size)?.cast::<T>();
        if size_of::<T>() != 0 && !start.is_aligned() {
            return Err(CodecError::new("a slice does not lie at its alignment"));
        }
        Ok(start)
    }
}
