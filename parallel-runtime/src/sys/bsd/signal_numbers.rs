//! What signals there are.

/// The last one that has a number of its own on all of these systems.
pub(crate) fn last() -> i32 {
    31
}

/// `SI_USER` and the codes beside it, of signals that a process has sent (<sys/signal.h>).
const SENT: std::ops::RangeInclusive<i32> = 0x10001..=0x10007;

/// Whether a code says that the processor has raised a signal, and not a process.
pub(crate) fn is_fault(code: i32) -> bool {
    code > 0 && !SENT.contains(&code)
}
