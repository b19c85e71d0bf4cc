//! Sleeping on a word of shared memory.

use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Instant;

pub(crate) use super::system::address::{prepare, wait, wake};

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
