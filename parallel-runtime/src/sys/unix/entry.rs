//! Functions that run before `main`, turn the process into something else and never return.
//!
//! Others may stand after such a function (constructors of C++ statics in a linked library, seen with fat LTO): it runs those first.

use std::ffi::{CStr, c_char, c_int};

use super::initializers;
pub(crate) use super::initializers::Entry;

/// Whether the environment has a variable of this name. Without an allocation: every program that links this crate asks at its start.
pub(crate) fn has_variable(name: &CStr) -> bool {
    // SAFETY: `getenv` is given a string that ends in a zero; no other thread runs yet that could change the environment.
    !unsafe { libc::getenv(name.as_ptr()) }.is_null()
}

/// Puts the value of a variable in the place of the first argument, unless it is `except`: what the process shows itself by is another thing than what the
/// program was called by.
///
/// # Safety
///
/// `argv` has `argc` entries, which may be written, and no other thread runs yet. The value of the variable lies where the kernel has put it: it stays there
/// when the variable is removed.
pub(crate) unsafe fn take_first_argument(name: &CStr, except: &CStr, argc: c_int, argv: *const *const c_char) {
    if !initializers::HAVE_ARGUMENTS {
        return;
    }
    // SAFETY: `getenv` is given a string that ends in a zero; no other thread runs yet.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    if value.is_null() || argc < 1 || argv.is_null() {
        return;
    }
    // SAFETY: it is a string that ends in a zero.
    if unsafe { CStr::from_ptr(value) } != except {
        // SAFETY: the array has this entry, and may be written, as the caller promises.
        unsafe { argv.cast_mut().write(value) };
    }
}

/// Removes a variable from the environment, so that a program which this process starts does not find it.
///
/// # Safety
///
/// No other thread runs yet.
pub(crate) unsafe fn remove_variable(name: &str) {
    // SAFETY: no other thread runs yet that could read the environment meanwhile, as the caller promises.
    unsafe { std::env::remove_var(name) };
}

/// Runs the functions that the loader would run after `ours`.
///
/// # Safety
///
/// To be called from `ours`, with the arguments that it got.
pub(crate) unsafe fn run_later_entries(
    ours: Entry,
    argc: c_int,
    argv: *const *const c_char,
    envp: *const *const c_char,
) {
    for entry in initializers::after(ours) {
        // SAFETY: these are the calls that the loader would make next, in its order and with its arguments.
        unsafe { entry(argc, argv, envp) };
    }
}

/// Whether a function is one that the loader runs before `main`.
#[cfg(target_os = "macos")]
pub(crate) fn is_among_initializers(entry: Entry) -> bool {
    initializers::is_there(entry)
}
