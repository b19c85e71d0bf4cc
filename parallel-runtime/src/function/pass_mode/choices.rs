//! The answers: which types travel by which pass mode.

use std::error::Error;
use std::ffi::{CString, OsString};
use std::io;
use std::marker::PhantomData;
use std::path::PathBuf;

use bytemuck::Pod;
#[cfg(feature = "ndarray")]
use ndarray::{ArrayView, ArrayViewMut, Dimension};

use super::modes::{PlainSlice, PlainSliceMut, PlainVec, Referent, ReferentMut, SharedPlainSlice, Unshared, Value};
use super::probe::{
    Probe, ViaBytes, ViaErrors, ViaIoErrors, ViaNames, ViaReferent, ViaReferentMut, ViaSerde, ViaSharedReferent,
};
use crate::codec::CodecError;
use crate::error::RemoteError;
use crate::function::parameter::{ByCopy, ByMut, ByRef, BySharedRef, ByValue};
use crate::function::referents::{ProcessValue, assign_elements};
use crate::function::shared_referent::SharedReferent;
use crate::function::{errors, plain};
#[cfg(feature = "ndarray")]
use crate::shared::ndarray::{PlainView, PlainViewMut};
use crate::shared::vec::SharedVec;

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

impl<T: ?Sized> ViaSharedReferent<T> for &Probe<BySharedRef<T>> {}

impl<E: Pod> ViaBytes for Probe<BySharedRef<[E]>> {
    type PassMode = SharedPlainSlice<E>;
    fn pass_mode(&self) -> SharedPlainSlice<E> {
        SharedPlainSlice(PhantomData)
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
                    receive: |reader| reader.take_number::<$type>(),
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

/// What a reference points to, by functions: `assign` takes over what came back.
macro_rules! behind_references {
    ($([$($generics:tt)*] $trait:ident for $type:ty, stored as $stored:ty: $send:path, $receive:path, $assign:path;)*) => {$(
        impl<$($generics)*> $trait for Probe<ByRef<$type>> {
            type PassMode = Referent<$type, $stored>;
            fn pass_mode(&self) -> Self::PassMode {
                Referent { send: $send, receive: $receive, lend: |stored| stored }
            }
        }
        impl<$($generics)*> $trait for Probe<ByCopy<$type>> {
            type PassMode = Referent<$type, $stored>;
            fn pass_mode(&self) -> Self::PassMode {
                Referent { send: $send, receive: $receive, lend: |stored| stored }
            }
        }
        impl<$($generics)*> $trait for Probe<BySharedRef<$type>> {
            type PassMode = SharedReferent<$type, $stored>;
            fn pass_mode(&self) -> Self::PassMode {
                SharedReferent { send: $send, receive: $receive, lend: |stored| stored }
            }
        }
        impl<$($generics)*> $trait for Probe<ByMut<$type>> {
            type PassMode = ReferentMut<$type, $stored>;
            fn pass_mode(&self) -> Self::PassMode {
                ReferentMut {
                    send: $send,
                    receive: $receive,
                    lend: |stored| stored,
                    lend_mut: |stored| stored,
                    assign: $assign,
                }
            }
        }
    )*};
}
behind_references! {
    [] ViaNames for PathBuf, stored as PathBuf: plain::send_path, plain::receive_path, assign;
    [] ViaNames for OsString, stored as OsString: plain::send_os_string, plain::receive_os_string, assign;
    [] ViaNames for Vec<PathBuf>, stored as Vec<PathBuf>: plain::send_paths, plain::receive_paths, assign;
    [] ViaNames for Vec<OsString>, stored as Vec<OsString>: plain::send_os_strings, plain::receive_os_strings, assign;
    [] ViaNames for [PathBuf], stored as Vec<PathBuf>: plain::send_many, plain::receive_paths, assign_elements;
    [] ViaNames for [OsString], stored as Vec<OsString>: plain::send_many, plain::receive_os_strings, assign_elements;
    [E: Pod, const N: usize] ViaBytes for [E; N], stored as Box<[E; N]>:
        plain::send_array, plain::receive_boxed_array, assign_boxed;
}

fn assign<T>(target: &mut T, stored: T) -> Result<(), CodecError> {
    *target = stored;
    Ok(())
}

#[expect(clippy::boxed_local, reason = "large arrays are kept in a box, not on the stack")]
fn assign_boxed<T>(target: &mut T, stored: Box<T>) -> Result<(), CodecError> {
    assign(target, *stored)
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
impl<E: Pod> ViaBytes for Probe<ByCopy<[E]>> {
    type PassMode = Referent<[E], Vec<E>>;
    fn pass_mode(&self) -> Referent<[E], Vec<E>> {
        Referent { send: plain::send_slice, receive: plain::receive_elements, lend: |stored| stored }
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
impl<T: ?Sized> ViaReferent<T> for &Probe<ByCopy<T>> {}
impl<T: ?Sized> ViaReferentMut<T> for &Probe<ByMut<T>> {}
