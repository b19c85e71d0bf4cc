//! The atomics of the shared-memory protocols, in one place: the model of `tests/crates/model` compiles the same protocols with
//! loom's.

pub(crate) use std::sync::atomic;

/// Stands between two sequentially consistent steps whose order matters. They are ordered by themselves; but loom treats such
/// steps as acquire and release only, and needs a fence here.
#[inline(always)]
pub(crate) fn between_ordered_steps() {}

/// How often to look before sleeping, if that pays: not in the model.
#[inline(always)]
pub(crate) fn patience(rounds: u32) -> u32 {
    rounds
}
