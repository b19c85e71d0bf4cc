//! Shared memory: one module for each kind of object, and one for what all have in common.

mod containers;
mod handles;
mod named;
mod slices;
mod sync;
mod values;
