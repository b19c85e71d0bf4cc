//! No process is started that could have other rights than this one.

use std::ffi::OsString;
use std::io;

/// Whether this process got more rights than its user has when it was started.
#[cfg(target_os = "linux")]
pub(crate) use super::raised::is_raised;

#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) fn is_raised() -> bool {
    use rustix::process::{getegid, geteuid, getgid, getuid};
    getuid() != geteuid() || getgid() != getegid()
}

#[cfg(not(unix))]
pub(crate) fn is_raised() -> bool {
    false
}

pub(crate) fn check() -> io::Result<()> {
    Ok(())
}

pub(crate) fn end_if_started_by_parent() {}

/// A variable of the environment. None is believed where rights were raised.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    if is_raised() { None } else { std::env::var_os(name) }
}

pub(crate) fn keep_down() -> io::Result<()> {
    Ok(())
}
