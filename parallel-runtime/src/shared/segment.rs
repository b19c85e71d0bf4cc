//! One shared mapping.
//!
//! On Linux it is a *memfd*: it has no name, so nothing can be left behind, and it does not count against the size of
//! `/dev/shm`. Where the kernel refuses one, or `PARALLEL_ARENA=shm` asks for it, the `shared_memory` crate makes a named
//! object, whose name is removed again at once: workers get the descriptor, never the name. Such an object lives in `/dev/shm`,
//! which may be small, and a page that is not there ends the process with SIGBUS; so its pages are reserved before they are
//! used ([`Segment::commit`]).

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{FallocateFlags, MemfdFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// The reserve that is asked for first, in bytes. It costs address space only; pages come when they are touched.
const LARGEST: u64 = 1 << 40;

/// The reserve below which there is no point.
const SMALLEST: u64 = 1 << 24;

/// A shared mapping, for as long as the process lives.
pub(crate) struct Segment {
    start: NonNull<u8>,
    len: u64,
    descriptor: OwnedFd,
    /// Whether pages must be reserved before they are touched.
    scarce: bool,
}

// SAFETY: a `Segment` is an address range, a length and a descriptor, none of which belongs to a thread; what is done with
// the memory is up to those who hold blocks of it.
unsafe impl Send for Segment {}
// SAFETY: as above; all methods take `&self` and only make system calls.
unsafe impl Sync for Segment {}

impl Segment {
    /// Makes a new segment, as large as the limits of this process allow.
    pub(crate) fn create() -> io::Result<Self> {
        let named = std::env::var_os("PARALLEL_ARENA").is_some_and(|kind| kind == "shm");
        let (descriptor, scarce) = match if named { Err(rustix::io::Errno::NOSYS) } else { memfd() } {
            Ok(descriptor) => (descriptor, false),
            Err(_) => (nameless_shm_object()?, true),
        };
        let mut len = largest_file(LARGEST);
        loop {
            let attempt = rustix::fs::ftruncate(&descriptor, len).and_then(|()| map(descriptor.as_fd(), len));
            match attempt {
                Ok(start) => return Ok(Self { start, len, descriptor, scarce }),
                Err(_) if len > SMALLEST => len /= 2,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Maps a segment that another process made.
    pub(crate) fn open(descriptor: OwnedFd, len: u64) -> io::Result<Self> {
        let start = map(descriptor.as_fd(), len)?;
        Ok(Self { start, len, descriptor, scarce: false })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// The address of an offset.
    ///
    /// # Panics
    ///
    /// If `offset` is beyond the end.
    pub(crate) fn at(&self, offset: u64) -> NonNull<u8> {
        assert!(offset <= self.len, "an offset beyond the end of the segment");
        // SAFETY: the mapping is `len` bytes long (it was mapped so, and is never unmapped) and `offset <= len`; a mapping is
        // at most `isize::MAX` bytes long.
        unsafe { self.start.add(offset as usize) }
    }

    /// Reserves pages before they are touched, where they may be missing.
    pub(crate) fn commit(&self, offset: u64, len: u64) -> io::Result<()> {
        if self.scarce {
            rustix::fs::fallocate(&self.descriptor, FallocateFlags::empty(), offset, len)?;
        }
        Ok(())
    }

    /// Gives the pages of a range back to the system. It reads as zeros afterwards.
    pub(crate) fn discard(&self, offset: u64, len: u64) {
        // Where holes cannot be punched the pages stay: that is a cost, not an error.
        let _ = rustix::fs::fallocate(
            &self.descriptor,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            offset,
            len,
        );
    }

    /// Bytes that can still be reserved, where that is limited.
    pub(crate) fn available(&self) -> Option<u64> {
        if !self.scarce {
            return None;
        }
        let space = rustix::fs::fstatvfs(&self.descriptor).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

fn memfd() -> Result<OwnedFd, rustix::io::Errno> {
    rustix::fs::memfd_create("parallel", MemfdFlags::CLOEXEC)
}

/// A shared-memory object whose name is gone.
fn nameless_shm_object() -> io::Result<OwnedFd> {
    // The crate makes the object exclusively, under a random name and with mode 0600, and removes the name when `object`
    // is dropped, a few lines on.
    let object = shared_memory::ShmemConf::new().size(1).create().map_err(io::Error::other)?;
    let path = format!("/dev/shm/{}", object.get_os_id().trim_start_matches('/'));
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    Ok(file.into())
}

/// `wanted`, or the limit on the size of files if that is less: growing beyond it would raise SIGXFSZ.
fn largest_file(wanted: u64) -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Fsize)
        .current
        .map_or(wanted, |limit| wanted.min(limit & !0xfff))
}

fn map(descriptor: BorrowedFd<'_>, len: u64) -> rustix::io::Result<NonNull<u8>> {
    let len = usize::try_from(len).map_err(|_| rustix::io::Errno::NOMEM)?;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::SHARED | MapFlags::NORESERVE;
    // SAFETY: no address is asked for, so this makes a new mapping and touches none that exists.
    let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, protection, flags, descriptor, 0) }?;
    // A core dump of a program must not hold its whole reserve.
    // SAFETY: the range is the mapping that was just made; `LinuxDontDump` does not change its contents.
    let _ = unsafe { rustix::mm::madvise(start, len, Advice::LinuxDontDump) };
    NonNull::new(start.cast()).ok_or(rustix::io::Errno::NOMEM)
}
