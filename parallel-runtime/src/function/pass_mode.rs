//! How each kind of parameter travels.
//!
//! Generated code asks `(&Probe::<ByRef<[f64]>>::new()).pass_mode()` and gets the best pass mode that the type allows: the
//! bytes of plain data (numbers, text, paths, and vectors, arrays and slices of numbers), or serde for everything else. The choice is made by method resolution (a method of
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

use std::error::Error;
use std::ffi::{CString, OsString};
use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;

use bytemuck::Pod;
#[cfg(feature = "ndarray")]
use ndarray::{ArrayView, ArrayViewMut, Dimension};

use super::errors;
use super::parameter::{ByMut, ByRef, BySharedRef, ByValue};
use super::plain;
use super::referents::{ProcessReferent, ProcessReferentMut, ProcessValue, assign_elements};
use super::shared_referent::{self, Place, SharedReferent};
use crate::codec::{self, CodecError, Reader, Writer};
use crate::error::RemoteError;
use crate::shared::lending;
#[cfg(feature = "ndarray")]
use crate::shared::ndarray::{PlainView, PlainViewMut};
use crate::shared::vec::{SharedVec, receive_unshared, send_unshared};

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

/// The first choice for names of files, and what holds them: plain bytes, which need not be UTF-8 as serde would have it.
pub trait ViaNames {
    /// The pass mode.
    type PassMode;
    /// How it travels.
    fn pass_mode(&self) -> Self::PassMode;
}

/// The first choice for results with an error of a type that holds any other: its text, and that of its sources.
pub trait ViaErrors<T, E> {
    /// The pass mode.
    fn pass_mode(&self) -> Value<Result<T, E>>
    where
        T: ProcessValue;
}

/// The same for [`io::Error`].
pub trait ViaIoErrors<T> {
    /// The pass mode.
    fn pass_mode(&self) -> Value<io::Result<T>>
    where
        T: ProcessValue;
}

impl<T, E: AsRef<dyn Error + Send + Sync> + From<RemoteError>> ViaErrors<T, E> for Probe<ByValue<Result<T, E>>> {
    fn pass_mode(&self) -> Value<Result<T, E>>
    where
        T: ProcessValue,
    {
        Value { send: errors::send_dynamic, receive: errors::receive }
    }
}

impl<T> ViaIoErrors<T> for Probe<ByValue<io::Result<T>>> {
    fn pass_mode(&self) -> Value<io::Result<T>>
    where
        T: ProcessValue,
    {
        Value { send: errors::send_io, receive: errors::receive }
    }
}

/// The second choice: serde.
pub trait ViaSerde<T> {
    /// The pass mode for a value.
    #[inline(always)]
    fn pass_mode(&self) -> Value<T>
    where
        T: ProcessValue + Sized,
    {
        Value { send: codec::encode::<T>, receive: codec::decode::<T> }
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

/// The second choice for `&T` of a type that borrows nothing.
pub trait ViaSharedReferent<T: ?Sized> {
    /// The pass mode for what a reference points to.
    #[inline(always)]
    fn pass_mode(&self) -> SharedReferent<T, T::Stored>
    where
        T: ProcessReferent,
    {
        SharedReferent { send: T::send, receive: T::receive, lend: T::lend }
    }
}

impl<T: ?Sized> ViaSharedReferent<T> for &Probe<BySharedRef<T>> {}

impl<E: Pod> ViaBytes for Probe<BySharedRef<[E]>> {
    type PassMode = SharedPlainSlice<E>;
    fn pass_mode(&self) -> SharedPlainSlice<E> {
        SharedPlainSlice(PhantomData)
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

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl ViaBytes for Probe<ByValue<$type>> {
            type PassMode = Value<$type>;
            #[inline(always)]
            fn pass_mode(&self) -> Value<$type> {
                Value {
                    send: |value, writer| {
                        writer.put(value.to_ne_bytes());
                        Ok(())
                    },
                    receive: |reader| reader.take().map(<$type>::from_ne_bytes),
                }
            }
        }
    )*};
}
numbers!(i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, f32, f64);

macro_rules! by_functions {
    ($($trait:ident for $type:ty: $send:path, $receive:path;)*) => {$(
        impl $trait for Probe<ByValue<$type>> {
            type PassMode = Value<$type>;
            #[inline(always)]
            fn pass_mode(&self) -> Value<$type> {
                Value { send: $send, receive: $receive }
            }
        }
    )*};
}
by_functions! {
    ViaBytes for (): plain::send_nothing, plain::receive_nothing;
    ViaBytes for bool: plain::send_bool, plain::receive_bool;
    ViaBytes for char: plain::send_char, plain::receive_char;
    ViaBytes for String: plain::send_string, plain::receive_string;
    ViaNames for PathBuf: plain::send_path, plain::receive_path;
    ViaNames for OsString: plain::send_os_string, plain::receive_os_string;
    ViaNames for CString: plain::send_c_string, plain::receive_c_string;
    ViaNames for Option<PathBuf>: plain::send_optional_path, plain::receive_optional_path;
    ViaNames for Option<OsString>: plain::send_optional_os_string, plain::receive_optional_os_string;
    ViaNames for Vec<PathBuf>: plain::send_paths, plain::receive_paths;
    ViaNames for Vec<OsString>: plain::send_os_strings, plain::receive_os_strings;
}

macro_rules! references_to_names {
    ($($type:ty: $send:path, $receive:path;)*) => {$(
        impl ViaNames for Probe<ByRef<$type>> {
            type PassMode = Referent<$type, $type>;
            fn pass_mode(&self) -> Self::PassMode {
                Referent { send: $send, receive: $receive, lend: |stored| stored }
            }
        }
        impl ViaNames for Probe<BySharedRef<$type>> {
            type PassMode = SharedReferent<$type, $type>;
            fn pass_mode(&self) -> Self::PassMode {
                SharedReferent { send: $send, receive: $receive, lend: |stored| stored }
            }
        }
        impl ViaNames for Probe<ByMut<$type>> {
            type PassMode = ReferentMut<$type, $type>;
            fn pass_mode(&self) -> Self::PassMode {
                ReferentMut {
                    send: $send,
                    receive: $receive,
                    lend: |stored| stored,
                    lend_mut: |stored| stored,
                    assign: |target, stored| {
                        *target = stored;
                        Ok(())
                    },
                }
            }
        }
    )*};
}
references_to_names! {
    PathBuf: plain::send_path, plain::receive_path;
    OsString: plain::send_os_string, plain::receive_os_string;
    Vec<PathBuf>: plain::send_paths, plain::receive_paths;
    Vec<OsString>: plain::send_os_strings, plain::receive_os_strings;
}

macro_rules! slices_of_names {
    ($($type:ty: $send:path, $receive:path;)*) => {$(
        impl ViaNames for Probe<ByRef<[$type]>> {
            type PassMode = Referent<[$type], Vec<$type>>;
            fn pass_mode(&self) -> Self::PassMode {
                Referent { send: $send, receive: $receive, lend: |stored| stored }
            }
        }
        impl ViaNames for Probe<BySharedRef<[$type]>> {
            type PassMode = SharedReferent<[$type], Vec<$type>>;
            fn pass_mode(&self) -> Self::PassMode {
                SharedReferent { send: $send, receive: $receive, lend: |stored| stored }
            }
        }
        impl ViaNames for Probe<ByMut<[$type]>> {
            type PassMode = ReferentMut<[$type], Vec<$type>>;
            fn pass_mode(&self) -> Self::PassMode {
                ReferentMut {
                    send: $send,
                    receive: $receive,
                    lend: |stored| stored,
                    lend_mut: |stored| stored,
                    assign: assign_elements,
                }
            }
        }
    )*};
}
slices_of_names! {
    PathBuf: plain::send_many, plain::receive_paths;
    OsString: plain::send_many, plain::receive_os_strings;
}

impl<E: Pod> ViaBytes for Probe<ByValue<Box<[E]>>> {
    type PassMode = Value<Box<[E]>>;
    fn pass_mode(&self) -> Value<Box<[E]>> {
        Value { send: plain::send_boxed, receive: plain::receive_boxed }
    }
}
impl<E: Pod, const N: usize> ViaBytes for Probe<ByValue<[E; N]>> {
    type PassMode = Value<[E; N]>;
    fn pass_mode(&self) -> Value<[E; N]> {
        Value { send: plain::send_array, receive: plain::receive_array }
    }
}
impl<E: Pod, const N: usize> ViaBytes for Probe<ByRef<[E; N]>> {
    type PassMode = Referent<[E; N], Box<[E; N]>>;
    fn pass_mode(&self) -> Self::PassMode {
        Referent { send: plain::send_array, receive: plain::receive_boxed_array, lend: |stored| stored }
    }
}
impl<E: Pod, const N: usize> ViaBytes for Probe<BySharedRef<[E; N]>> {
    type PassMode = SharedReferent<[E; N], Box<[E; N]>>;
    fn pass_mode(&self) -> Self::PassMode {
        SharedReferent { send: plain::send_array, receive: plain::receive_boxed_array, lend: |stored| stored }
    }
}
impl<E: Pod, const N: usize> ViaBytes for Probe<ByMut<[E; N]>> {
    type PassMode = ReferentMut<[E; N], Box<[E; N]>>;
    fn pass_mode(&self) -> Self::PassMode {
        ReferentMut {
            send: plain::send_array,
            receive: plain::receive_boxed_array,
            lend: |stored| stored,
            lend_mut: |stored| stored,
            assign: |target, stored| {
                *target = *stored;
                Ok(())
            },
        }
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

/// A value: through serde, or as its bytes.
///
/// This and the following pass modes hold functions instead of naming traits in the bounds of their methods: where a type does
/// not implement what it must, the compiler then says so once, at the type, and not again for each method. The functions are
/// constants that are inlined.
pub struct Value<T> {
    send: fn(&T, &mut Writer<'_>) -> Result<(), CodecError>,
    receive: fn(&mut Reader<'_>) -> Result<T, CodecError>,
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
pub struct PlainVec<E>(PhantomData<fn(E)>);

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
pub struct Unshared<E>(PhantomData<fn(E)>);

impl<E: Pod> Unshared<E> {
    pub fn send(&self, value: &SharedVec<E>, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        send_unshared(value, writer)
    }
    pub fn receive(&self, reader: &mut Reader<'_>) -> Result<SharedVec<E>, CodecError> {
        receive_unshared(reader)
    }
}

/// A slice of plain data: its bytes, at their alignment, read in place by the worker.
pub struct PlainSlice<E>(PhantomData<fn(E)>);

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
pub struct SharedPlainSlice<E>(PhantomData<fn(E)>);

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
pub struct PlainSliceMut<E>(PhantomData<fn(E)>);

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

    /// Whether it came from another machine.
    fn is_far(&self) -> bool {
        self.results.source().is_some_and(|source| source.is_far())
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
