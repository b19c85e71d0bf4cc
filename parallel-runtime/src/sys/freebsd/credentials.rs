//! Who made a socket: see getpeereid(3).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The process that has the other end of a socket: its number, which is not told here, and its user.
pub(super) fn maker_of(socket: BorrowedFd<'_>) -> io::Result<(Option<i32>, u32)> {
    let (mut user, mut group) = (0, 0);
    // SAFETY: both numbers are written.
    if unsafe { libc::getpeereid(socket.as_raw_fd(), &raw mut user, &raw mut group) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((None, user))
}
