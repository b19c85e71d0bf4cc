//! The board: what a pool and its workers share.
//!
//! | part | what |
//! | --- | --- |
//! | [`Header`] | `tail` and `head` of the ring, who sleeps |
//! | [`Record`]s | one for each worker |
//! | ring | which slots were published, in order: see [`ring`] |
//! | [`Slot`]s | one for each task in flight: see [`slot`] |
//!
//! All of it is atomics and byte buffers, valid as zeros, at fixed places from the board's offset in the arena.

pub(crate) mod layout;
#[cfg(all(test, loom))]
mod loom_tests;
pub(crate) mod ring;
pub(crate) mod sleep;
pub(crate) mod slot;

pub(crate) use layout::{Board, Layout, Record};
pub(crate) use slot::Slot;

/// The most workers a pool can have.
pub(crate) const MOST_WORKERS: usize = 1024;
