//! The atomics of the shared-memory protocols, in one place: the model of `tests/crates/model` compiles the same protocols with
//! loom's.

pub(crate) use std::sync::atomic;
pub(crate) use std::thread::yield_now;

/// A cell whose contents are used through a pointer, which loom watches in the model.
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(crate) fn with_mut<R>(&self, with: impl FnOnce(*mut T) -> R) -> R {
        with(self.0.get())
    }
}

/// Stands between two sequentially consistent steps whose order matters. They are ordered by themselves; but loom treats such
/// steps as acquire and release only, and needs a fence here.
#[inline(always)]
pub(crate) fn between_ordered_steps() {}

/// How often to look before sleeping, if that pays: not in the model.
#[inline(always)]
pub(crate) fn patience(rounds: u32) -> u32 {
    rounds
}
