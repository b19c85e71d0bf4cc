//! The death of a child, as a descriptor.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, Signal};

use super::signalling;
use super::waiting::Waiting;

/// Tells of the death of a child: there is something to read then.
#[derive(Debug)]
pub(super) struct Death(OwnedFd);

/// What is there before the child is.
pub(super) struct Prepared(Waiting);

impl Prepared {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(Waiting::prepare()?))
    }

    pub(super) fn of(self, pid: Pid) -> io::Result<Death> {
        Ok(Death(self.0.death_of(pid)))
    }
}

impl Death {
    pub(super) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Sends a signal to the child.
    pub(super) fn signal(&self, pid: Pid, signal: Signal) -> io::Result<()> {
        signalling::signal(pid, signal)
    }
}
