//! Initialisers of the executable, which run before `main` with the arguments of `main`: see dyld's documentation, and <mach-o/loader.h>.
//!
//! The compiler puts them into `__DATA,__mod_init_func`, an array of pointers; newer linkers turn that into `__TEXT,__init_offsets`, an array of offsets.

use std::ffi::{c_char, c_int};

use super::format;

/// An initialiser. The loader gives it one argument more, which is not used.
pub(crate) type Entry = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// Makes a static of this name that is one of them, and a function that tells whether it is.
macro_rules! before_main {
    ($name:ident: $entry:ty = $hook:path) => {
        #[used]
        #[cfg_attr(not(miri), unsafe(link_section = "__DATA,__mod_init_func,mod_init_funcs"))]
        static $name: $entry = $hook;

        /// Whether the hook is there. The static itself must not be named: newer linkers remove it with its section.
        pub(crate) fn is_linked() -> bool {
            // Both hooks have this module.
            entry::is_among_initializers($hook)
        }
    };
}
pub(crate) use before_main;

/// Whether they get the arguments of `main`.
pub(super) const HAVE_ARGUMENTS: bool = true;

/// The addresses of all, in the order in which the loader runs them.
fn all() -> impl Iterator<Item = usize> {
    let pointers = format::section("__mod_init_func").unwrap_or_default().chunks_exact(8);
    let pointers = pointers.map(|bytes| bytemuck::pod_read_unaligned::<u64>(bytes) as usize);
    let offsets = format::section("__init_offsets").unwrap_or_default().chunks_exact(4);
    pointers.chain(offsets.map(|bytes| format::start() + bytemuck::pod_read_unaligned::<u32>(bytes) as usize))
}

pub(super) fn is_there(entry: Entry) -> bool {
    all().any(|address| address == entry as usize)
}

/// The initialisers that the loader runs after `ours`.
pub(super) fn after(ours: Entry) -> impl Iterator<Item = Entry> {
    all().skip_while(move |address| *address != ours as usize).skip(1).map(|address| {
        let code = std::ptr::with_exposed_provenance::<()>(address);
        // SAFETY: the loader calls what is at this address as such a function.
        unsafe { std::mem::transmute::<*const (), Entry>(code) }
    })
}
