//! What a descriptor is of: a program that closes all descriptors closes ours with them, and may then open something of its own under the same numbers.

use std::io;
use std::os::fd::AsFd;

/// The same for all descriptors of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64, rustix::fs::FileType);

impl Identity {
    pub(super) fn of(descriptor: impl AsFd) -> io::Result<Self> {
        let status = rustix::fs::fstat(descriptor)?;
        // The kind alone: a socket of macOS or FreeBSD that its other end has left may not be read, or written, by its mode.
        let kind = rustix::fs::FileType::from_raw_mode(status.st_mode);
        Ok(Self(status.st_dev as u64, status.st_ino as u64, kind))
    }
}
