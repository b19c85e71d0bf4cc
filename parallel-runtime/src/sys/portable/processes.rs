//! What a system without procfs tells about processes: about children, and no more.

use std::ffi::CStr;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Why a process that lives does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Halt {
    Signal,
    /// Not told here.
    Debugger,
}

/// Any number may be asked for.
fn pid_of(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

fn state_of(pid: u32, what: WaitIdOptions) -> Option<rustix::process::WaitIdStatus> {
    let pid = pid_of(pid)?;
    // Not waited for: the question leaves no trace.
    waitid(WaitId::Pid(pid), what | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT).ok()?
}

/// Whether a child is stopped.
pub(crate) fn halt_of(pid: u32) -> Option<Halt> {
    state_of(pid, WaitIdOptions::STOPPED).map(|_| Halt::Signal)
}

/// Whether this process has started the one with a number.
pub(crate) fn is_child(pid: u32) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    pid_of(pid).is_some_and(|pid| waitid(WaitId::Pid(pid), options).is_ok())
}

/// The memory that a process shares with no other: not told.
pub(crate) fn own_memory(_pid: Option<u32>) -> u64 {
    0
}

/// How many processes the kernel has ended for want of memory: not told.
pub(crate) fn memory_kills() -> u64 {
    0
}

/// Names this thread: not here.
pub(crate) fn name_thread(_name: &CStr) {}

/// The name of this machine.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
