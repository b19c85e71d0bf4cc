//! Whether a thread polls a future of this engine.

use std::cell::Cell;

thread_local! {
    static POLLING_NOW: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is in the middle of polling one of these.
pub(super) fn is_polling() -> bool {
    POLLING_NOW.get()
}

/// Runs `poll`, which polls one.
pub(super) fn polling<R>(poll: impl FnOnce() -> R) -> R {
    let before = POLLING_NOW.replace(true);
    let polled = poll();
    POLLING_NOW.set(before);
    polled
}
