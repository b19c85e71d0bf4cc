//! Sleeping on a word, by _umtx_op(2), whose operations without `PRIVATE` work between processes that share the word.

use std::ptr::null_mut;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

/// To be called before `main`, and before the first thread: some systems have something to look up.
pub(crate) fn prepare() {}

/// Sleeps while `word` is `expected`, at most until `deadline`. May return early. Works between processes that share the word.
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) {
    let (size, mut timeout) = match deadline {
        None => (0, None),
        Some(deadline) => {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = libc::timespec {
                tv_sec: libc::time_t::try_from(left.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let timeout = libc::_umtx_time { _timeout: left, _flags: 0, _clockid: libc::CLOCK_MONOTONIC as u32 };
            (size_of::<libc::_umtx_time>(), Some(timeout))
        }
    };
    let timeout = timeout.as_mut().map_or(null_mut(), std::ptr::from_mut);
    // SAFETY: the word lives as long as the borrow; the size of the time stands where a pointer would. All results mean: look again.
    unsafe {
        libc::_umtx_op(
            word.as_ptr().cast(),
            libc::UMTX_OP_WAIT_UINT,
            libc::c_ulong::from(expected),
            std::ptr::without_provenance_mut(size),
            timeout.cast(),
        )
    };
}

/// Wakes up to `count` sleepers.
pub(crate) fn wake(word: &AtomicU32, count: u32) {
    let count = libc::c_ulong::from(count.min(i32::MAX as u32));
    // SAFETY: the word lives as long as the borrow.
    unsafe { libc::_umtx_op(word.as_ptr().cast(), libc::UMTX_OP_WAKE, count, null_mut(), null_mut()) };
}
