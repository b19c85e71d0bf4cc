//! Descriptors that are closed on exec. Where the two steps are not one, a program that another thread starts between them inherits the descriptor:
//! a channel or a pipe of a worker then ends only when that program does, too. Deaths are seen otherwise, and a worker looks for its program itself
//! (see [`lifetime`](super::lifetime)).

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::FdFlags;

/// A pipe: the end to read from, and the end to write to.
pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = rustix::pipe::pipe()?;
    close_on_exec(&ours)?;
    close_on_exec(&theirs)?;
    Ok((ours, theirs))
}

pub(super) fn close_on_exec(descriptor: impl AsFd) -> io::Result<()> {
    Ok(rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC)?)
}
