//! Sleeping on a word of shared memory.

use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::{Duration, Instant};

use rustix::thread::futex::{self, Flags, Timespec};

/// Sleeps while `word` is `expected`, at most until `deadline`. May return early.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) {
    let timeout = deadline.map(|deadline| timespec(deadline.saturating_duration_since(Instant::now())));
    // EAGAIN (the word has changed), EINTR and ETIMEDOUT all mean: look again.
    let _ = futex::wait(word, Flags::empty(), expected, timeout.as_ref());
}

/// Wakes up to `count` sleepers.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    let _ = futex::wake(word, Flags::empty(), count);
}

/// Wakes all sleepers.
pub(crate) fn wake_all(word: &AtomicU32) {
    wake(word, i32::MAX as u32);
}

/// The half of a word that changes whenever the word does, on which the kernel can sleep.
pub(crate) fn low_half(word: &AtomicU64) -> &AtomicU32 {
    let halves = std::ptr::from_ref(word).cast::<[AtomicU32; 2]>();
    // SAFETY: an `AtomicU64` has the size and at least the alignment of two `AtomicU32`; both halves are only used as atomics.
    let halves = unsafe { &*halves };
    &halves[if cfg!(target_endian = "little") { 0 } else { 1 }]
}

/// As [`wait`], on the low half of a word.
pub(crate) fn wait_low(word: &AtomicU64, expected: u64, deadline: Option<Instant>) {
    wait(low_half(word), expected as u32, deadline);
}

/// As [`wake`], for those who sleep on the low half of a word.
pub(crate) fn wake_low(word: &AtomicU64, count: u32) {
    wake(low_half(word), count);
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
