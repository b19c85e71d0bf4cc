//! Sleeping on a word, by futex(2).

use std::sync::atomic::AtomicU32;
use std::time::Instant;

use rustix::thread::futex::{self, Flags, Timespec};

/// To be called before `main`, and before the first thread: some systems have something to look up.
pub(crate) fn prepare() {}

/// Sleeps while `word` is `expected`, at most until `deadline`. May return early. Works between processes that share the word.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) {
    let timeout = deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(left.subsec_nanos()) }
    });
    // EAGAIN (the word has changed), EINTR and ETIMEDOUT all mean: look again.
    let _ = futex::wait(word, Flags::empty(), expected, timeout.as_ref());
}

/// Wakes up to `count` sleepers.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    let _ = futex::wake(word, Flags::empty(), count);
}
