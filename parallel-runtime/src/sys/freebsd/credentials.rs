//! Who made a socket: `LOCAL_PEERCRED` in unix(4), which pairs of sockets have, too.

use std::ffi::OsString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

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

/// The executable of a process: `KERN_PROC_PATHNAME` in sysctl(3).
pub(super) fn executable_of(pid: i32) -> Option<PathBuf> {
    let name = [libc::CTL_KERN, libc::KERN_PROC, libc::KERN_PROC_PATHNAME, pid];
    let mut path = vec![0_u8; libc::PATH_MAX as usize];
    let mut len = path.len();
    // SAFETY: the name has so many numbers, and at most `len` bytes are written.
    let failed = unsafe {
        libc::sysctl(name.as_ptr(), name.len() as u32, path.as_mut_ptr().cast(), &raw mut len, std::ptr::null(), 0)
    };
    // The last one is a zero.
    path.truncate(len.saturating_sub(1));
    (failed == 0 && !path.is_empty()).then(|| OsString::from_vec(path).into())
}
