//! The death of a child, as a descriptor: a queue of events with one in it, kqueue(2).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::process::{Pid, Signal};

use super::{cloexec, signalling};

/// Tells of the death of a child: there is something to read then.
#[derive(Debug)]
pub(super) struct Death(OwnedFd);

/// The queue, which is there before the child is.
pub(super) struct Prepared(OwnedFd);

impl Prepared {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: it has no conditions.
        let queue = unsafe { libc::kqueue() };
        if queue < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: it was just made, and nothing else has it.
        let queue = unsafe { OwnedFd::from_raw_fd(queue) };
        cloexec::close_on_exec(&queue)?;
        Ok(Self(queue))
    }

    pub(super) fn of(self, pid: Pid) -> io::Result<Death> {
        // SAFETY: all zeros is a valid `kevent`.
        let mut event: libc::kevent = unsafe { std::mem::zeroed() };
        event.ident = pid.as_raw_pid() as usize;
        event.filter = libc::EVFILT_PROC;
        event.flags = libc::EV_ADD | libc::EV_ONESHOT;
        event.fflags = libc::NOTE_EXIT;
        let (queue, none) = (self.0.as_raw_fd(), std::ptr::null());
        // SAFETY: one event is read, and none is written.
        if unsafe { libc::kevent(queue, &raw const event, 1, std::ptr::null_mut(), 0, none) } == 0 {
            return Ok(Death(self.0));
        }
        let error = io::Error::last_os_error();
        // macOS says so of a child that has ended already (libuv: src/unix/process.c).
        if error.raw_os_error() == Some(libc::ESRCH) { Ok(Death(cloexec::pipe()?.0)) } else { Err(error) }
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
