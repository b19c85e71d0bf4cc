//! Who made a socket: see unix(4), `LOCAL_PEERPID` in <sys/un.h>, and getpeereid(3).

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The process that has the other end of a socket: its number, and its user.
pub(super) fn maker_of(socket: BorrowedFd<'_>) -> io::Result<(Option<i32>, u32)> {
    let (mut user, mut group) = (0, 0);
    // SAFETY: both numbers are written.
    if unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut user, &raw mut group) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut pid: libc::pid_t = 0;
    let mut len = size_of::<libc::pid_t>() as libc::socklen_t;
    // SAFETY: the pointers are to a value of `len` bytes, and to `len`; the kernel writes no more.
    let done = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_LOCAL, libc::LOCAL_PEERPID, (&raw mut pid).cast(), &raw mut len)
    };
    // The other end is closed.
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((Some(pid), user))
}

/// The executable of a process: see <libproc.h>.
pub(super) fn executable_of(pid: i32) -> Option<PathBuf> {
    let mut path = vec![0_u8; libc::PROC_PIDPATHINFO_MAXSIZE as usize];
    // SAFETY: at most so many bytes are written.
    let len = unsafe { libc::proc_pidpath(pid, path.as_mut_ptr().cast(), path.len() as u32) };
    path.truncate(usize::try_from(len).ok().filter(|len| *len > 0)?);
    Some(OsString::from_vec(path).into())
}
