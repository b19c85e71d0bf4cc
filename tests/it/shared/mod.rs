//! Shared memory: one module for each kind of object, and one for what all have in common.

#[cfg(feature = "arrow")]
mod arrow;
mod containers;
mod handles;
#[cfg(not(parallel_portable))]
mod named;
#[cfg(feature = "ndarray")]
mod ndarray;
mod owners;
mod slices;
mod sync;
mod values;
