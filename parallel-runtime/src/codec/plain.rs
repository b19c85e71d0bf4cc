//! Vectors of numbers inside values: one copy at any level of optimisation.
//!
//! serde gives a serialiser the elements of a vector one after the other, as a type that is only known where the code is compiled for it. So
//! there the type is asked whether it is a slice or a vector of numbers ([`typeid`]). The other way round it is asked whether the vector is
//! made by serde's own visitor, which takes the elements as they are; one that was written by hand may do anything else with them.

use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use serde::de::{self, Deserialize, Visitor};

use super::error::CodecError;
use super::kind::*;
use super::reader::Reader;

/// Bytes of an address.
const WORD: usize = size_of::<usize>();

/// Gives a macro the kinds of numbers, after its own arguments.
macro_rules! numbers {
    ($then:ident($($argument:expr),*)) => {
        $then!($($argument),*; u8: U8, i8: I8, u16: U16, i16: I16, u32: U32, i32: I32, u64: U64, i64: I64, f32: F32, f64: F64)
    };
}

/// The numbers of a kind that a pointer to a reference to `Elements` of them leads to.
macro_rules! referred_to {
    ($of:expr, $elements:expr; $($type:ty: $kind:ident),*) => {
        match $of {
            $($kind => {
                // SAFETY: as the caller promises; a shared reference is copied, and is not used for longer than `'p`.
                Self::new($kind, unsafe { *$elements.cast::<&'p Elements<$type>>() })
            })*
            _ => unreachable!("it is a kind of numbers"),
        }
    };
}

/// Numbers that lie one after the other.
pub(super) struct Plain<'p> {
    pub(super) kind: u8,
    pub(super) count: usize,
    pub(super) bytes: &'p [u8],
}

impl<'p> Plain<'p> {
    /// What the elements are, if they are those of a slice or of a vector of numbers.
    #[inline(always)]
    pub(super) fn of<I>(elements: &'p I) -> Option<Self> {
        const { assert!(size_of::<&Vec<u8>>() == WORD && size_of::<&[u8]>() == 2 * WORD) };
        macro_rules! of {
            (; $($type:ty: $kind:ident),*) => {
                if const { size_of::<I>() == WORD } {
                    $(if typeid::of::<I>() == TypeId::of::<&'static Vec<$type>>() {
                        // SAFETY: `I` is a reference to a vector of these, of some lifetime.
                        return Some(unsafe { Self::of_vector($kind, std::ptr::from_ref(elements).cast()) });
                    })*
                } else if const { size_of::<I>() == 2 * WORD } {
                    $(if typeid::of::<I>() == TypeId::of::<&'static [$type]>() {
                        // SAFETY: `I` is a reference to a slice of these, of some lifetime.
                        return Some(unsafe { Self::of_slice($kind, std::ptr::from_ref(elements).cast()) });
                    })*
                }
            };
        }
        numbers!(of());
        None
    }

    /// # Safety
    ///
    /// `elements` refers to a reference to a vector of numbers of this kind, and lives for `'p`.
    #[inline(never)]
    unsafe fn of_vector(kind: u8, elements: *const ()) -> Self {
        type Elements<T> = Vec<T>;
        numbers!(referred_to(kind, elements))
    }

    /// # Safety
    ///
    /// `elements` refers to a reference to a slice of numbers of this kind, and lives for `'p`.
    #[inline(never)]
    unsafe fn of_slice(kind: u8, elements: *const ()) -> Self {
        type Elements<T> = [T];
        numbers!(referred_to(kind, elements))
    }

    fn new<T: bytemuck::NoUninit>(kind: u8, elements: &'p [T]) -> Self {
        debug_assert_eq!(width(kind) * elements.len(), size_of_val(elements));
        Self { kind, count: elements.len(), bytes: bytemuck::cast_slice(elements) }
    }
}

/// The rest of a sequence of `count` elements, as the vector that a visitor would make of it. `None` if it is to be asked.
#[inline(always)]
pub(super) fn vector<'de, V: Visitor<'de>>(
    reader: &mut Reader<'_>,
    run: u8,
    count: usize,
) -> Result<Option<V::Value>, CodecError> {
    if run == 0 {
        return Ok(None);
    }
    let mut vector = MaybeUninit::<V::Value>::uninit();
    let place =
        Place { vector: vector.as_mut_ptr().cast(), value: typeid::of::<V::Value>(), visitor: typeid::of::<V>() };
    // SAFETY: the place is one for a value of the type that it names.
    let is_made = unsafe { place.fill(reader, run, count) }?;
    // SAFETY: it was filled.
    Ok(is_made.then(|| unsafe { vector.assume_init() }))
}

/// Where a vector goes. What is done with it is compiled here, once, and not in each crate that has a vector in a type.
struct Place {
    vector: *mut (),
    /// The type of the value that belongs there.
    value: TypeId,
    visitor: TypeId,
}

impl Place {
    /// Fills it with the rest of a sequence. False if the visitor is to be asked.
    ///
    /// # Safety
    ///
    /// A value of the type `value` may be written there.
    #[inline(never)]
    unsafe fn fill(&self, reader: &mut Reader<'_>, run: u8, count: usize) -> Result<bool, CodecError> {
        macro_rules! fill {
            (; $($type:ty: $kind:ident),*) => {
                match run {
                    $($kind if self.value == TypeId::of::<Vec<$type>>() => {
                        static VISITOR: OnceLock<TypeId> = OnceLock::new();
                        if self.visitor != *VISITOR.get_or_init(visitor_of::<$type>) {
                            return Ok(false);
                        }
                        let vector = reader.take_plain::<$type>(count)?;
                        // SAFETY: the place is for this very type, which has no lifetime.
                        unsafe { self.vector.cast::<Vec<$type>>().write(vector) };
                        Ok(true)
                    })*
                    _ => Ok(false),
                }
            };
        }
        numbers!(fill())
    }
}

/// The visitor by which serde makes a vector.
fn visitor_of<T: for<'de> Deserialize<'de> + 'static>() -> TypeId {
    /// Says what visitor it was given.
    struct Probe;
    struct Found(Option<TypeId>);

    impl std::fmt::Debug for Found {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a visitor")
        }
    }
    impl std::fmt::Display for Found {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a visitor")
        }
    }
    impl std::error::Error for Found {}
    impl de::Error for Found {
        fn custom<M: std::fmt::Display>(_message: M) -> Self {
            Self(None)
        }
    }
    impl<'de> de::Deserializer<'de> for Probe {
        type Error = Found;
        fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Found> {
            Err(Found(None))
        }
        fn deserialize_seq<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Found> {
            Err(Found(Some(typeid::of::<V>())))
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
            tuple tuple_struct map struct enum identifier ignored_any
        }
    }
    /// Of no visitor.
    struct None_<T>(PhantomData<T>);

    let found = Vec::<T>::deserialize(Probe).err().and_then(|found| found.0);
    found.unwrap_or_else(TypeId::of::<None_<T>>)
}
