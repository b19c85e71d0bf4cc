//! Signals to children, by their numbers.

use std::io;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};

/// Sends a signal to a child that lives. Where the program lets others wait for its children, the number may be another's between the two calls.
pub(super) fn signal(pid: Pid, signal: Signal) -> io::Result<()> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    match waitid(WaitId::Pid(pid), options) {
        Ok(None) => Ok(rustix::process::kill_process(pid, signal)?),
        // It is dead.
        Ok(Some(_)) | Err(_) => Ok(()),
    }
}
