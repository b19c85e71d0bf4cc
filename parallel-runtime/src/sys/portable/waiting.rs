//! The death of a child, by a thread that waits for it.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{SyncSender, sync_channel};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::cloexec;
use super::identity::Identity;

/// Enough for one system call.
const STACK: usize = 64 << 10;

/// A thread that is to wait for a child: there before the child is, which may have run a task when no thread can be started for it.
pub(super) struct Waiting {
    ends: OwnedFd,
    tell: SyncSender<Pid>,
}

impl Waiting {
    pub(super) fn prepare() -> io::Result<Self> {
        let (ends, open) = cloexec::pipe()?;
        let identity = Identity::of(&open)?;
        let (tell, told) = sync_channel::<Pid>(1);
        let wait = move || {
            if let Ok(pid) = told.recv() {
                wait_for(pid);
            }
            // Not what the program has under its number by now.
            if Identity::of(&open).ok() != Some(identity) {
                std::mem::forget(open);
            }
        };
        std::thread::Builder::new().name("parallel-wait".to_owned()).stack_size(STACK).spawn(wait)?;
        Ok(Self { ends, tell })
    }

    /// A pipe that ends when the child is dead.
    pub(super) fn death_of(self, pid: Pid) -> OwnedFd {
        // The thread waits for it.
        let _ = self.tell.send(pid);
        self.ends
    }
}

/// Waits until a child is dead. It is not reaped.
fn wait_for(pid: Pid) {
    // An error says that it is no child any more: the program waits for all of its children, or has the kernel do that.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    while matches!(waitid(WaitId::Pid(pid), options), Err(rustix::io::Errno::INTR)) {}
}
