//! What a descriptor is of: a program that closes all descriptors closes ours with them, and may then open something of its own under the same numbers.

use std::io;
use std::os::fd::AsFd;

/// The same for all descriptors of one thing. (Sockets of macOS have none of their own.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64, u32);

impl Identity {
    pub(super) fn of(descriptor: impl AsFd) -> io::Result<Self> {
        let status = rustix::fs::fstat(descriptor)?;
        Ok(Self(status.st_dev as u64, status.st_ino as u64, status.st_mode as u32))
    }
}
