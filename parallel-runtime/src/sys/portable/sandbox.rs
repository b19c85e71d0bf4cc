//! Workers cannot be confined here: Landlock and seccomp are Linux's.

use std::io;

const NONE: &str = "`sandbox` needs Linux, whose Landlock and seccomp confine the workers";

pub(crate) fn check() -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, NONE))
}

pub(crate) fn close_inherited() -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, NONE))
}

pub(crate) fn check_threads() -> Result<(), String> {
    Err(NONE.to_owned())
}

pub(crate) fn confine_thread(_read: &[String], _write: &[String]) -> Result<(), String> {
    Err(NONE.to_owned())
}
