//! What all containers have: a lock, a heap, the start of their structure.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::heap::{Heap, HeapHead};
use crate::error::TaskError;
use crate::shared::handle::Handle;
use crate::shared::local_handles;
use crate::shared::lock::{Holding, Lock, Taken};
use crate::shared::space::Space;
use crate::shared::tables::Kind;

/// The start of a container's object.
#[repr(C)]
pub(super) struct Head {
    pub(super) lock: Lock,
    /// What the structure begins with: an offset.
    pub(super) root: AtomicU64,
    /// Numbers whose meaning each container says.
    pub(super) numbers: [AtomicU64; 6],
    pub(super) heap: HeapHead,
}

/// A handle of a container.
pub(super) struct Container {
    pub(super) handle: Arc<Handle>,
    head: NonNull<Head>,
}

// SAFETY: it is a handle of memory that any process may use; what is in it is reached under its lock, or is an atomic.
unsafe impl Send for Container {}
// SAFETY: as above.
unsafe impl Sync for Container {}

impl Clone for Container {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle), head: self.head }
    }
}

/// A container whose lock this thread holds.
pub(super) struct Open<'c> {
    pub(super) heap: Heap<'c>,
    pub(super) head: &'c Head,
    _holding: Holding<'c>,
}

impl Container {
    /// An empty one: all numbers are 0.
    pub(super) fn new(kind: Kind) -> Result<Self, TaskError> {
        let (handle, _) = local_handles::create(size_of::<Head>() as u64, align_of::<Head>() as u64, kind)?;
        let container = Self::of(handle).expect("it was made for it");
        // SAFETY: the object is as large as a `Head`, and nothing else knows of it yet; all zeros is a valid one.
        unsafe { container.head.as_ptr().write_bytes(0, 1) };
        Ok(container)
    }

    pub(super) fn of(handle: Arc<Handle>) -> Option<Self> {
        let reference = handle.reference();
        if reference.len < size_of::<Head>() as u64 {
            return None;
        }
        let head = Space::existing()?.at(reference.offset, reference.len)?.cast::<Head>();
        head.is_aligned().then_some(Self { handle, head })
    }

    pub(super) fn head(&self) -> &Head {
        // SAFETY: the object begins with a `Head`, aligned, mapped as long as `held`; it is atomics, valid with any bytes.
        unsafe { self.head.as_ref() }
    }

    /// Takes the lock for steps of our own. `mend` makes summaries anew if its holder died.
    #[inline]
    #[track_caller]
    pub(super) fn open(&self, mend: fn(&Open<'_>)) -> Open<'_> {
        let (holding, taken) = Holding::briefly(&self.head().lock, Self::space());
        self.opened(holding, taken, mend)
    }

    /// Takes the lock while code of the user's runs.
    #[track_caller]
    pub(super) fn open_for_user(&self, deadline: Option<Instant>, mend: fn(&Open<'_>)) -> Option<Open<'_>> {
        let (holding, taken) = Holding::for_user(&self.head().lock, Self::space(), deadline)?;
        Some(self.opened(holding, taken, mend))
    }

    pub(super) fn space() -> &'static Space {
        Space::existing().expect("there are objects")
    }

    #[inline]
    fn opened<'c>(&'c self, holding: Holding<'c>, taken: Taken, mend: fn(&Open<'_>)) -> Open<'c> {
        let head = self.head();
        let heap = Heap { head: &head.heap, handle: &self.handle, space: Self::space() };
        let open = Open { heap, head, _holding: holding };
        if taken == Taken::FromTheDead {
            mend(&open);
        }
        open
    }
}

/// The parts of a container's handle that are the same for all.
macro_rules! handle {
    ($type:ident<$($generic:ident),*>, $kind:ident) => {
        impl<$($generic),*> Clone for $type<$($generic),*> {
            fn clone(&self) -> Self {
                Self { container: self.container.clone(), _contents: std::marker::PhantomData }
            }
        }

        impl<$($generic),*> serde::Serialize for $type<$($generic),*> {
            fn serialize<__S: serde::Serializer>(&self, serializer: __S) -> Result<__S::Ok, __S::Error> {
                crate::shared::serial::encode(&self.container.handle, serializer)
            }
        }

        impl<'de, $($generic),*> serde::Deserialize<'de> for $type<$($generic),*> {
            fn deserialize<__D: serde::Deserializer<'de>>(deserializer: __D) -> Result<Self, __D::Error> {
                let handle = crate::shared::serial::decode(deserializer, crate::shared::tables::Kind::$kind)?;
                Self::of(handle).ok_or_else(|| serde::de::Error::custom("the shared memory behind this handle is another"))
            }
        }

        impl<$($generic),*> $type<$($generic),*> {
            fn of(handle: std::sync::Arc<crate::shared::handle::Handle>) -> Option<Self> {
                Some(Self { container: super::container::Container::of(handle)?, _contents: std::marker::PhantomData })
            }
        }

        impl<$($generic),*> crate::shared::statics::SharedObject for $type<$($generic),*> {
            const MARK: u64 = crate::shared::statics::mark(crate::shared::tables::Kind::$kind, 0);
            fn to_object(&self) -> crate::shared::statics::Object {
                crate::shared::statics::Object(self.container.handle.clone())
            }
            fn from_object(object: crate::shared::statics::Object) -> Self {
                Self::of(object.0).expect("the object of a static is of its type")
            }
        }
    };
}
pub(super) use handle;
