//! The monotonic clock of this process.

use std::sync::OnceLock;
use std::time::Instant;

/// Nanoseconds since some fixed point in the past.
pub(crate) fn now() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    // Never 0, which stands for no time.
    u64::try_from(FIRST.get_or_init(Instant::now).elapsed().as_nanos()).unwrap_or(u64::MAX) + 1
}

/// The same.
pub(crate) fn coarse() -> u64 {
    now()
}
