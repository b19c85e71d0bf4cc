//! What all of them are: a header of atomics, and some words.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::TaskError;
use crate::shared::handle::Handle;
use crate::shared::local_handles;
use crate::shared::space::Space;
use crate::shared::tables::Kind;

/// A handle of an object that is a header of atomics and some words.
pub(super) struct Words<H> {
    pub(super) handle: Arc<Handle>,
    head: NonNull<H>,
    len: usize,
    _head: PhantomData<H>,
}

// SAFETY: it is a handle of memory that any process may use, all of which is atomics.
unsafe impl<H: Sync> Send for Words<H> {}
// SAFETY: as above.
unsafe impl<H: Sync> Sync for Words<H> {}

impl<H> Clone for Words<H> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle), ..*self }
    }
}

/// A header that consists of atomics, for which any bytes are valid.
///
/// # Safety
///
/// It does, and its alignment is at least that of a word.
pub(super) unsafe trait Header: Default {
    const KIND: Kind;
}

impl<H: Header> Words<H> {
    /// A new header, and `len` words that are zero.
    pub(super) fn new(len: usize) -> Result<Self, TaskError> {
        let bytes = len.checked_mul(8).and_then(|bytes| bytes.checked_add(size_of::<H>()));
        let bytes = bytes.ok_or(TaskError::OutOfSharedMemory { requested: u64::MAX, available: 0 })?;
        let (handle, _) = local_handles::create(bytes as u64, align_of::<H>() as u64, H::KIND)?;
        let words = Self::of(handle).expect("it was made for them");
        // SAFETY: the object begins with an `H`, aligned, and nothing else knows of it yet.
        unsafe { words.head.write(H::default()) };
        words.words().iter().for_each(|word| word.store(0, Ordering::Relaxed));
        Ok(words)
    }

    pub(super) fn of(handle: Arc<Handle>) -> Option<Self> {
        let reference = handle.reference();
        let len = usize::try_from(reference.len).ok()?.checked_sub(size_of::<H>())? / 8;
        let head = Space::existing()?.at(reference.offset, reference.len)?.cast::<H>();
        head.is_aligned().then_some(Self { handle, head, len, _head: PhantomData })
    }

    pub(super) fn head(&self) -> &H {
        // SAFETY: the object begins with an `H`, aligned, mapped as long as `held`; any bytes are valid for it.
        unsafe { self.head.as_ref() }
    }

    pub(super) fn words(&self) -> &[AtomicU64] {
        // SAFETY: one past the header is inside the object, or its end.
        let start = unsafe { self.head.as_ptr().add(1) }.cast::<AtomicU64>();
        // SAFETY: `len` words follow the header, aligned since the header's size is a multiple of its alignment; they are atomics.
        unsafe { std::slice::from_raw_parts(start, self.len) }
    }

    pub(super) fn space() -> &'static Space {
        Space::existing().expect("there are objects")
    }
}

/// The parts of a handle that are the same for all.
macro_rules! handle {
    ($type:ident, $field:ident: $parts:ty) => {
        impl Clone for $type {
            fn clone(&self) -> Self {
                Self { $field: self.$field.clone() }
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                crate::shared::serial::encode(&self.$field.handle, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let handle =
                    crate::shared::serial::decode(deserializer, <Head as crate::shared::sync::object::Header>::KIND)?;
                let $field = <$parts>::of(handle)
                    .ok_or_else(|| serde::de::Error::custom("the shared memory behind this handle is another"))?;
                Ok(Self { $field })
            }
        }

        impl crate::shared::statics::SharedObject for $type {
            const MARK: u64 = crate::shared::statics::mark(<Head as crate::shared::sync::object::Header>::KIND, 0);
            fn to_object(&self) -> crate::shared::statics::Object {
                crate::shared::statics::Object(self.$field.handle.clone())
            }
            fn from_object(object: crate::shared::statics::Object) -> Self {
                Self { $field: <$parts>::of(object.0).expect("the object of a static is of its type") }
            }
        }
    };
}
pub(super) use handle;
