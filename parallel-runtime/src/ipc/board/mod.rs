//! The board: what a pool and its workers share.
//!
//! | part | what |
//! | --- | --- |
//! | [`Header`](layout::Header) | `tail` and `head` of the ring, who sleeps |
//! | [`Record`]s | one for each worker |
//! | ring | which slots were published, in order: see [`ring`] |
//! | [`Slot`]s | one for each task in flight: see [`slot`], [`word`], [`meeting`] |
//!
//! [`terminate`] is how a worker is ended for one task without harm to another.
//!
//! [`ring`], [`sleep`], [`word`], [`meeting`] and [`terminate`] are checked by loom in `tests/crates/model`.
//!
//! All of it is atomics and byte buffers, valid as zeros, at fixed places from the board's offset in the arena.

pub(crate) mod layout;
pub(crate) mod meeting;
pub(crate) mod ring;
pub(crate) mod sleep;
pub(crate) mod slot;
pub(crate) mod terminate;
#[cfg(test)]
mod tests;
pub(crate) mod word;

pub(crate) use layout::{Board, Layout, MOST_WORKERS, Record};
pub(crate) use slot::Slot;

use crate::sys::futex;

/// Begins nothing while the program is deciding whether to end this process: see [`terminate`].
pub(crate) fn wait_while_terminating(record: &Record) {
    while terminate::is_terminating(&record.terminating) {
        futex::wait(&record.terminating, 1, None);
    }
}
