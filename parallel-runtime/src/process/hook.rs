//! How a process becomes a worker.
//!
//! Every executable that links this crate has one more entry in its `.init_array`. It runs before `main`, finds the variable
//! that only a worker has, and never returns: so workers need no call in the user's `main`, and there need be no `main` of the
//! user's at all (tests, doctests, benchmarks). In any other process it returns after one look at the environment.
//!
//! Any user can set a variable. So it means nothing where the kernel has raised the program's rights, and a worker checks the sender of its welcome:
//! see [`start`](super::worker).

use std::ffi::{CStr, OsString, c_char, c_int};

use super::{replay, worker};
use crate::sys::before_main;
use crate::sys::entry::{self, Entry};
use crate::sys::{image, privilege, role};

/// The variable that makes a process a worker. It is removed from the worker's environment at once, so that a program which a
/// task starts is not taken for one.
pub(super) const VARIABLE: &str = "__PARALLEL_RUNTIME_WORKER";
/// Its value for a worker in a sandbox; for another one it is the program's own name, as it was called.
const CONFINED: &CStr = c"1";
const VARIABLE_C: &CStr = c"__PARALLEL_RUNTIME_WORKER";

before_main!(HOOK: Entry = hook);

/// The value of the variable.
pub(super) fn value(with_name: bool) -> OsString {
    let name = if with_name { std::env::args_os().next() } else { None };
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| CONFINED.to_string_lossy().into_owned().into())
}

unsafe extern "C" fn hook(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    // What it says now counts, on systems where it changes.
    let is_raised = privilege::is_raised();
    if !entry::has_variable(VARIABLE_C) {
        if entry::has_variable(replay::VARIABLE_C) && !is_raised && image::check().is_ok() {
            let path = std::env::var_os(replay::VARIABLE).unwrap_or_default();
            if path.is_empty() {
                return;
            }
            // SAFETY: this runs before `main`, and before any thread is started.
            unsafe { entry::remove_variable(replay::VARIABLE) };
            // SAFETY: we are called as an entry of the array, with the arguments that its entries get.
            unsafe { entry::run_later_entries(hook, argc, argv, envp) };
            replay::main(path)
        }
        return;
    }
    if is_raised {
        privilege::end_if_started_by_parent();
        return;
    }
    role::become_worker();
    // SAFETY: the array and the environment are those that the kernel has made for this process, and no other thread runs yet.
    unsafe { entry::take_first_argument(VARIABLE_C, CONFINED, argc, argv) };
    // SAFETY: this runs before `main`, and before any thread is started.
    unsafe { entry::remove_variable(VARIABLE) };
    // SAFETY: we are called as an entry of the array, with the arguments that its entries get.
    unsafe { entry::run_later_entries(hook, argc, argv, envp) };
    worker::main()
}
