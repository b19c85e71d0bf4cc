//! Where the loader says that the program's headers are: see dl_iterate_phdr(3).

use std::ffi::{c_int, c_void};

/// Takes the first object, which is the program.
unsafe extern "C" fn take(object: *mut libc::dl_phdr_info, _size: usize, found: *mut c_void) -> c_int {
    // SAFETY: the loader gives a valid object.
    let address = unsafe { (*object).dlpi_phdr }.addr();
    // SAFETY: it is the place below.
    unsafe { found.cast::<usize>().write(address) };
    1
}

/// Their address.
pub(super) fn program_headers() -> Option<usize> {
    let mut address = 0_usize;
    // SAFETY: the function has the type that is asked for, and writes a `usize` to the place that it is given.
    unsafe { libc::dl_iterate_phdr(Some(take), (&raw mut address).cast()) };
    Some(address)
}
