//! The death of a child, by a thread that waits for it.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::cloexec;
use super::identity::Identity;

/// Enough for one system call.
const STACK: usize = 64 << 10;

/// A pipe that ends when the child is dead. The child is not reaped.
pub(super) fn death_of(pid: Pid) -> io::Result<OwnedFd> {
    let (ends, open) = cloexec::pipe()?;
    let identity = Identity::of(&open)?;
    let wait = move || {
        // An error says that it is no child any more: the program waits for all of its children, or has the kernel do that.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(waitid(WaitId::Pid(pid), options), Err(rustix::io::Errno::INTR)) {}
        // Not what the program has under its number by now.
        if Identity::of(&open).ok() != Some(identity) {
            std::mem::forget(open);
        }
    };
    std::thread::Builder::new().name("parallel-wait".to_owned()).stack_size(STACK).spawn(wait)?;
    Ok(ends)
}
