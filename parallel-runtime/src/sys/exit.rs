//! The end of this process, at once.

/// Ends this worker, and what its tasks have started: the program is gone. The program has made a group of processes for them.
pub(crate) fn with_group() -> ! {
    end_group();
    // Nothing returns from that in a group of its own.
    now(0)
}

/// The same, for a signal handler.
pub(crate) fn end_group() {
    // SAFETY: `kill` may be called in a handler, and has no preconditions. It concerns the group of this process.
    unsafe { libc::kill(0, libc::SIGKILL) };
}

/// Ends the process without running destructors of statics or exit handlers.
pub(crate) fn now(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}
