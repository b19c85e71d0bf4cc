//! How a worker that completes a task meets a thread that is about to sleep until it is done.
//!
//! ```text
//!   worker                      program
//!   word = DONE                 waiter = 1
//!   look at `waiter`            look at `word`
//!   wake, if it is 1            sleep, unless it is DONE
//! ```
//!
//! A thread of the program that takes the task off the board does as the worker does, with FREE in place of DONE.
//!
//! Both write before they look, and all four steps are sequentially consistent: at least one of the two sees what the other
//! wrote. The sleep itself is a futex on the word, which does not sleep if the word has changed since it was looked at.

use super::word::{State, Word};
use crate::sys::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sys::sync::between_ordered_steps;

/// Worker: the task is done. True if a thread is to be woken.
///
/// If the process stops before the exchange the task is lost, after it the task is done; the process that sees the death wakes the
/// waiter. The exchange fails only if the program has taken the task from this worker, which it does to dead ones.
pub(crate) fn complete(word: &AtomicU64, claimed: Word, done: Word, waiter: &AtomicU32) -> bool {
    let _ = word.compare_exchange(claimed.0, done.0, Ordering::SeqCst, Ordering::SeqCst);
    between_ordered_steps();
    waiter.load(Ordering::SeqCst) != 0
}

/// Program: announces a sleeper. Gives the word on which to sleep, or `None` if there is nothing to wait for: the task is done,
/// or another thread of the program has just taken it off the board.
pub(crate) fn announce(word: &AtomicU64, generation: u64, waiter: &AtomicU32) -> Option<Word> {
    waiter.store(1, Ordering::SeqCst);
    between_ordered_steps();
    let seen = Word(word.load(Ordering::SeqCst));
    let under_way = matches!(seen.state(), State::Ready | State::Claimed);
    (under_way && seen.generation() == generation).then_some(seen)
}
