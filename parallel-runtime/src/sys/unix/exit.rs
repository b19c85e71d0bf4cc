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

/// Ends the process as a program ends: with exit handlers, and with what C has buffered written out.
pub(crate) fn in_order(code: i32) -> ! {
    // SAFETY: `exit` runs what libraries have registered to be run there, on a thread that runs no task any more, as the end of any program does.
    unsafe { libc::exit(code) }
}

/// Has `handler` run when the program exits. If it cannot be registered, it does not.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    // SAFETY: the function is one of this executable's, which is never unloaded.
    unsafe { libc::atexit(handler) };
}

/// Writes out what C code has printed to its standard output.
pub(crate) fn flush_c_output() {
    unsafe extern "C" {
        #[cfg_attr(not(any(target_os = "macos", target_os = "freebsd")), link_name = "stdout")]
        #[cfg_attr(any(target_os = "macos", target_os = "freebsd"), link_name = "__stdoutp")]
        static OUTPUT: *mut libc::FILE;
    }
    // SAFETY: the C library has this variable, which is set before any code of ours runs.
    let output = unsafe { OUTPUT };
    // SAFETY: it is an open stream; a null pointer would stand for all streams.
    unsafe { libc::fflush(output) };
}

/// Writing to a closed pipe is an error, not a death.
pub(crate) fn ignore_closed_pipes() {
    // SAFETY: it is a signal that may be ignored, and no handler is named.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}
