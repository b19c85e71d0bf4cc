//! Objects are memory like any other here: pages come when they are touched, and stay.

use std::io;
use std::os::fd::BorrowedFd;

pub(super) const IS_SCARCE: bool = false;

/// Makes sure that pages are there: they come by themselves.
pub(super) fn reserve(_object: BorrowedFd<'_>, _offset: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Gives the pages of a range back to the system: macOS cannot, nor can FreeBSD before version 14.
pub(super) fn discard(_object: BorrowedFd<'_>, _offset: u64, _len: u64) -> bool {
    false
}
