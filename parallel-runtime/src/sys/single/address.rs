//! Sleeping on a word, in one process: condition variables, by the word's address.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Instant;

/// Words that share one of these wake each other: those who sleep look again.
struct Bucket {
    lock: Mutex<()>,
    changed: Condvar,
}

const COUNT: usize = 64;

static BUCKETS: [Bucket; COUNT] = [const { Bucket { lock: Mutex::new(()), changed: Condvar::new() } }; COUNT];

fn bucket(word: &AtomicU32) -> &'static Bucket {
    // Fibonacci hashing: the high bits of the product depend on all bits of the address.
    let hash = (word.as_ptr().addr() as u64 >> 2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &BUCKETS[(hash >> 58) as usize]
}

/// To be called before `main`, and before the first thread: some systems have something to look up.
pub(crate) fn prepare() {}

/// Sleeps while `word` is `expected`, at most until `deadline`. May return early.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) {
    let Bucket { lock, changed } = bucket(word);
    let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
    // Under the lock: the thread that changes the word takes it afterwards, and so finds this one asleep.
    if word.load(Ordering::SeqCst) != expected {
        return;
    }
    match deadline {
        None => drop(changed.wait(guard)),
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            drop(changed.wait_timeout(guard, left));
        }
    }
}

/// Wakes sleepers: all of them, and those of words in the same bucket.
pub(crate) fn wake(word: &AtomicU32, _count: u32) {
    let Bucket { lock, changed } = bucket(word);
    drop(lock.lock().unwrap_or_else(PoisonError::into_inner));
    changed.notify_all();
}
