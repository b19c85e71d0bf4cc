//! The pass modes.

use std::marker::PhantomData;

use bytemuck::Pod;

use super::returned::Returned;
use crate::codec::{CodecError, Reader, Writer};
use crate::function::plain;
use crate::function::shared_referent::{self, Place};
use crate::shared::lending;
use crate::shared::vec::{SharedVec, receive_unshared, send_unshared};

/// A value: through serde, or as its bytes.
///
/// This and the following pass modes hold functions instead of naming traits in the bounds of their methods: where a type does
/// not implement what it must, the compiler then says so once, at the type, and not again for each method. The functions are
/// constants that are inlined.
#[derive(Debug)]
pub struct Value<T> {
    pub(super) send: fn(&T, &mut Writer<'_>) -> Result<(), CodecError>,
    pub(super) receive: fn(&mut Reader<'_>) -> Result<T, CodecError>,
}

impl<T> Value<T> {
    #[inline(always)]
    pub fn send(&self, value: &T, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        (self.send)(value, writer)
    }
    #[inline(always)]
    pub fn receive(&self, reader: &mut Reader<'_>) -> Result<T, CodecError> {
        (self.receive)(reader)
    }
}

/// A vector of plain data: its bytes.
#[derive(Debug)]
pub struct PlainVec<E>(pub(super) PhantomData<fn(E)>);

impl<E: Pod> PlainVec<E> {
    #[expect(clippy::ptr_arg, reason = "generated code passes what the function takes, a `&Vec`")]
    pub fn send(&self, value: &Vec<E>, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        plain::send_elements(value, writer);
        Ok(())
    }
    pub fn receive(&self, reader: &mut Reader<'_>) -> Result<Vec<E>, CodecError> {
        plain::receive_elements(reader)
    }
}

/// A buffer in shared memory that moves: the name of its object.
#[derive(Debug)]
pub struct Unshared<E>(pub(super) PhantomData<fn(E)>);

impl<E: Pod> Unshared<E> {
    pub fn send(&self, value: &SharedVec<E>, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        send_unshared(value, writer)
    }
    pub fn receive(&self, reader: &mut Reader<'_>) -> Result<SharedVec<E>, CodecError> {
        receive_unshared(reader)
    }
}

/// A slice of plain data: its bytes, at their alignment, read in place by the worker.
#[derive(Debug)]
pub struct PlainSlice<E>(pub(super) PhantomData<fn(E)>);

impl<E: Pod> PlainSlice<E> {
    pub fn send(&self, value: &[E], writer: &mut Writer<'_>) -> Result<(), CodecError> {
        if lending::send(value, false, writer)? {
            return Ok(());
        }
        writer.put((value.len() as u64).to_ne_bytes());
        writer.align(align_of::<E>());
        writer.put_slice(bytemuck::cast_slice(value));
        Ok(())
    }
    pub fn receive<'m>(&self, reader: &mut Reader<'m>) -> Result<&'m [E], CodecError> {
        if let Some(lent) = lending::receive(reader)? {
            // SAFETY: `send` of this pass mode has lent this memory to the message (`ProcessFn` promises that no other wrote it), whose
            // arguments are read as long as `'m`; its owner does not change it meanwhile.
            return Ok(unsafe { lent.slice() });
        }
        let len = reader.take_len(size_of::<E>())?;
        reader.align(align_of::<E>())?;
        reader.slice(len)
    }
    pub fn lend<'h>(&self, stored: &'h &[E]) -> &'h [E] {
        stored
    }
}

/// A slice of plain data that many items may refer to: then all of them read it in one place.
#[derive(Debug)]
pub struct SharedPlainSlice<E>(pub(super) PhantomData<fn(E)>);

impl<E: Pod> SharedPlainSlice<E> {
    #[inline]
    pub fn send(&self, value: &[E], writer: &mut Writer<'_>) -> Result<(), CodecError> {
        if writer.references().is_none() {
            writer.put([shared_referent::INLINE]);
            return PlainSlice(PhantomData).send(value, writer);
        }
        shared_referent::send(value, send_slice::<E>, writer)
    }

    #[inline]
    pub fn receive<'m>(&self, reader: &mut Reader<'m>) -> Result<&'m [E], CodecError> {
        let slice = PlainSlice(PhantomData);
        let Some(place) = Place::receive(reader)? else { return slice.receive(reader) };
        let mut inner = place.reader(reader)?;
        slice.receive(&mut inner)
    }

    pub fn lend<'h>(&self, stored: &'h &[E]) -> &'h [E] {
        stored
    }
}

fn send_slice<E: Pod>(value: &[E], writer: &mut Writer<'_>) -> Result<(), CodecError> {
    PlainSlice(PhantomData).send(value, writer)
}

/// An exclusive slice of plain data: its bytes, changed in place by the worker, copied back once by the program.
#[derive(Debug)]
pub struct PlainSliceMut<E>(pub(super) PhantomData<fn(E)>);

impl<E: Pod> PlainSliceMut<E> {
    pub fn send(&self, value: &[E], writer: &mut Writer<'_>) -> Result<(), CodecError> {
        if lending::send(value, true, writer)? {
            return Ok(());
        }
        writer.put((value.len() as u64).to_ne_bytes());
        writer.align(align_of::<E>());
        writer.mark();
        writer.put_slice(bytemuck::cast_slice(value));
        Ok(())
    }
    pub fn receive<'m>(&self, reader: &mut Reader<'m>) -> Result<&'m mut [E], CodecError> {
        if let Some(lent) = lending::receive(reader)? {
            // SAFETY: `send` of this pass mode has lent this memory to the message (`ProcessFn` promises that no other wrote it), whose
            // arguments are read as long as `'m`; it was borrowed exclusively there, so nothing else uses it meanwhile.
            return Ok(unsafe { lent.slice_mut() });
        }
        let len = reader.take_len(size_of::<E>())?;
        reader.align(align_of::<E>())?;
        reader.slice_mut(len)
    }
    pub fn lend_mut<'h>(&self, stored: &'h mut &mut [E]) -> &'h mut [E] {
        stored
    }
    pub fn give_back(&self, _stored: &&mut [E], _writer: &mut Writer<'_>) -> Result<(), CodecError> {
        Ok(())
    }
    pub fn take_back(&self, target: &mut [E], returned: &mut Returned<'_>) -> Result<(), CodecError> {
        if !returned.is_far() && lending::is_lent(target) {
            // It was changed in place.
            return Ok(());
        }
        returned.next_changed()?.copy_to(target)
    }
}

/// What a reference points to; `H` owns it in the worker.
#[derive(Debug)]
pub struct Referent<T: ?Sized, H> {
    pub(super) send: fn(&T, &mut Writer<'_>) -> Result<(), CodecError>,
    pub(super) receive: fn(&mut Reader<'_>) -> Result<H, CodecError>,
    pub(super) lend: fn(&H) -> &T,
}

impl<T: ?Sized, H> Referent<T, H> {
    #[inline(always)]
    pub fn send(&self, value: &T, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        (self.send)(value, writer)
    }
    #[inline(always)]
    pub fn receive(&self, reader: &mut Reader<'_>) -> Result<H, CodecError> {
        (self.receive)(reader)
    }
    #[inline(always)]
    pub fn lend<'h>(&self, stored: &'h H) -> &'h T {
        (self.lend)(stored)
    }
}

/// What an exclusive reference points to: sent to the worker, and sent back.
#[derive(Debug)]
pub struct ReferentMut<T: ?Sized, H> {
    pub(super) send: fn(&T, &mut Writer<'_>) -> Result<(), CodecError>,
    pub(super) receive: fn(&mut Reader<'_>) -> Result<H, CodecError>,
    pub(super) lend: fn(&H) -> &T,
    pub(super) lend_mut: fn(&mut H) -> &mut T,
    pub(super) assign: fn(&mut T, H) -> Result<(), CodecError>,
}

impl<T: ?Sized, H> ReferentMut<T, H> {
    pub fn send(&self, value: &T, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        (self.send)(value, writer)
    }
    pub fn receive(&self, reader: &mut Reader<'_>) -> Result<H, CodecError> {
        (self.receive)(reader)
    }
    pub fn lend_mut<'h>(&self, stored: &'h mut H) -> &'h mut T {
        (self.lend_mut)(stored)
    }
    pub fn give_back(&self, stored: &H, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        (self.send)((self.lend)(stored), writer)
    }
    pub fn take_back(&self, target: &mut T, returned: &mut Returned<'_>) -> Result<(), CodecError> {
        let stored = (self.receive)(&mut returned.results)?;
        (self.assign)(target, stored)
    }
}
