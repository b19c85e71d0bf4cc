//! Without the feature `sandbox` there is no way to ask for one.

use std::io;

use crate::sandbox::Allowed;

const NONE: &str = "this executable was built without the feature `sandbox` of parallel-runtime";

pub(super) fn close_inherited() -> io::Result<()> {
    Err(io::Error::other(NONE))
}

pub(super) fn check_threads() -> Result<(), String> {
    Err(NONE.to_owned())
}

pub(super) fn confine_thread(_allowed: &Allowed) -> Result<(), String> {
    Err(NONE.to_owned())
}
