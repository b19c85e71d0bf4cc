//! Where a thread's stack lies: see <pthread.h>.

/// Addresses of a stack.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) lowest: usize,
    pub(crate) end: usize,
    /// Bytes at its lowest end that may not be touched, if they are counted as part of it.
    pub(crate) guard: usize,
}

/// Those of this thread.
pub(crate) fn of_this_thread() -> Option<Bounds> {
    // SAFETY: it has no conditions.
    let this = unsafe { libc::pthread_self() };
    // SAFETY: this thread runs. The address is that of the stack's end: it grows down from there.
    let end = unsafe { libc::pthread_get_stackaddr_np(this) }.addr();
    // SAFETY: this thread runs.
    let size = unsafe { libc::pthread_get_stacksize_np(this) };
    let lowest = end.checked_sub(size).filter(|_| size > 0)?;
    Some(Bounds { lowest, end, guard: 0 })
}
