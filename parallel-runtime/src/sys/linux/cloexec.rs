//! Descriptors that no program inherits which is started at the same moment.

use std::io;
use std::os::fd::OwnedFd;

use rustix::pipe::PipeFlags;

/// A pipe: the end to read from, and the end to write to.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?)
}
