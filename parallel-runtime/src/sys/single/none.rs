//! What there is instead of worker processes: an error.

use std::io;

/// A descriptor of another process: there is none.
#[derive(Debug)]
pub(crate) enum Descriptor {}

pub(super) fn none() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "worker processes need 64-bit Linux, macOS or FreeBSD: use a `ThreadPool` on this system, `#[cfg_attr(unix, parallel(mode = \"process\"))] \
         #[cfg_attr(not(unix), parallel)]`",
    )
}
