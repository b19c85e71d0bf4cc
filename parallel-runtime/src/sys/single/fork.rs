//! Programs do not fork here, or have nothing that a fork could share.

use std::io;

pub(crate) fn watch() {}

#[inline(always)]
pub(crate) fn check() -> io::Result<()> {
    Ok(())
}

pub(crate) fn closed_descriptors() -> io::Error {
    io::ErrorKind::Unsupported.into()
}
