//! The death of a child, as a descriptor: pidfd_open(2).

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags};

use super::signalling;
use super::waiting::Waiting;

/// Tells of the death of a child: there is something to read then.
#[derive(Debug)]
pub(super) enum Death {
    Descriptor(OwnedFd),
    /// The kernel has no such descriptors (before Linux 5.3).
    Waiting(OwnedFd),
}

/// Nothing is needed before the child is there.
pub(super) struct Prepared;

impl Prepared {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    pub(super) fn of(self, pid: Pid) -> io::Result<Death> {
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(descriptor) => Ok(Death::Descriptor(descriptor)),
            Err(_) => Ok(Death::Waiting(Waiting::prepare()?.death_of(pid))),
        }
    }
}

impl Death {
    pub(super) fn descriptor(&self) -> &OwnedFd {
        match self {
            Self::Descriptor(descriptor) | Self::Waiting(descriptor) => descriptor,
        }
    }

    /// Sends a signal to the child. Through its descriptor, since its process id may be another's by now: if the program ignores SIGCHLD, or waits
    /// for all of its children.
    pub(super) fn signal(&self, pid: Pid, signal: rustix::process::Signal) -> io::Result<()> {
        match self {
            Self::Descriptor(descriptor) => Ok(rustix::process::pidfd_send_signal(descriptor, signal)?),
            Self::Waiting(_) => signalling::signal(pid, signal),
        }
    }
}
