//! What Linux knows of rights: capabilities, `PR_SET_NO_NEW_PRIVS`.

use std::ffi::c_int;
use std::io;

use super::executable_mode;
pub(crate) use super::raised::is_raised;

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
    let Ok(file) = std::fs::metadata("/proc/self/exe") else { return true };
    let is_root = rustix::process::geteuid().as_raw() == 0;
    executable_mode::changes_user(&file) || has_capabilities() || (is_root && root_has_given_up())
}

/// Whether the executable's file has capabilities.
fn has_capabilities() -> bool {
    let (executable, name) = (c"/proc/self/exe", c"security.capability");
    // SAFETY: both names end in a zero; with a length of 0 nothing is written.
    let len = unsafe { libc::getxattr(executable.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0) };
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
