//! The event, the semaphore and the barrier, in memory of this process.

use loom::sync::atomic::AtomicU64;
use std::sync::Arc;

use super::space::Space;
use super::tables::Kind;
use crate::error::TaskError;

#[path = "../../../../../parallel-runtime/src/shared/sync/barrier.rs"]
pub(crate) mod barrier;
#[path = "../../../../../parallel-runtime/src/shared/sync/event.rs"]
pub(crate) mod event;
#[path = "../../../../../parallel-runtime/src/shared/sync/semaphore.rs"]
pub(crate) mod semaphore;

struct Words<H>(Arc<(H, Vec<AtomicU64>)>);

impl<H> Clone for Words<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// # Safety
///
/// As in the runtime.
unsafe trait Header: Default {
    const KIND: Kind;
}

impl<H: Header> Words<H> {
    fn new(len: usize) -> Result<Self, TaskError> {
        Ok(Self(Arc::new((H::default(), (0..len).map(|_| AtomicU64::new(0)).collect()))))
    }

    fn head(&self) -> &H {
        &self.0.0
    }

    fn words(&self) -> &[AtomicU64] {
        &self.0.1
    }

    fn space() -> &'static Space {
        Space::current()
    }
}

macro_rules! handle {
    ($type:ident, $field:ident: $parts:ty) => {
        impl Clone for $type {
            fn clone(&self) -> Self {
                Self { $field: self.$field.clone() }
            }
        }
    };
}
use handle;
