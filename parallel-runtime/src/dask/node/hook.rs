//! How a process becomes a node: as it becomes a worker, by an entry in `.init_array` of its own.

use std::ffi::{CStr, c_char, c_int};

use super::serve;
use crate::sys::before_main;
use crate::sys::entry::{self, Entry};
use crate::sys::{privilege, role};

/// The variable that makes a process a node; its value is how many workers it may have.
pub(crate) const VARIABLE: &str = "__PARALLEL_RUNTIME_NODE";
const VARIABLE_C: &CStr = c"__PARALLEL_RUNTIME_NODE";

before_main!(HOOK: Entry = hook);

unsafe extern "C" fn hook(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    if !entry::has_variable(VARIABLE_C) {
        return;
    }
    if privilege::is_raised() {
        privilege::end_if_started_by_parent();
        return;
    }
    let workers = std::env::var(VARIABLE).ok().and_then(|workers| workers.parse().ok()).unwrap_or(1);
    role::become_node();
    // SAFETY: this runs before `main`, and before any thread is started.
    unsafe { entry::remove_variable(VARIABLE) };
    // SAFETY: we are called as an entry of the array, with the arguments that its entries get.
    unsafe { entry::run_later_entries(hook, argc, argv, envp) };
    serve::main(workers)
}
