//! Objects on Linux are files in `/dev/shm`, which may be small, and a page that is not there ends the process with SIGBUS.

use std::io;
use std::os::fd::BorrowedFd;

use rustix::fs::FallocateFlags;

/// So pages are reserved before they are used.
pub(super) const IS_SCARCE: bool = true;

/// Makes sure that pages are there.
pub(super) fn reserve(object: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(object, FallocateFlags::empty(), offset, len)?)
}

/// Gives the pages of a range back to the system: not here, since most systems cannot.
pub(super) fn discard(_object: BorrowedFd<'_>, _offset: u64, _len: u64) -> bool {
    false
}
