//! Programs that have more rights than the user who started them, or that have given rights up.
//!
//! A set-user-ID or set-group-ID program, or one whose file has capabilities, runs code for a user who may set its environment. So where the kernel
//! says that rights were raised (`AT_SECURE`, see getauxval(3)) no variable of ours means anything, and no process is started as a worker.
//!
//! The other way round, running the executable again must not bring back what a program has given up: see [`keep_down`].

use std::ffi::{CStr, OsString, c_int};
use std::io;
use std::os::unix::fs::MetadataExt;

use super::image::EXECUTABLE;

const EXECUTABLE_C: &CStr = c"/proc/self/exe";

/// Bits of a file's mode: it runs as its owner, or as its group.
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2010;

/// Whether this process got more rights than its user has when it was started.
pub(crate) fn is_raised() -> bool {
    // SAFETY: `getauxval` only reads the process's auxiliary vector.
    !cfg!(miri) && unsafe { libc::getauxval(libc::AT_SECURE) } != 0
}

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
    if super::peer::check_parent(rustix::stdio::stdin()).is_ok() {
        super::exit::now(NOT_BELIEVED);
    }
}

/// The exit code of such a process.
const NOT_BELIEVED: i32 = 70;

/// A variable of the environment. None is believed where rights were raised.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    if is_raised() { None } else { std::env::var_os(name) }
}

/// Makes sure that what this thread starts from now on gets no rights that this process does not have, if running the executable again would
/// give it any: the kernel then ignores set-user-ID, set-group-ID and the capabilities of files in it, and in all that it starts.
pub(crate) fn keep_down() -> io::Result<()> {
    if would_be_raised() {
        rustix::thread::set_no_new_privs(true)?;
    }
    Ok(())
}

/// Whether the executable, started again, would have rights that this process has not.
fn would_be_raised() -> bool {
    let Ok(file) = std::fs::metadata(EXECUTABLE) else { return true };
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let by_user = file.mode() & SET_USER != 0 && file.uid() != user;
    let by_group = file.mode() & SET_GROUP == SET_GROUP && file.gid() != group;
    by_user || by_group || has_capabilities() || (user == 0 && root_has_given_up())
}

/// Whether the executable's file has capabilities.
fn has_capabilities() -> bool {
    let name = c"security.capability";
    // SAFETY: both names end in a zero; with a length of 0 nothing is written.
    let len = unsafe { libc::getxattr(EXECUTABLE_C.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) };
    len > 0
}

/// Whether this process, root's, has given up capabilities: a program that root starts has all in the bounding set.
fn root_has_given_up() -> bool {
    let Ok(sets) = rustix::thread::capabilities(None) else { return true };
    let bounding = (0..64).take_while(|capability| bounds(*capability).is_some());
    bounding
        .filter(|capability| bounds(*capability) == Some(true))
        .any(|capability| sets.permitted.bits() & 1 << capability == 0)
}

/// Whether a capability is in the bounding set. `None` if there is no such capability.
fn bounds(capability: c_int) -> Option<bool> {
    // SAFETY: this only reads an attribute of the thread.
    let is_in = unsafe { libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) };
    (is_in >= 0).then_some(is_in == 1)
}
