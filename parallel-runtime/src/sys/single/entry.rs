//! Nothing runs before `main`.

use std::ffi::{CStr, c_char, c_int};

pub(crate) type Entry = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// Makes a static that nothing calls.
macro_rules! before_main {
    ($name:ident: $entry:ty = $hook:path) => {
        static $name: $entry = $hook;

        pub(crate) fn is_linked() -> bool {
            $name as usize == 0
        }
    };
}
pub(crate) use before_main;

pub(crate) fn has_variable(_name: &CStr) -> bool {
    false
}

/// # Safety
///
/// None: it does nothing.
pub(crate) unsafe fn take_first_argument(_: &CStr, _except: &CStr, _argc: c_int, _argv: *const *const c_char) {}

/// # Safety
///
/// None: it does nothing.
pub(crate) unsafe fn remove_variable(_name: &str) {}

/// # Safety
///
/// None: it does nothing.
pub(crate) unsafe fn run_later_entries(_: Entry, _: c_int, _: *const *const c_char, _: *const *const c_char) {}
