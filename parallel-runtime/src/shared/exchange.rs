//! What is on its way between a handle and the reader or writer of its message, by number: see [`codec::attachment`](crate::codec::attachment).
//!
//! Each is put here, and taken or withdrawn, within one call on one thread. Other code that knows the number can at most take it first, by which the
//! call fails.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

/// Things under numbers.
pub(super) struct Exchange<T> {
    next: AtomicU64,
    things: Mutex<BTreeMap<u64, (ThreadId, T)>>,
}

impl<T> Exchange<T> {
    pub(super) const fn new() -> Self {
        Self { next: AtomicU64::new(1), things: Mutex::new(BTreeMap::new()) }
    }

    /// Puts something here, and gives its number.
    pub(super) fn put(&self, thing: T) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        things.insert(number, (thread::current().id(), thing));
        number
    }

    /// Takes what this thread has put here. `None` if it has been taken.
    pub(super) fn take(&self, number: u64) -> Option<T> {
        let mut things = self.things.lock().unwrap_or_else(PoisonError::into_inner);
        let (thread, _) = things.get(&number)?;
        if *thread != thread::current().id() {
            return None;
        }
        things.remove(&number).map(|(_, thing)| thing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_taken_once_and_by_the_thread_that_has_put_it_in() {
        static WORDS: Exchange<&str> = Exchange::new();
        let (one, other) = (WORDS.put("one"), WORDS.put("other"));
        assert_eq!(thread::spawn(move || WORDS.take(one)).join().unwrap(), None);
        assert_eq!((WORDS.take(other), WORDS.take(one), WORDS.take(one)), (Some("other"), Some("one"), None));
    }
}
