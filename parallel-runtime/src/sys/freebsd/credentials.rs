//! Who made a socket: `LOCAL_PEERCRED` in unix(4), which pairs of sockets have, too.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The level of the option.
const SOL_LOCAL: i32 = 0;

/// The process that made a socket: its number, which FreeBSD 13 tells, and its user.
pub(super) fn maker_of(socket: BorrowedFd<'_>) -> io::Result<(Option<i32>, u32)> {
    let mut maker = MaybeUninit::<libc::xucred>::zeroed();
    let mut len = size_of::<libc::xucred>() as libc::socklen_t;
    // SAFETY: the pointers are to a value of `len` bytes, and to `len`; the kernel writes no more.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), SOL_LOCAL, libc::LOCAL_PEERCRED, maker.as_mut_ptr().cast(), &raw mut len)
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is integers, and began as zeros.
    let maker = unsafe { maker.assume_init() };
    // SAFETY: both sides of the union were written as zeros at least, and any bytes are a number.
    let pid = unsafe { maker.cr_pid__c_anonymous_union.cr_pid };
    Ok(((pid != 0).then_some(pid), maker.cr_uid))
}
