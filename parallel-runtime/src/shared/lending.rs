//! Slices that lie in shared memory travel as where they are, not as what they hold.
//!
//! An argument is recognised by its address: any part of a `SharedVec`, a `SharedSlice`, a named segment or a locked
//! `SharedArray` that a caller passes, as a slice of any plain type, is found by the worker in its own mapping of the same memory.
//! The caller's borrow lasts until the task has ended; a task that was ended by force has ended when its process has.

use std::marker::PhantomData;
use std::ptr::NonNull;

use bytemuck::Pod;

use super::space::Space;
use super::{named, objects};
#[cfg(feature = "dask")]
use crate::codec::attachment::Purpose;
use crate::codec::{CodecError, Reader, Writer};
use crate::shared::handle_table;

/// Set in the length of a slice that was lent; its place follows instead of its elements.
const LENT: u64 = 1 << 63;

/// Instead of an offset, for a slice of a named segment: number of the segment's file, and where in it, follow.
const NAMED: u64 = u64::MAX;

/// Instead of an offset, for a slice of a blob: its name, and where in it, follow.
#[cfg(feature = "dask")]
const BLOB: u64 = u64::MAX - 1;

/// Where a slice lies.
enum Place {
    Arena(u64),
    Named(named::Source),
}

#[inline(always)]
fn place_of<E>(slice: &[E]) -> Option<Place> {
    if size_of_val(slice) == 0 {
        return None;
    }
    let arena = Space::existing().and_then(|space| space.offset_of(slice.as_ptr()));
    arena.map(Place::Arena).or_else(|| named::place_of(slice.as_ptr().cast(), size_of_val(slice)).map(Place::Named))
}

/// Whether a slice is lent in place.
#[inline]
pub(crate) fn is_lent<E>(slice: &[E]) -> bool {
    place_of(slice).is_some()
}

/// Writes where a slice lies, if it is in shared memory. `exclusive`: it is borrowed as such, and the task may change it.
#[inline]
pub(crate) fn send<E: Pod>(slice: &[E], exclusive: bool, writer: &mut Writer<'_>) -> Result<bool, CodecError> {
    #[cfg(feature = "dask")]
    if writer.purpose == Purpose::Far {
        return Ok(super::far::send_slice(slice, [slice.len() as u64 | LENT, BLOB], writer));
    }
    if !writer.purpose.shares_objects() {
        return Ok(false);
    }
    match place_of(slice) {
        Some(place) => {
            if exclusive {
                writer.lend(slice);
            }
            send_place(slice, place, writer).map(|()| true)
        }
        None => Ok(false),
    }
}

#[cold]
fn send_place<E: Pod>(slice: &[E], place: Place, writer: &mut Writer<'_>) -> Result<(), CodecError> {
    handle_table::count_shared(writer, size_of_val(slice) as u64);
    writer.put((slice.len() as u64 | LENT).to_ne_bytes());
    match place {
        Place::Arena(offset) => {
            if writer.keeps_slices
                && let Some(handle) = objects::at(offset)
            {
                handle_table::keep_object(writer, &handle);
            }
            writer.put(offset.to_ne_bytes());
        }
        Place::Named(place) => {
            writer.put(NAMED.to_ne_bytes());
            place.send(writer);
            if writer.keeps_slices {
                handle_table::keep_segment(writer, place.segment);
            }
        }
    }
    Ok(())
}

/// A slice that was lent.
pub(crate) struct Lent<'m, E> {
    start: NonNull<E>,
    len: usize,
    _message: PhantomData<&'m [E]>,
}

/// Reads where a slice lies, if that follows.
#[inline]
pub(crate) fn receive<'m, E: Pod>(reader: &mut Reader<'m>) -> Result<Option<Lent<'m, E>>, CodecError> {
    match reader.peek_u64() {
        Some(len) if len & LENT != 0 => receive_place(reader).map(Some),
        _ => Ok(None),
    }
}

#[cold]
fn receive_place<'m, E: Pod>(reader: &mut Reader<'m>) -> Result<Lent<'m, E>, CodecError> {
    let missing = || CodecError::new("a slice of shared memory is not where it was");
    if !reader.lends() {
        return Err(CodecError::new("a slice is lent with arguments only"));
    }
    let word = u64::from_ne_bytes(reader.take()?);
    let len = word & !LENT;
    let bytes = len.checked_mul(size_of::<E>() as u64).ok_or_else(missing)?;
    let start = match u64::from_ne_bytes(reader.take()?) {
        NAMED => named::Place::receive(reader)?.map(bytes, reader)?,
        #[cfg(feature = "dask")]
        BLOB => super::far::receive_slice::<E>(reader, len as usize)?.cast(),
        offset => Space::existing().and_then(|space| space.at(offset, bytes)).ok_or_else(missing)?,
    };
    let start = start.cast::<E>();
    if !start.is_aligned() {
        return Err(missing());
    }
    Ok(Lent { start, len: len as usize, _message: PhantomData })
}

impl<'m, E: Pod> Lent<'m, E> {
    /// # Safety
    ///
    /// Nothing writes this memory during `'m`.
    pub(crate) unsafe fn slice(self) -> &'m [E] {
        // SAFETY: `receive` has checked that the elements lie in memory that is mapped during `'m`, at their alignment; any bytes
        // are valid; nothing writes them, as the caller promises.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// # Safety
    ///
    /// Nothing else reads or writes this memory during `'m`.
    pub(crate) unsafe fn slice_mut(self) -> &'m mut [E] {
        // SAFETY: as in `slice`; the caller promises that nothing else uses it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}
