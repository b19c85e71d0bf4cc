//! What there is instead of worker processes: an error.

use std::io;

/// A descriptor that another process could have.
#[derive(Debug)]
pub(crate) struct Descriptor;

/// The error.
pub(crate) fn check() -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "worker processes need 64-bit Linux, macOS or FreeBSD: use threads on this system, `#[cfg_attr(unix, parallel(mode = \"process\"))]` and \
         `#[cfg_attr(not(unix), parallel)]`",
    ))
}
