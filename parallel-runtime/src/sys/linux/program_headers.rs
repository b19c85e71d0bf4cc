//! Where the loader says that the program's headers are.

/// Their address.
pub(super) fn program_headers() -> Option<usize> {
    // SAFETY: `getauxval` only reads the process's auxiliary vector.
    Some(unsafe { libc::getauxval(libc::AT_PHDR) } as usize)
}
