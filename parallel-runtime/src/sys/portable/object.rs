//! The memory that processes share: a POSIX shared-memory object, whose name is removed again at once. Workers get the descriptor, never the name.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::Mode;
use rustix::shm::{self, OFlags};

use super::cloexec;

/// The reserve that is asked for first, in bytes. It costs address space only; pages come when they are touched.
pub(super) const LARGEST: u64 = 1 << 36;

/// The same for a pool that has an arena of its own. There may be many.
pub(super) const OF_A_POOL: u64 = 1 << 33;

/// How many names are tried, of 60 random bits each.
const ATTEMPTS: usize = 8;

/// Makes one, of no length. True beside it if its memory is scarce: pages must be reserved before they are touched.
pub(super) fn create(_named: bool) -> io::Result<(OwnedFd, bool)> {
    for _ in 0..ATTEMPTS {
        // macOS allows 31 bytes.
        let name = format!("/parallel-{:015x}", RandomState::new().hash_one(std::process::id()) >> 4);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        match shm::open(&name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(object) => {
                // A program that is killed between these two leaves an empty object behind.
                shm::unlink(&name)?;
                cloexec::close_on_exec(&object)?;
                return Ok((object, false));
            }
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether one can be made longer while it is mapped: macOS lets the length be set once.
pub(super) const CAN_GROW: bool = false;

/// A worker has the descriptor for a moment, before any code of the user's runs, and nothing can be sealed.
pub(super) fn keep_length(_object: BorrowedFd<'_>, _but_grow: bool) -> io::Result<()> {
    Ok(())
}

/// Makes sure that pages are there: they come when they are touched. (On Linux they are in `/dev/shm`, which must be large enough for tests.)
pub(super) fn reserve(_object: BorrowedFd<'_>, _offset: u64, _len: u64) -> io::Result<()> {
    Ok(())
}

/// Whether pages can be given back: macOS cannot, nor FreeBSD before version 14.
pub(super) const CAN_DISCARD: bool = false;

/// Gives the pages of a range back to the system.
pub(super) fn discard(_object: BorrowedFd<'_>, _offset: u64, _len: u64) -> bool {
    false
}

/// Where other processes of this machine find it: nowhere.
#[cfg(feature = "dask")]
pub(super) fn path_for_others(_object: BorrowedFd<'_>) -> Option<String> {
    None
}
