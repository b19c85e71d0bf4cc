//! Dictionaries, lists and queues that several processes change.
//!
//! | module | what |
//! | --- | --- |
//! | [`dict`], [`list`], [`queue`] | the three containers |
//! | [`table`] | the hash table of a dictionary |
//! | [`contents`] | values as bytes, and the handles in them |
//! | [`heap`] | the memory of a container |
//!
//! **A process may die at any instruction.** Each container is changed under its lock, and each change becomes true by *one store of
//! eight bytes*: what is new is prepared where the structure does not reach, and the store makes the structure reach it. Whoever takes
//! the lock from a dead process finds the structure as it was before the store or after it; all that is only a summary of the
//! structure (how many elements there are, which memory is free) it makes anew.

mod contents;
pub(crate) mod dict;
mod heap;
pub(crate) mod list;
pub(crate) mod queue;
mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use heap::{Heap, HeapHead};

use super::Space;
use super::held::{self, Held};
use super::lock::{Holding, Lock, Taken};
use super::tables::Kind;
use crate::error::TaskError;

/// Writes a word of a container. Whoever sees it sees what this process has written before.
#[inline(always)]
fn set(word: &AtomicU64, value: u64) {
    #[cfg(test)]
    tests::step();
    word.store(value, Ordering::Release);
}

/// The start of a container's object.
#[repr(C)]
struct Head {
    lock: Lock,
    /// What the structure begins with: an offset.
    root: AtomicU64,
    /// Numbers whose meaning each container says.
    numbers: [AtomicU64; 6],
    heap: HeapHead,
}

/// A handle of a container.
struct Container {
    held: Arc<Held>,
    head: NonNull<Head>,
}

// SAFETY: it is a handle of memory that any process may use; what is in it is reached under its lock, or is an atomic.
unsafe impl Send for Container {}
// SAFETY: as above.
unsafe impl Sync for Container {}

impl Clone for Container {
    fn clone(&self) -> Self {
        Self { held: Arc::clone(&self.held), head: self.head }
    }
}

/// A container whose lock this thread holds.
struct Open<'c> {
    heap: Heap<'c>,
    head: &'c Head,
    _holding: Holding<'c>,
}

impl Container {
    /// An empty one: all numbers are 0.
    fn new(kind: Kind) -> Result<Self, TaskError> {
        let (held, _) = held::create(size_of::<Head>() as u64, align_of::<Head>() as u64, kind)?;
        let container = Self::of(held).expect("it was made for it");
        // SAFETY: the object is as large as a `Head`, and nobody else knows of it yet; all zeros is a valid one.
        unsafe { container.head.as_ptr().write_bytes(0, 1) };
        Ok(container)
    }

    fn of(held: Arc<Held>) -> Option<Self> {
        let reference = held.reference();
        if reference.len < size_of::<Head>() as u64 {
            return None;
        }
        let head = Space::existing()?.at(reference.offset, reference.len)?.cast::<Head>();
        head.is_aligned().then_some(Self { held, head })
    }

    fn head(&self) -> &Head {
        // SAFETY: the object begins with a `Head`, aligned, mapped as long as `held`; it is atomics, valid with any bytes.
        unsafe { self.head.as_ref() }
    }

    /// Takes the lock for steps of our own. `mend` makes summaries anew if its holder died.
    #[inline]
    #[track_caller]
    fn open(&self, mend: fn(&Open<'_>)) -> Open<'_> {
        let (holding, taken) = Holding::briefly(&self.head().lock, Self::space());
        self.opened(holding, taken, mend)
    }

    /// Takes the lock while code of the user's runs.
    #[track_caller]
    fn open_for_user(&self, deadline: Option<Instant>, mend: fn(&Open<'_>)) -> Option<Open<'_>> {
        let (holding, taken) = Holding::for_user(&self.head().lock, Self::space(), deadline)?;
        Some(self.opened(holding, taken, mend))
    }

    fn space() -> &'static Space {
        Space::existing().expect("there are objects")
    }

    #[inline]
    fn opened<'c>(&'c self, holding: Holding<'c>, taken: Taken, mend: fn(&Open<'_>)) -> Open<'c> {
        let head = self.head();
        let heap = Heap { head: &head.heap, held: &self.held, space: Self::space() };
        let open = Open { heap, head, _holding: holding };
        if taken == Taken::FromTheDead {
            mend(&open);
        }
        open
    }
}

/// Finds which handles are in a container, and how many of each object, and has it used under the container's lock.
pub(super) fn with_handles<R>(
    held: Arc<Held>,
    kind: Kind,
    use_them: impl FnOnce(&HashMap<u32, u64>) -> R,
) -> Option<R> {
    let container = Container::of(held)?;
    let (open, nodes) = match kind {
        Kind::Dict => {
            let open = container.open(table::mend);
            let nodes = table::nodes(&open);
            (open, nodes)
        }
        Kind::List => {
            let open = container.open(list::mend);
            let nodes = list::nodes(&open);
            (open, nodes)
        }
        Kind::Queue => {
            let open = container.open(queue::mend);
            let nodes = queue::nodes(&open);
            (open, nodes)
        }
        _ => return None,
    };
    let mut found = HashMap::new();
    for id in nodes.iter().flat_map(|node| node.objects(open.heap)) {
        *found.entry(id).or_default() += 1;
    }
    Some(use_them(&found))
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
                crate::shared::held::encode(&self.container.held, serializer)
            }
        }

        impl<'de, $($generic),*> serde::Deserialize<'de> for $type<$($generic),*> {
            fn deserialize<__D: serde::Deserializer<'de>>(deserializer: __D) -> Result<Self, __D::Error> {
                let held = crate::shared::held::decode(deserializer, crate::shared::tables::Kind::$kind)?;
                Self::of(held).ok_or_else(|| serde::de::Error::custom("the shared memory behind this handle is another"))
            }
        }

        impl<$($generic),*> $type<$($generic),*> {
            fn of(held: std::sync::Arc<crate::shared::Held>) -> Option<Self> {
                Some(Self { container: super::Container::of(held)?, _contents: std::marker::PhantomData })
            }
        }

        impl<$($generic),*> crate::shared::statics::SharedObject for $type<$($generic),*> {
            fn to_object(&self) -> crate::shared::statics::Object {
                crate::shared::statics::Object(self.container.held.clone())
            }
            fn from_object(object: crate::shared::statics::Object) -> Self {
                Self::of(object.0).expect("the object of a static is of its type")
            }
        }
    };
}
use handle;
