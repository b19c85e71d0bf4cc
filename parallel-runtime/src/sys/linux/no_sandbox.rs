//! Without the feature `sandbox` there is no way to ask for one.

use std::io;

const NONE: &str = "this executable was built without the feature `sandbox` of parallel-runtime";

pub(crate) fn check() -> io::Result<()> {
    Err(io::Error::other(NONE))
}

pub(crate) fn close_inherited() -> io::Result<()> {
    Err(io::Error::other(NONE))
}

pub(crate) fn check_threads() -> Result<(), String> {
    Err(NONE.to_owned())
}

pub(crate) fn confine_thread(_read: &[String], _write: &[String]) -> Result<(), String> {
    Err(NONE.to_owned())
}
