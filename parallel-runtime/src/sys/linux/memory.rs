//! Large buffers of private memory.

/// From this size on a buffer is worth a system call.
const LARGE: usize = 4 << 20;

const PAGE: usize = 4096;

/// Says that a fresh buffer will be filled at once: the kernel may then give it large pages. Filling 64 MiB takes a third of the time, since it
/// is 32 page faults and not 16,384; and so does giving them back.
#[inline]
pub(crate) fn will_fill(start: *mut u8, len: usize) {
    if len >= LARGE && !cfg!(miri) {
        advise(start, len);
    }
}

#[cold]
fn advise(start: *mut u8, len: usize) {
    let skipped = start.addr().next_multiple_of(PAGE) - start.addr();
    let len = (len - skipped) / PAGE * PAGE;
    let start = start.wrapping_add(skipped);
    // SAFETY: the advice changes neither contents nor protection of any page; the range is one that the caller has, in whole pages. It is
    // only advice: without large pages all goes on as it was.
    let _ = unsafe { rustix::mm::madvise(start.cast(), len, rustix::mm::Advice::LinuxHugepage) };
}
