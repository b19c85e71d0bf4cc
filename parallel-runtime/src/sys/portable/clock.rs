//! The monotonic clock, which is the same in all processes of a machine.

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds since some fixed point in the past.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    (time.tv_sec.cast_unsigned()).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec.cast_unsigned())
}

/// The same, perhaps to a few milliseconds, where that costs less.
pub(crate) fn coarse() -> u64 {
    now()
}
