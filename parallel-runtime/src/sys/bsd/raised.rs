//! Whether rights were raised: see issetugid(2), which also says so when a process has changed its user or group itself. So what it says first counts.

use std::sync::OnceLock;

unsafe extern "C" {
    fn issetugid() -> std::ffi::c_int;
}

/// Whether this process got more rights than its user has when it was started. Asked for before `main`.
pub(crate) fn is_raised() -> bool {
    static RAISED: OnceLock<bool> = OnceLock::new();
    // SAFETY: it has no conditions.
    *RAISED.get_or_init(|| unsafe { issetugid() != 0 })
}
