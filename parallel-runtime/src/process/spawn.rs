//! Starting a worker process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags};

use super::hook;
use super::stderr::{Output, Stderr};
use crate::ipc::control;
use crate::process::welcome::Welcome;
use crate::sandbox::Allowed;
use crate::shared::Arena;
use crate::sys::{image, privilege};

/// A process that was started and may or may not have become a worker yet.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) socket: OwnedFd,
    /// Tells of its death. `None` where the kernel has no such descriptors (before Linux 5.3): the end of the socket tells then.
    pub(super) process: Option<OwnedFd>,
    pub(super) stderr: Arc<Stderr>,
    /// Its socket has ended, and is watched no more.
    pub(super) unwatched: bool,
}

/// Runs this executable again, as a worker. Does not wait for it.
///
/// `/proc/self/exe` is the very file that runs, even if the path has been rebuilt or removed since. Nothing is done between
/// fork and exec, so that the standard library takes its fast path, whose cost does not grow with the program's memory.
pub(super) fn spawn(arena: &Arena, welcome: &Welcome, allowed: &Allowed, stderr: Output) -> io::Result<Started> {
    if !hook::is_linked() {
        return Err(io::Error::other("the start-up hook of parallel-runtime was not linked"));
    }
    image::check()?;
    privilege::check()?;
    privilege::keep_down()?;
    let (ours, theirs) = control::pair()?;
    arena.will_be_mapped();
    // The message waits in the socket until the worker reads it.
    welcome.send(ours.as_fd(), arena.segment().descriptor(), allowed)?;
    let (stderr, their_stderr) = stderr;
    let child = Command::new(privilege::EXECUTABLE)
        .arg0(format!("parallel-worker-{}", welcome.worker))
        .env(hook::VARIABLE, "1")
        .stdin(Stdio::from(theirs))
        .stderr(Stdio::from(their_stderr))
        .spawn()?;
    let process = Pid::from_raw(child.id().cast_signed())
        .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    Ok(Started { child, socket: ours, process, stderr, unwatched: false })
}
