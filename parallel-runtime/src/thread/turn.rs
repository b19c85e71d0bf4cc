//! When a future is polled: by one thread at a time, and once more after each wake.
//!
//! ```text
//!            wake                    a thread comes            pending
//!   IDLE ─────────────► SCHEDULED ─────────────────► POLLING ────────────► IDLE
//!                            ▲                          │ wake
//!                            └─────── pending ─────── WOKEN
//! ```
//!
//! The thread that wakes does something first that the future looks for, and the thread that polls looks after it has begun: both steps here are
//! read-modify-writes, so that one of the two sees the other. Checked by loom in `tests/crates/model`.

use crate::sys::sync::atomic::{AtomicU8, Ordering};

const NOT_BEGUN: u8 = 0;
const IDLE: u8 = 1;
const SCHEDULED: u8 = 2;
const POLLING: u8 = 3;
const WOKEN: u8 = 4;

/// Where a future is.
pub(crate) struct Turn(AtomicU8);

impl Turn {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(NOT_BEGUN))
    }

    /// It has been woken. True if it is to be sent to the pool.
    pub(crate) fn wake(&self) -> bool {
        // A step even where nothing changes: who polls next then sees what the thread that wakes has done before.
        let next = |now| {
            Some(match now {
                IDLE => SCHEDULED,
                POLLING => WOKEN,
                other => other,
            })
        };
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, next) == Ok(IDLE)
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire) != NOT_BEGUN
    }

    /// A thread begins to poll it.
    pub(crate) fn begin(&self) {
        self.0.swap(POLLING, Ordering::AcqRel);
    }

    /// It waits. True if it has been woken meanwhile, and is to be sent to the pool at once.
    pub(crate) fn rest(&self) -> bool {
        if self.0.compare_exchange(POLLING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return false;
        }
        // Another may have woken it since.
        self.0.swap(SCHEDULED, Ordering::AcqRel);
        true
    }
}
