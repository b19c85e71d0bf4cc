//! Looking for a while before sleeping.
//!
//! Waking a sleeping core costs about 40 µs, whatever the mechanism; spinning long makes things worse where both sides share a
//! core. 50 spins, then up to 100 `sched_yield`, then a futex was the best of both when measured. A yield takes less than a microsecond where no other
//! thread needs the core; where one does, it takes that thread's whole turn, and sleeping is better: so there is a limit on the time, too.

use std::time::{Duration, Instant};

const SPINS: u32 = 50;
const YIELDS: u32 = 100;
const YIELDING: Duration = Duration::from_micros(500);

/// Yields so many times, but not for too long. False if `done` was not true by the end.
#[inline(always)]
fn yield_until(mut done: impl FnMut() -> bool, times: u32) -> bool {
    let began = Instant::now();
    for _ in 0..times {
        if done() {
            return true;
        }
        std::thread::yield_now();
        if began.elapsed() > YIELDING {
            break;
        }
    }
    done()
}

/// Spins, then yields. False if `done` was not true by the end.
#[inline(always)]
pub(crate) fn spin(mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..SPINS {
        if done() {
            return true;
        }
        std::hint::spin_loop();
    }
    yield_until(done, YIELDS)
}

/// Like [`spin`], for a look that takes a lock: fewer looks.
pub(crate) fn spin_gently(done: &mut dyn FnMut() -> bool) -> bool {
    yield_until(done, YIELDS / 4)
}
