//! What all of them are: a header of atomics, and some words.

use loom::sync::atomic::AtomicU64;
use std::sync::Arc;

use crate::error::TaskError;
use crate::shared::space::Space;
use crate::shared::tables::Kind;

pub(super) struct Words<H>(Arc<(H, Vec<AtomicU64>)>);

impl<H> Clone for Words<H> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// # Safety
///
/// As in the runtime.
pub(super) unsafe trait Header: Default {
    const KIND: Kind;
}

impl<H: Header> Words<H> {
    pub(super) fn new(len: usize) -> Result<Self, TaskError> {
        Ok(Self(Arc::new((H::default(), (0..len).map(|_| AtomicU64::new(0)).collect()))))
    }

    pub(super) fn head(&self) -> &H {
        &self.0.0
    }

    pub(super) fn words(&self) -> &[AtomicU64] {
        &self.0.1
    }

    pub(super) fn space() -> &'static Space {
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
pub(super) use handle;
