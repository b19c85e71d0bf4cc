//! Programs that have more rights than the user who started them, or that have given rights up.
//!
//! A set-user-ID or set-group-ID program, or one whose file has capabilities, runs code for a user who may set its environment. So where the kernel
//! says that rights were raised no variable of ours means anything, and no process is started as a worker.
//!
//! The other way round, running the executable again must not bring back what a program has given up: see [`keep_down`].

use std::ffi::OsString;
use std::io;

use super::channel::Channel;
pub(crate) use super::rights::{is_raised, keep_down};

/// Refuses to go on where rights were raised, or would be those of a started process in the kernel's eyes.
pub(crate) fn check() -> io::Result<()> {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    let refused = |why| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    if is_raised() {
        return refused(
            "this program has more rights than the user who started it (its file is set-user-ID or set-group-ID, or has capabilities, or a security \
             module says so), and worker processes would have them too: use `mode = \"thread\"`, or start a program without these rights for \
             the work",
        );
    }
    if getuid() != geteuid() || getgid() != getegid() {
        return refused(
            "the real and the effective user or group of this program are not the same, so that the kernel would take its worker processes for ones \
             with raised rights: change both (`setresuid`, `setresgid`) before a pool is used, or use `mode = \"thread\"`",
        );
    }
    Ok(())
}

/// This process was to become something by a variable of the environment, which is not believed where rights were raised. If its own parent has
/// started it, as a worker or a node, it ends: `main` is not what that has asked for.
pub(crate) fn end_if_started_by_parent() {
    // SAFETY: this process has not come to `main`, and has one thread.
    let input = unsafe { Channel::from_input() };
    let is_parents = super::peer::check_parent(&input).is_ok();
    // It stays open, for a program that goes on.
    std::mem::forget(input);
    if is_parents {
        super::exit::now(NOT_BELIEVED);
    }
}

/// The exit code of such a process.
const NOT_BELIEVED: i32 = 70;

/// A variable of the environment. None is believed where rights were raised.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    if is_raised() { None } else { std::env::var_os(name) }
}
