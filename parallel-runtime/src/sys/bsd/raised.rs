//! Whether rights were raised: see issetugid(2).

unsafe extern "C" {
    fn issetugid() -> std::ffi::c_int;
}

/// Whether this process got more rights than its user has when it was started.
pub(crate) fn is_raised() -> bool {
    // SAFETY: it has no conditions.
    unsafe { issetugid() != 0 }
}
