//! The monotonic clock, which is the same in all processes of a machine.

use std::mem::MaybeUninit;

/// Those of macOS are the clock of `std::time::Instant`.
#[cfg(target_os = "macos")]
const CLOCKS: (libc::clockid_t, libc::clockid_t) = (libc::CLOCK_UPTIME_RAW, libc::CLOCK_UPTIME_RAW_APPROX);
#[cfg(target_os = "freebsd")]
const CLOCKS: (libc::clockid_t, libc::clockid_t) = (libc::CLOCK_MONOTONIC, libc::CLOCK_MONOTONIC_FAST);

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the time is written.
    unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    // SAFETY: it is two numbers, and began as zeros.
    let time = unsafe { time.assume_init() };
    time.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec.cast_unsigned())
}

/// Nanoseconds since some fixed point in the past.
pub(crate) fn now() -> u64 {
    read(CLOCKS.0)
}

/// The same to a few milliseconds, at less cost: see clock_gettime(2).
pub(crate) fn coarse() -> u64 {
    read(CLOCKS.1)
}
