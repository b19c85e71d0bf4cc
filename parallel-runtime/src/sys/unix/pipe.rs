//! What a worker prints, on its way to the program.

use std::io;
use std::os::fd::OwnedFd;

use super::cloexec;

/// The end in the program.
#[derive(Debug)]
pub(crate) struct Reader(OwnedFd);

/// A new pipe: the end that is read here, and the end for the worker.
pub(crate) fn new() -> io::Result<(Reader, OwnedFd)> {
    let (ours, theirs) = cloexec::pipe()?;
    // Only this end: the two do not share the flag.
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((Reader(ours), theirs))
}

impl Reader {
    pub(crate) fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Reads what there is: nothing at the end of the pipe, and `WouldBlock` if there may be more later.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.0, &mut *buffer) {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }
}
