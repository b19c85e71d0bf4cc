//! Who made a socket, by `SO_PEERCRED`: see unix(7).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The process that made a socket by `socketpair`: its number, and its user.
pub(super) fn maker_of(socket: BorrowedFd<'_>) -> io::Result<(Option<i32>, u32)> {
    let mut maker = MaybeUninit::<libc::ucred>::zeroed();
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the pointers are to a value of `len` bytes, and to `len`; the kernel writes no more.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            maker.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is three integers, and began as zeros.
    let maker = unsafe { maker.assume_init() };
    Ok((Some(maker.pid), maker.uid))
}

/// The executable of a process.
#[cfg(parallel_portable)]
pub(super) fn executable_of(pid: i32) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{pid}/exe")).ok()
}
