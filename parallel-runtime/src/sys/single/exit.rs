//! The end of this process.

/// Ends the process.
pub(crate) fn with_group() -> ! {
    now(0)
}

/// Ends the process, without running destructors.
pub(crate) fn now(code: i32) -> ! {
    std::process::exit(code)
}

/// Ends the process as a program ends.
pub(crate) fn in_order(code: i32) -> ! {
    std::process::exit(code)
}

/// Has `handler` run when the program exits.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    #[cfg(any(unix, windows))]
    {
        unsafe extern "C" {
            fn atexit(handler: extern "C" fn()) -> std::ffi::c_int;
        }
        // SAFETY: the function is one of this executable's, which is never unloaded. If it cannot be registered, it does not run.
        unsafe { atexit(handler) };
    }
    #[cfg(not(any(unix, windows)))]
    let _ = handler;
}

pub(crate) fn flush_c_output() {}

pub(crate) fn ignore_closed_pipes() {}
