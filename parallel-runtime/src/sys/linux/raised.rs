//! Whether rights were raised, by `AT_SECURE`: see getauxval(3).

/// Whether this process got more rights than its user has when it was started.
pub(crate) fn is_raised() -> bool {
    // SAFETY: `getauxval` only reads the process's auxiliary vector.
    !cfg!(miri) && unsafe { libc::getauxval(libc::AT_SECURE) } != 0
}
