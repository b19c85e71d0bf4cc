//! What the kernel is told about memory.

use rustix::mm::{Advice, MapFlags, madvise};

/// Mappings are address space only, until they are touched.
pub(super) const NO_RESERVE: MapFlags = MapFlags::NORESERVE;

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
    let _ = unsafe { madvise(start.cast(), len, Advice::LinuxHugepage) };
}

/// Leaves a mapping of ours out of core dumps.
pub(super) fn leave_out_of_dumps(start: *mut u8, len: usize) {
    // SAFETY: the range is a mapping that was just made; the advice does not change its contents.
    let _ = unsafe { madvise(start.cast(), len, Advice::LinuxDontDump) };
}
