//! The atomics of the shared-memory protocols: those of the standard library, or loom's when the model checker runs
//! (`RUSTFLAGS="--cfg loom" cargo test -p parallel-runtime --lib loom`).

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

/// One turn of a short spin.
#[cfg(not(loom))]
pub(crate) use std::hint::spin_loop;
