//! The memory that processes share, as a file: a *memfd*.
//!
//! It has no name, so nothing can be left behind, and it does not count against the size of `/dev/shm`. Where the kernel refuses one, or
//! `PARALLEL_ARENA=shm` asks for it, the `shared_memory` crate makes a named object, whose name is removed again at once: workers get the descriptor,
//! never the name. Such an object lives in `/dev/shm`, which may be small, and a page that is not there ends the process with SIGBUS; so its pages
//! are reserved before they are used.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};

use super::named;

/// The reserve that is asked for first, in bytes. It costs address space only; pages come when they are touched.
pub(super) const LARGEST: u64 = 1 << 40;

/// The same for a pool that has an arena of its own. There may be many.
pub(super) const OF_A_POOL: u64 = 1 << 36;

/// Makes one, of no length. True beside it if its memory is scarce: pages must be reserved before they are touched.
///
/// `named`: not a memfd.
pub(super) fn create(named: bool) -> io::Result<(OwnedFd, bool)> {
    if !named && let Ok(memfd) = rustix::fs::memfd_create("parallel", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING) {
        return Ok((memfd, false));
    }
    Ok((named::nameless_object()?, true))
}

/// Whether one that is not scarce can be made longer while it is mapped.
pub(super) const CAN_GROW: bool = true;

/// A worker has the descriptor too, for a moment: if it made the file shorter, the program would die by SIGBUS.
pub(super) fn keep_length(object: BorrowedFd<'_>, but_grow: bool) -> io::Result<()> {
    let shrink = SealFlags::SHRINK | SealFlags::SEAL;
    Ok(rustix::fs::fcntl_add_seals(object, if but_grow { shrink } else { shrink | SealFlags::GROW })?)
}

/// Where other processes of this machine find it.
#[cfg(feature = "dask")]
pub(super) fn path_for_others(object: BorrowedFd<'_>) -> Option<String> {
    Some(format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&object)))
}

/// Makes sure that pages are there.
pub(super) fn reserve(object: BorrowedFd<'_>, offset: u64, len: u64) -> io::Result<()> {
    Ok(rustix::fs::fallocate(object, FallocateFlags::empty(), offset, len)?)
}

/// Whether pages can be given back.
pub(super) const CAN_DISCARD: bool = true;

/// Gives the pages of a range back to the system. It reads as zeros afterwards. False where holes cannot be punched.
pub(super) fn discard(object: BorrowedFd<'_>, offset: u64, len: u64) -> bool {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(object, flags, offset, len).is_ok()
}

#[cfg(test)]
mod tests {
    use crate::sys::segment::Segment;

    #[test]
    fn no_process_can_make_the_arena_shorter() {
        let segment = Segment::create(1 << 30).unwrap();
        assert!(rustix::fs::ftruncate(segment.descriptor(), 0).is_err());
        assert!(segment.discard(0, 4096));
    }

    #[test]
    fn the_file_of_a_pool_is_as_long_as_what_was_committed() {
        let segment = Segment::create_for_pool(1 << 30).unwrap();
        let size = || rustix::fs::fstat(segment.descriptor()).unwrap().st_size;
        assert_eq!(size(), 0);
        segment.commit(5 << 20, 100).unwrap();
        assert_eq!(size(), 6 << 20);
        segment.commit(0, 4096).unwrap();
        assert_eq!(size(), 6 << 20);
        // SAFETY: the byte lies in the mapping and in the file, and nothing else knows of the segment.
        unsafe { segment.at((6 << 20) - 1).write_volatile(1) };
        assert!(rustix::fs::ftruncate(segment.descriptor(), 0).is_err());
    }
}
