//! How each kind of parameter travels.
//!
//! Generated code asks `(&Probe::<ByRef<[f64]>>::new()).pass mode()` and gets the best pass mode that the type allows: the
//! bytes of a slice of plain data, or serde for everything else. The choice is made by method resolution (a method of
//! `Probe<_>` is found before one of `&Probe<_>`), because it has to depend on the element type of the *user's* function and
//! stable Rust has no specialisation.
//!
//! A pass mode has these methods, the later ones only where they make sense:
//!
//! | method | where | what |
//! | --- | --- | --- |
//! | `send` | program | encodes the argument |
//! | `receive` | worker | decodes it, or finds it in place |
//! | `lend`, `lend_mut` | worker | the reference that the function takes |
//! | `give_back` | worker | encodes what the function changed, unless it changed it in place |
//! | `take_back` | program | copies what was changed into the caller's memory |

use std::marker::PhantomData;

use bytemuck::Pod;
#[cfg(feature = "ndarray")]
use ndarray::{ArrayView, ArrayViewMut, Dimension};

use super::parameter::{ByMut, ByRef, ByValue};
use super::referents::{ProcessReferent, ProcessReferentMut, ProcessValue};
use crate::codec::{self, CodecError, Reader, Writer};
use crate::shared::lending;
#[cfg(feature = "ndarray")]
use crate::shared::ndarray::{PlainView, PlainViewMut};
use crate::shared::vec::{SharedVec, send_unshared};

/// Asks how `P`, one of [`ByValue`], [`ByRef`] and [`ByMut`], travels.
pub struct Probe<P>(PhantomData<fn(P)>);

impl<P> Probe<P> {
    /// The question.
    #[expect(clippy::new_without_default, reason = "only generated code asks")]
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

/// The first choice: plain bytes.
pub trait ViaBytes {
    /// The pass mode.
    type PassMode;
    /// How it travels.
    fn pass_mode(&self) -> Self::PassMode;
}

/// The second choice: serde.
pub trait ViaSerde<T> {
    /// The pass mode for a value.
    #[inline(always)]
    fn pass_mode(&self) -> Serde<T>
    where
        T: ProcessValue + Sized,
    {
        Serde { send: codec::encode::<T>, receive: codec::decode::<T> }
    }
}

/// The second choice for `&T`.
pub trait ViaReferent<T: ?Sized> {
    /// The pass mode for what a reference points to.
    #[inline(always)]
    fn pass_mode(&self) -> Referent<T, T::Stored>
    where
        T: ProcessReferent,
    {
        Referent { send: T::send, receive: T::receive, lend: T::lend }
    }
}

/// The second choice for `&mut T`.
pub trait ViaReferentMut<T: ?Sized> {
    /// The pass mode for what an exclusive reference points to.
    #[inline(always)]
    fn pass_mode(&self) -> ReferentMut<T, T::Stored>
    where
        T: ProcessReferentMut,
    {
        ReferentMut { send: T::send, receive: T::receive, lend: T::lend, lend_mut: T::lend_mut, assign: T::assign }
    }
}

impl<E: Pod> ViaBytes for Probe<ByValue<Vec<E>>> {
    type PassMode = PlainVec<E>;
    fn pass_mode(&self) -> PlainVec<E> {
        PlainVec(PhantomData)
    }
}
impl<E: Pod> ViaBytes for Probe<ByValue<SharedVec<E>>> {
    type PassMode = Unshared<E>;
    fn pass_mode(&self) -> Unshared<E> {
        Unshared(PhantomData)
    }
}
impl<E: Pod> ViaBytes for Probe<ByRef<[E]>> {
    type PassMode = PlainSlice<E>;
    fn pass_mode(&self) -> PlainSlice<E> {
        PlainSlice(PhantomData)
    }
}
impl<E: Pod> ViaBytes for Probe<ByMut<[E]>> {
    type PassMode = PlainSliceMut<E>;
    fn pass_mode(&self) -> PlainSliceMut<E> {
        PlainSliceMut(PhantomData)
    }
}
#[cfg(feature = "ndarray")]
impl<E: Pod, D: Dimension> ViaBytes for Probe<ByValue<ArrayView<'_, E, D>>> {
    type PassMode = PlainView<E, D>;
    fn pass_mode(&self) -> PlainView<E, D> {
        PlainView::new()
    }
}
#[cfg(feature = "ndarray")]
impl<E: Pod, D: Dimension> ViaBytes for Probe<ByValue<ArrayViewMut<'_, E, D>>> {
    type PassMode = PlainViewMut<E, D>;
    fn pass_mode(&self) -> PlainViewMut<E, D> {
        PlainViewMut::new()
    }
}
impl<T> ViaSerde<T> for &Probe<ByValue<T>> {}
impl<T: ?Sized> ViaReferent<T> for &Probe<ByRef<T>> {}
impl<T: ?Sized> ViaReferentMut<T> for &Probe<ByMut<T>> {}

/// A value through serde.
///
/// This and the following strategies hold functions instead of naming traits in the bounds of their methods: where a type does
/// not implement what it must, the compiler then says so once, at the type, and not again for each method. The functions are
/// constants that are inlined.
pub struct Serde<T> {
    send: fn(&T, &mut Writer<'_>) -> Result<(), CodecError>,
    receive: fn(&mut Reader<'_>) -> Result<T, CodecError>,
}

impl<T> Serde<T> {
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
pub struct PlainVec<E>(PhantomData<fn(E)>);

impl<E: Pod> PlainVec<E> {
    #[expect(clippy::ptr_arg, reason = "generated code passes what the function takes, a `&Vec`")]
    pub fn send(&self, value: &Vec<E>, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        writer.put((value.len() as u64).to_ne_bytes());
        writer.put_slice(bytemuck::cast_slice(value));
        Ok(())
    }
    pub fn receive(&self, reader: &mut Reader<'_>) -> Result<Vec<E>, CodecError> {
        let len = reader.take_len(size_of::<E>())?;
        reader.take_plain(len)
    }
}

/// A buffer in shared memory that moves: the name of its object.
pub struct Unshared<E>(PhantomData<fn(E)>);

impl<E: Pod> Unshared<E> {
    pub fn send(&self, value: &SharedVec<E>, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        send_unshared(value, writer)
    }
    pub fn receive(&self, reader: &mut Reader<'_>) -> Result<SharedVec<E>, CodecError> {
        codec::decode(reader)
    }
}

/// A slice of plain data: its bytes, at their alignment, read in place by the worker.
pub struct PlainSlice<E>(PhantomData<fn(E)>);

impl<E: Pod> PlainSlice<E> {
    pub fn send(&self, value: &[E], writer: &mut Writer<'_>) -> Result<(), CodecError> {
        if lending::send(value, writer)? {
            return Ok(());
        }
        writer.put((value.len() as u64).to_ne_bytes());
        writer.align(align_of::<E>());
        writer.put_slice(bytemuck::cast_slice(value));
        Ok(())
    }
    pub fn receive<'m>(&self, reader: &mut Reader<'m>) -> Result<&'m [E], CodecError> {
        if let Some(lent) = lending::receive(reader)? {
            // SAFETY: the program has lent this memory to the message, whose arguments are read as long as `'m`; its owner does not
            // change it meanwhile.
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

/// An exclusive slice of plain data: its bytes, changed in place by the worker, copied back once by the program.
pub struct PlainSliceMut<E>(PhantomData<fn(E)>);

impl<E: Pod> PlainSliceMut<E> {
    pub fn send(&self, value: &[E], writer: &mut Writer<'_>) -> Result<(), CodecError> {
        if lending::send(value, writer)? {
            writer.lend(value);
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
            // SAFETY: the program has lent this memory to the message, whose arguments are read as long as `'m`; it was borrowed
            // exclusively there, so nothing else uses it meanwhile.
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
        if lending::is_lent(target) {
            // It was changed where it lies.
            return Ok(());
        }
        returned.next_changed()?.copy_to(target)
    }
}

/// What a reference points to; `H` owns it in the worker.
pub struct Referent<T: ?Sized, H> {
    send: fn(&T, &mut Writer<'_>) -> Result<(), CodecError>,
    receive: fn(&mut Reader<'_>) -> Result<H, CodecError>,
    lend: fn(&H) -> &T,
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
pub struct ReferentMut<T: ?Sized, H> {
    send: fn(&T, &mut Writer<'_>) -> Result<(), CodecError>,
    receive: fn(&mut Reader<'_>) -> Result<H, CodecError>,
    lend: fn(&H) -> &T,
    lend_mut: fn(&mut H) -> &mut T,
    assign: fn(&mut T, H) -> Result<(), CodecError>,
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

/// What came back for one item: its encoded result, and the slices that were changed in place.
pub struct Returned<'a> {
    /// The encoded output, followed by what the strategies gave back.
    pub(crate) results: Reader<'a>,
    /// The arguments as the worker left them; empty unless the function takes plain slices by `&mut`.
    pub(crate) arguments: Changed<'a>,
}

/// The argument memory of a message, and where the slices lie in it that the worker may have changed.
#[derive(Clone, Copy, Default)]
pub(crate) struct Changed<'a> {
    /// Start and length of the memory.
    pub(crate) memory: Option<(std::ptr::NonNull<u8>, usize)>,
    /// Offsets not taken back yet.
    pub(crate) marks: &'a [u64],
}

impl<'a> Returned<'a> {
    /// The encoded output.
    pub fn results(&mut self) -> &mut Reader<'a> {
        &mut self.results
    }

    /// The bytes from the next changed slice on.
    fn next_changed(&mut self) -> Result<Reader<'a>, CodecError> {
        let missing = || CodecError::new("a slice that was lent did not come back");
        let (&mark, rest) = self.arguments.marks.split_first().ok_or_else(missing)?;
        let (start, len) = self.arguments.memory.ok_or_else(missing)?;
        self.arguments.marks = rest;
        // SAFETY: the maker of this `Changed` keeps the memory alive for `'a`; only copies are made from this reader.
        let mut reader = unsafe { Reader::from_raw(start.as_ptr(), len) };
        reader.skip(usize::try_from(mark).map_err(|_| missing())?)?;
        Ok(reader)
    }
}
