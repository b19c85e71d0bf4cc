//! How a process becomes a worker.
//!
//! Every executable that links this crate has one more entry in its `.init_array`. It runs before `main`, finds the variable
//! that only a worker has, and never returns: so workers need no call in the user's `main`, and there need be no `main` of the
//! user's at all (tests, doctests, benchmarks). In any other process it returns after one look at the environment.
//!
//! Entries of the array may stand after ours (constructors of C++ statics in a linked library, seen with fat LTO); a worker
//! runs those first.

use std::ffi::{c_char, c_int};
use std::sync::atomic::{AtomicBool, Ordering};

use super::worker;

/// The variable that makes a process a worker. It is removed from the worker's environment at once, so that a program which a
/// task starts is not taken for one.
pub(super) const VARIABLE: &str = "__PARALLEL_RUNTIME_WORKER";
const VARIABLE_C: &std::ffi::CStr = c"__PARALLEL_RUNTIME_WORKER";

type Entry = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char);

// Miri calls entries of the array without arguments.
#[used]
#[cfg_attr(not(miri), unsafe(link_section = ".init_array"))]
static HOOK: Entry = hook;

unsafe extern "C" {
    /// The bounds of the array. Defined by the linker.
    static __init_array_start: Option<Entry>;
    static __init_array_end: Option<Entry>;
}

static IN_WORKER: AtomicBool = AtomicBool::new(false);

/// Whether this process is a worker.
pub(crate) fn in_worker() -> bool {
    IN_WORKER.load(Ordering::Relaxed)
}

/// Makes sure that the linker keeps the hook: whoever starts workers asks for it.
pub(super) fn is_linked() -> bool {
    // SAFETY: a read of a static of ours that nobody writes; volatile, so that it is not optimised away.
    let entry = unsafe { std::ptr::read_volatile(&raw const HOOK) };
    entry as usize != 0
}

unsafe extern "C" fn hook(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    #[cfg(feature = "dask")]
    if let Some(workers) = node_workers() {
        // SAFETY: we are called as an entry of the array, with the arguments that its entries get.
        unsafe { run_later_entries(argc, argv, envp) };
        crate::cluster::node::set_workers(workers);
        crate::cluster::node::main()
    }
    // SAFETY: `getenv` is given a string that ends in a zero; no other thread runs yet that could change the environment.
    if unsafe { libc::getenv(VARIABLE_C.as_ptr()) }.is_null() {
        return;
    }
    IN_WORKER.store(true, Ordering::Relaxed);
    // SAFETY: no other thread runs yet that could read the environment meanwhile.
    unsafe { std::env::remove_var(VARIABLE) };
    // SAFETY: we are called as an entry of the array, with the arguments that its entries get.
    unsafe { run_later_entries(argc, argv, envp) };
    worker::main()
}

/// How many workers this process may have, if it was started as a node of a cluster.
#[cfg(feature = "dask")]
fn node_workers() -> Option<usize> {
    use crate::cluster::node::VARIABLE;
    let workers = std::env::var_os(VARIABLE)?;
    // SAFETY: no other thread runs yet that could read the environment meanwhile.
    unsafe { std::env::remove_var(VARIABLE) };
    Some(workers.to_str().and_then(|workers| workers.parse().ok()).unwrap_or(1))
}

/// Runs the entries of the array that stand after ours.
///
/// # Safety
///
/// To be called from our entry, with the arguments that it got.
unsafe fn run_later_entries(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    let start = &raw const __init_array_start;
    let end = &raw const __init_array_end;
    let count = (end.addr() - start.addr()) / size_of::<Option<Entry>>();
    // SAFETY: the linker puts the two symbols at the bounds of the array of function pointers, which nobody writes.
    let entries = unsafe { std::slice::from_raw_parts(start, count) };
    let hook: Entry = hook;
    let ours = entries.iter().position(|entry| entry.is_some_and(|entry| entry as usize == hook as usize));
    for entry in entries.iter().skip(ours.map_or(count, |ours| ours + 1)).flatten() {
        // SAFETY: these are the calls that the loader would make next, in its order and with its arguments.
        unsafe { entry(argc, argv, envp) };
    }
}
