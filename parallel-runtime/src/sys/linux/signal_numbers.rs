//! What signals there are.

/// The last one.
pub(crate) fn last() -> i32 {
    libc::SIGRTMAX()
}

/// Whether a code says that the processor has raised a signal, and not a process.
pub(crate) fn is_fault(code: i32) -> bool {
    code > 0
}
