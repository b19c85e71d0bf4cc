//! Where a thread's stack lies.

use std::mem::MaybeUninit;

/// Addresses of a stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) lowest: usize,
    pub(crate) end: usize,
    /// Bytes at its lowest end that may not be touched, if they are counted as part of it.
    pub(crate) guard: usize,
}

/// The attributes of this thread, which are initialised.
fn attributes_of_this_thread() -> Option<MaybeUninit<libc::pthread_attr_t>> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: it has no conditions.
    let this = unsafe { libc::pthread_self() };
    #[cfg(target_os = "linux")]
    // SAFETY: this thread runs; the attributes are initialised if the result is 0.
    let failed = unsafe { libc::pthread_getattr_np(this, attributes.as_mut_ptr()) };
    #[cfg(target_os = "freebsd")]
    // SAFETY: the attributes are initialised if the result is 0.
    let mut failed = unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) };
    #[cfg(target_os = "freebsd")]
    if failed == 0 {
        // SAFETY: this thread runs; the attributes are initialised, and are written.
        failed = unsafe { libc::pthread_attr_get_np(this, attributes.as_mut_ptr()) };
    }
    (failed == 0).then_some(attributes)
}

/// Those of this thread. `None` if they cannot be had.
pub(crate) fn of_this_thread() -> Option<Bounds> {
    let mut attributes = attributes_of_this_thread()?;
    let (mut start, mut size, mut guard) = (std::ptr::null_mut(), 0, 0);
    // SAFETY: the call above has initialised the attributes; the results are written.
    let failed = unsafe { libc::pthread_attr_getstack(attributes.as_ptr(), &mut start, &mut size) };
    // SAFETY: as above. It leaves 0 where it fails.
    unsafe { libc::pthread_attr_getguardsize(attributes.as_ptr(), &mut guard) };
    // SAFETY: they are initialised, and not used afterwards.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    let lowest = start.addr();
    (failed == 0).then(|| Bounds { lowest, end: lowest.saturating_add(size), guard })
}
