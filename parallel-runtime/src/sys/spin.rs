//! Looking for a while before sleeping.
//!
//! Waking a sleeping core costs about 40 µs, whatever the mechanism; spinning long makes things worse where both sides share a
//! core. 50 spins, then up to 100 `sched_yield`, then a futex was the best of both when measured.

const SPINS: u32 = 50;
const YIELDS: u32 = 100;

/// Spins, then yields. False if `done` was not true by the end.
#[inline(always)]
pub(crate) fn spin(mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..SPINS {
        if done() {
            return true;
        }
        std::hint::spin_loop();
    }
    for _ in 0..YIELDS {
        if done() {
            return true;
        }
        std::thread::yield_now();
    }
    done()
}

/// Like [`spin`], for a look that takes a lock: fewer looks.
pub(crate) fn spin_gently(done: &mut dyn FnMut() -> bool) -> bool {
    for _ in 0..YIELDS / 4 {
        if done() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}
