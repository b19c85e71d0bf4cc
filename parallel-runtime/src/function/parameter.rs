//! The kinds of parameters, and what their arguments are turned into when a call must outlive them.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use crate::shared::slice::SharedSlice;
use crate::shared::vec::SharedVec;

/// A parameter `T`.
#[derive(Debug)]
pub struct ByValue<T>(PhantomData<fn(T)>);

/// A parameter `&T`.
#[derive(Debug)]
pub struct ByRef<T: ?Sized>(PhantomData<fn(&T)>);

/// A parameter `&T` of a type that borrows nothing: a worker may keep what it points to.
#[derive(Debug)]
pub struct BySharedRef<T: ?Sized>(PhantomData<fn(&T)>);

/// A parameter `&T` of an `async fn`, whose body works on a copy.
#[derive(Debug)]
pub struct ByCopy<T: ?Sized>(PhantomData<fn(&T)>);

/// A parameter `&mut T`.
#[derive(Debug)]
pub struct ByMut<T: ?Sized>(PhantomData<fn(&T)>);

/// The parameters of a function that has exactly one, of kind `P`.
#[derive(Debug)]
pub struct One<P>(PhantomData<fn(P)>);

/// What can stand behind a reference in an annotated function, and what owns it: `String` for `str`, `Vec<T>` for `[T]`,
/// `PathBuf` for `Path`, `T` itself for every sized `T`.
#[diagnostic::on_unimplemented(
    message = "a `&{Self}` parameter has no owned form that a task could keep",
    label = "pass an owned value, or a reference to a sized type, `str`, `[T]`, `Path`, `OsStr` or `CStr`"
)]
pub trait Lend {
    /// The owner.
    type Owned;
    /// Borrows from the owner.
    fn lend(owned: &Self::Owned) -> &Self;
}

/// What can stand behind an exclusive reference.
#[diagnostic::on_unimplemented(
    message = "a `&mut {Self}` parameter has no owned form that a task could keep",
    label = "pass a `&mut` to a sized type or to a slice"
)]
pub trait LendMut: Lend {
    /// Borrows from the owner, exclusively.
    fn lend_mut(owned: &mut Self::Owned) -> &mut Self;
}

/// What an `async fn` can take by reference: a plain call copies what it refers to, since its future may be dropped, or forgotten, while the task runs.
#[diagnostic::on_unimplemented(
    message = "a plain call of an `async fn` runs on a copy of what its arguments refer to, and `{Self}` cannot be copied",
    label = "let it be `Clone`, or take it by value"
)]
pub trait CopyOut: Lend {
    /// The copy.
    fn copy_out(&self) -> Self::Owned;
}

impl<T: Clone> CopyOut for T {
    fn copy_out(&self) -> T {
        self.clone()
    }
}

impl<T: Clone> CopyOut for [T] {
    fn copy_out(&self) -> OwnedSlice<T> {
        OwnedSlice(Elements::Private(self.to_vec()))
    }
}

impl<T> Lend for T {
    type Owned = T;
    fn lend(owned: &T) -> &T {
        owned
    }
}

impl<T> LendMut for T {
    fn lend_mut(owned: &mut T) -> &mut T {
        owned
    }
}

impl<T> Lend for [T] {
    type Owned = OwnedSlice<T>;
    fn lend(owned: &OwnedSlice<T>) -> &[T] {
        match &owned.0 {
            Elements::Private(elements) => elements,
            Elements::Exclusive(elements) => elements,
            Elements::Shared(elements) => elements,
        }
    }
}

impl<T> LendMut for [T] {
    fn lend_mut(owned: &mut OwnedSlice<T>) -> &mut [T] {
        match &mut owned.0 {
            Elements::Private(elements) => elements,
            Elements::Exclusive(elements) => elements,
            Elements::Shared(_) => unreachable!("a `SharedSlice` is no owned form of a `&mut` argument"),
        }
    }
}

/// What owns the elements of a `&[T]` or `&mut [T]` argument that outlives its caller: made from a `Vec<T>`, a
/// [`SharedVec`] or, for `&[T]`, a [`SharedSlice`].
pub struct OwnedSlice<T>(Elements<T>);

impl<T: fmt::Debug> fmt::Debug for OwnedSlice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elements: &[T] = match &self.0 {
            Elements::Private(elements) => elements,
            Elements::Exclusive(elements) => elements,
            Elements::Shared(elements) => elements,
        };
        f.debug_tuple("OwnedSlice").field(&elements).finish()
    }
}

enum Elements<T> {
    Private(Vec<T>),
    Exclusive(SharedVec<T>),
    Shared(SharedSlice<T>),
}

macro_rules! lend {
    ($($borrowed:ty: $owned:ty),*) => {$(
        impl Lend for $borrowed {
            type Owned = $owned;
            fn lend(owned: &$owned) -> &$borrowed {
                owned
            }
        }
        impl CopyOut for $borrowed {
            fn copy_out(&self) -> $owned {
                self.to_owned()
            }
        }
    )*};
}
lend!(str: String, Path: PathBuf, OsStr: OsString, CStr: CString);

/// An argument, or an item of several, that can be kept as the owned form of parameters of kind `P`.
///
/// The kind is in the trait's parameter, not in its `Self`, so that a literal argument gets its type from the function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the owned form of this argument",
    label = "a verb that does not block takes `String` for `&str`, `Vec<T>` or a `SharedVec<T>` for `&[T]`, `PathBuf` for `&Path`, `T` for `&T`"
)]
pub trait IntoOwned<P> {
    /// The owned form.
    type Owned;
    /// Makes it.
    fn into_owned(self) -> Self::Owned;
}

impl<T> IntoOwned<ByValue<T>> for T {
    type Owned = T;
    fn into_owned(self) -> T {
        self
    }
}

impl<T> IntoOwned<ByRef<T>> for T {
    type Owned = T;
    fn into_owned(self) -> T {
        self
    }
}

impl<T> IntoOwned<ByMut<T>> for T {
    type Owned = T;
    fn into_owned(self) -> T {
        self
    }
}

macro_rules! into_owned {
    ($($borrowed:ty: $owned:ty),* $(,)?) => {$(
        impl IntoOwned<ByRef<$borrowed>> for $owned {
            type Owned = $owned;
            fn into_owned(self) -> $owned {
                self
            }
        }
    )*};
}
into_owned!(str: String, Path: PathBuf, OsStr: OsString, CStr: CString);

macro_rules! into_owned_slice {
    ($($kind:ident: $owned:ident as $variant:ident),* $(,)?) => {$(
        impl<T> IntoOwned<$kind<[T]>> for $owned<T> {
            type Owned = OwnedSlice<T>;
            fn into_owned(self) -> OwnedSlice<T> {
                OwnedSlice(Elements::$variant(self))
            }
        }
    )*};
}
into_owned_slice!(
    ByRef: Vec as Private,
    ByRef: SharedVec as Exclusive,
    ByRef: SharedSlice as Shared,
    ByMut: Vec as Private,
    ByMut: SharedVec as Exclusive,
);

impl<P, A: IntoOwned<P>> IntoOwned<One<P>> for A {
    type Owned = A::Owned;
    fn into_owned(self) -> A::Owned {
        IntoOwned::<P>::into_owned(self)
    }
}

impl IntoOwned<()> for () {
    type Owned = ();
    fn into_owned(self) {}
}

macro_rules! tuples {
    ($($($argument:ident: $kind:ident),+;)*) => {$(
        impl<$($argument: IntoOwned<$kind>, $kind),+> IntoOwned<($($kind,)+)> for ($($argument,)+) {
            type Owned = ($($argument::Owned,)+);
            fn into_owned(self) -> Self::Owned {
                #[expect(non_snake_case, reason = "the variables are named after their types")]
                let ($($argument,)+) = self;
                ($($argument.into_owned(),)+)
            }
        }
    )*};
}
tuples! {
    A: P1, B: P2;
    A: P1, B: P2, C: P3;
    A: P1, B: P2, C: P3, D: P4;
    A: P1, B: P2, C: P3, D: P4, E: P5;
    A: P1, B: P2, C: P3, D: P4, E: P5, F: P6;
    A: P1, B: P2, C: P3, D: P4, E: P5, F: P6, G: P7;
    A: P1, B: P2, C: P3, D: P4, E: P5, F: P6, G: P7, H: P8;
    A: P1, B: P2, C: P3, D: P4, E: P5, F: P6, G: P7, H: P8, I: P9;
    A: P1, B: P2, C: P3, D: P4, E: P5, F: P6, G: P7, H: P8, I: P9, J: P10;
    A: P1, B: P2, C: P3, D: P4, E: P5, F: P6, G: P7, H: P8, I: P9, J: P10, K: P11;
    A: P1, B: P2, C: P3, D: P4, E: P5, F: P6, G: P7, H: P8, I: P9, J: P10, K: P11, L: P12;
}
