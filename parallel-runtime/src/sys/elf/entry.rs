//! Entries of `.init_array` that turn the process into something else and never return.
//!
//! Entries of the array may stand after such an entry (constructors of C++ statics in a linked library, seen with fat LTO): it
//! runs those first.

use std::ffi::{CStr, c_char, c_int};

/// An entry of the array, with the arguments that glibc gives to it; musl calls it without any.
pub(crate) type Entry = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char);

unsafe extern "C" {
    /// The bounds of the array. Defined by the linker.
    static __init_array_start: Option<Entry>;
    static __init_array_end: Option<Entry>;
}

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
    // Other C libraries call the entries of the array without arguments.
    if cfg!(not(target_env = "gnu")) {
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

/// Runs the entries of the array that stand after `ours`.
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
    let start = &raw const __init_array_start;
    let end = &raw const __init_array_end;
    let count = (end.addr() - start.addr()) / size_of::<Option<Entry>>();
    // SAFETY: the linker puts the two symbols at the bounds of the array of function pointers, which nothing writes.
    let entries = unsafe { std::slice::from_raw_parts(start, count) };
    let ours = entries.iter().position(|entry| entry.is_some_and(|entry| entry as usize == ours as usize));
    for entry in entries.iter().skip(ours.map_or(count, |ours| ours + 1)).flatten() {
        // SAFETY: these are the calls that the loader would make next, in its order and with its arguments.
        unsafe { entry(argc, argv, envp) };
    }
}
