//! The question, and in which order it is answered.

use std::io;
use std::marker::PhantomData;

use super::modes::{Referent, ReferentMut, Value};
use crate::codec;
use crate::function::referents::{ProcessReferent, ProcessReferentMut, ProcessValue};
use crate::function::shared_referent::SharedReferent;

/// Asks how `P`, one of [`ByValue`](crate::function::ByValue), [`ByRef`](crate::function::ByRef), [`BySharedRef`](crate::function::BySharedRef)
/// and [`ByMut`](crate::function::ByMut), travels.
#[derive(Debug)]
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
