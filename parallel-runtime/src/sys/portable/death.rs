//! The death of a child, as a descriptor.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, Signal};

use super::{signalling, waiting};

/// Tells of the death of a child: there is something to read then.
#[derive(Debug)]
pub(super) struct Death(OwnedFd);

impl Death {
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        Ok(Self(waiting::death_of(pid)?))
    }

    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Sends a signal to the child.
    pub(super) fn signal(&self, pid: Pid, signal: Signal) -> io::Result<()> {
        signalling::signal(pid, signal)
    }
}
