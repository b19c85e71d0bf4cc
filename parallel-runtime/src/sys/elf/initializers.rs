//! Functions that run before `main`: the entries of `.init_array`.

use std::ffi::{c_char, c_int};

/// An entry of the array, with the arguments that glibc gives to it; musl calls it without any.
pub(crate) type Entry = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// Makes a static of this name that is an entry of the array, and a function that tells whether it has been linked.
macro_rules! before_main {
    ($name:ident: $entry:ty = $hook:path) => {
        // Miri calls entries of the array without arguments.
        #[used]
        #[cfg_attr(not(miri), unsafe(link_section = ".init_array"))]
        static $name: $entry = $hook;

        /// Makes sure that the linker keeps the hook: the code that needs it asks for it.
        pub(crate) fn is_linked() -> bool {
            // SAFETY: a read of a static of ours that nothing writes; volatile, so that it is not optimised away.
            let entry = unsafe { std::ptr::read_volatile(&raw const $name) };
            entry as usize != 0
        }
    };
}
pub(crate) use before_main;

/// Whether entries get the arguments of `main`.
pub(super) const HAVE_ARGUMENTS: bool = cfg!(any(target_env = "gnu", target_os = "freebsd"));

unsafe extern "C" {
    /// The bounds of the array. Defined by the linker.
    static __init_array_start: Option<Entry>;
    static __init_array_end: Option<Entry>;
}

/// The entries that stand after `ours`.
pub(super) fn after(ours: Entry) -> impl Iterator<Item = Entry> {
    let start = &raw const __init_array_start;
    let end = &raw const __init_array_end;
    let count = (end.addr() - start.addr()) / size_of::<Option<Entry>>();
    // SAFETY: the linker puts the two symbols at the bounds of the array of function pointers, which nothing writes.
    let entries = unsafe { std::slice::from_raw_parts(start, count) };
    let ours = entries.iter().position(|entry| entry.is_some_and(|entry| entry as usize == ours as usize));
    entries.iter().skip(ours.map_or(count, |ours| ours + 1)).flatten().copied()
}
