//! No process is started that could have other rights than this one.

use std::ffi::OsString;
use std::io;

pub(crate) fn is_raised() -> bool {
    false
}

pub(crate) fn check() -> io::Result<()> {
    Ok(())
}

pub(crate) fn end_if_started_by_parent() {}

/// A variable of the environment.
pub(crate) fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

pub(crate) fn keep_down() -> io::Result<()> {
    Ok(())
}
