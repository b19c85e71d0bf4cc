//! How a worker that completes a task meets a thread that is about to sleep until it is done.
//!
//! ```text
//!   worker                      program
//!   word = DONE                 waiter = 1
//!   look at `waiter`            look at `word`
//!   wake, if it is 1            sleep, unless it is DONE
//! ```
//!
//! Both write before they look, and all four steps are sequentially consistent: at least one of the two sees what the other
//! wrote. The sleep itself is a futex on the word, which does not sleep if the word has changed since it was looked at.

use super::word::{State, Word};
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::between_ordered_steps;

/// Worker: the task is done. True if somebody is to be woken.
///
/// If the process stops before the swap the task is lost, after it the task is done; whoever sees the death wakes the waiter.
pub(crate) fn complete(word: &AtomicU64, done: Word, waiter: &AtomicU32) -> bool {
    word.swap(done.0, Ordering::SeqCst);
    between_ordered_steps();
    waiter.load(Ordering::SeqCst) != 0
}

/// Program: announces a sleeper. Gives the word on which to sleep, or `None` if there is nothing to wait for.
pub(crate) fn announce(word: &AtomicU64, generation: u64, waiter: &AtomicU32) -> Option<Word> {
    waiter.store(1, Ordering::SeqCst);
    between_ordered_steps();
    let seen = Word(word.load(Ordering::SeqCst));
    (seen.state() != State::Done && seen.generation() == generation).then_some(seen)
}
