//! A process of this executable: its start, signals to it, and its death.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::death::{Death, Prepared};
use super::executable;

/// An error if there are no worker processes on this system.
pub(crate) fn check() -> io::Result<()> {
    Ok(())
}

/// How a process is started.
pub(crate) struct Start {
    /// What it shows itself by.
    pub(crate) name: String,
    pub(crate) arguments: Vec<OsString>,
    /// Whether it has this process's variables, besides those below.
    pub(crate) inherits: bool,
    pub(crate) variables: Vec<(OsString, OsString)>,
    pub(crate) input: OwnedFd,
    /// This process's own, if there is none.
    pub(crate) output: Option<OwnedFd>,
    pub(crate) error: OwnedFd,
}

/// The signals that children are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Terminate,
    Kill,
}

/// How a process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ExitStatus {
    pub(crate) signal: Option<i32>,
    pub(crate) code: Option<i32>,
}

/// A process that this one has started.
#[derive(Debug)]
pub(crate) struct Child {
    child: std::process::Child,
    death: Death,
}

impl Start {
    /// Runs this executable again. Does not wait for it.
    ///
    /// Nothing is done between fork and exec, so that the standard library takes its fast path, whose cost does not grow with the program's memory.
    pub(crate) fn spawn(self) -> io::Result<Child> {
        let mut command = Command::new(executable::path()?);
        command.arg0(self.name).args(self.arguments).stdin(Stdio::from(self.input)).stderr(Stdio::from(self.error));
        if let Some(output) = self.output {
            command.stdout(Stdio::from(output));
        }
        if !self.inherits {
            command.env_clear();
        }
        // A group of its own: what is sent to the program's group is for the program to decide about, and what tasks have started ends with the group.
        command.envs(self.variables).process_group(0);
        let prepared = Prepared::new()?;
        let mut child = command.spawn().map_err(explained)?;
        // Its ends of the descriptors: so there is room for another one.
        drop(command);
        match prepared.of(pid_of(&child)) {
            Ok(death) => Ok(Child { child, death }),
            Err(error) => {
                // Its death would not be seen.
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }
}

fn pid_of(child: &std::process::Child) -> Pid {
    Pid::from_raw(child.id().cast_signed()).expect("a child has a process id")
}

impl Child {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// There is something to read when it is dead.
    pub(crate) fn death(&self) -> &OwnedFd {
        self.death.descriptor()
    }

    /// Sends a signal. `PermissionDenied` if it has rights that this process has given up.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let signal = match signal {
            Signal::Terminate => rustix::process::Signal::TERM,
            Signal::Kill => rustix::process::Signal::KILL,
        };
        self.death.signal(pid_of(&self.child), signal)
    }

    /// Waits until it is gone, at most until `deadline`. True if it is.
    pub(crate) fn is_gone_by(&self, deadline: Instant) -> bool {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).ok();
            let mut events = [PollFd::new(self.death.descriptor(), PollFlags::IN)];
            match rustix::event::poll(&mut events, timeout.as_ref()) {
                Ok(0) => return false,
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => return true,
            }
        }
    }

    /// Waits until it is gone, and ends its group: what it has started and left running. `None` if the program lets others wait for its children.
    pub(crate) fn reap(&mut self) -> Option<ExitStatus> {
        let pid = pid_of(&self.child);
        // Until it is waited for nothing else has its number, nor that of its group. Where the program lets the kernel wait for its children
        // nothing is known of that any more.
        let gone = loop {
            match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                Err(rustix::io::Errno::INTR) => {}
                gone => break gone,
            }
        };
        if gone.is_ok() {
            let _ = kill_process_group(pid, rustix::process::Signal::KILL);
        }
        self.wait()
    }

    /// Ends it by its number: the descriptors may be another's by now. Waits until it is gone.
    pub(crate) fn kill_by_number(&mut self) {
        let _ = self.child.kill();
    }

    /// Waits until it is gone.
    pub(crate) fn wait(&mut self) -> Option<ExitStatus> {
        let status = self.child.wait().ok()?;
        Some(ExitStatus { signal: status.signal(), code: status.code() })
    }
}

/// Keeps another program out of the group of this one: a signal to that, as Ctrl-C sends it, does not reach the program.
#[cfg(feature = "dask")]
pub(crate) fn in_group_of_its_own(command: &mut Command) -> &mut Command {
    command.process_group(0)
}

/// Whether a status says that SIGKILL has ended a process.
pub(crate) fn is_kill(signal: Option<i32>) -> bool {
    signal == KILLED
}

/// What a process has that SIGKILL has ended.
pub(crate) const KILLED: Option<i32> = Some(libc::SIGKILL);

/// With what can be done about it.
fn explained(error: io::Error) -> io::Error {
    let hint = match error.raw_os_error() {
        Some(libc::ENOENT) => executable::HINT,
        Some(libc::EAGAIN) => "allow more processes (`ulimit -u`, `pids.max` of the container)",
        Some(libc::ENOMEM) => {
            "allow more memory (`ulimit -v`, the memory limit of the container, `vm.overcommit_memory`)"
        }
        Some(libc::EMFILE) => "allow more open files (`ulimit -n`)",
        Some(libc::E2BIG) => {
            "the environment is too large for another program: make it smaller, or allow more (`ulimit -s`)"
        }
        Some(libc::EACCES | libc::EPERM) => {
            "the executable may not be run, or something (seccomp, a security module) refuses new processes"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}: {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_says_what_can_be_done() {
        for (number, word) in
            [(libc::EAGAIN, "ulimit -u"), (libc::ENOENT, executable::HINT), (libc::E2BIG, "environment")]
        {
            let error = io::Error::from_raw_os_error(number);
            let (kind, text) = (error.kind(), error.to_string());
            let error = explained(error);
            assert!(error.kind() == kind && error.to_string().contains(&text) && error.to_string().contains(word));
        }
        assert_eq!(explained(io::Error::from_raw_os_error(libc::EIO)).raw_os_error(), Some(libc::EIO));
    }
}
