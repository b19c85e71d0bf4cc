//! One shared mapping.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use rustix::mm::{MapFlags, ProtFlags};

use super::{memory, object, privilege};

/// What the mapping's start is aligned to, in every process: so what is aligned in one is aligned in all.
pub(crate) const ALIGNMENT: usize = 2 << 20;

/// Whether freed memory is given back while there is nothing to do: by the thread that supervises workers.
pub(crate) const IS_TRIMMED: bool = true;

/// The reserve below which there is no point.
pub(crate) const SMALLEST: u64 = 1 << 24;

/// No system has larger pages.
const LARGEST_PAGE: u64 = 64 << 10;

/// By how much a file grows, at least.
const STEP: u64 = 1 << 20;

/// A shared mapping. What refers to memory in it keeps it.
pub(crate) struct Segment {
    start: NonNull<u8>,
    len: u64,
    /// None in a worker, which only maps it: with the descriptor it could make the file longer.
    descriptor: Option<OwnedFd>,
    /// Whether pages must be reserved before they are touched.
    scarce: bool,
    /// How long the file is, if it grows with what is used of it. A process that touches the mapping beyond that gets SIGBUS.
    grows: Option<Mutex<u64>>,
}

// SAFETY: a `Segment` is an address range, a length and a descriptor, none of which belongs to a thread; what is done with
// the memory is up to those who hold blocks of it.
unsafe impl Send for Segment {}
// SAFETY: as above; all methods take `&self` and only make system calls.
unsafe impl Sync for Segment {}

impl Segment {
    /// Makes a new segment, as large as the limits of this process allow, but of `most` bytes at most.
    pub(crate) fn create(most: u64) -> io::Result<Self> {
        let named = privilege::variable("PARALLEL_ARENA").is_some_and(|kind| kind == "shm");
        Self::make(object::LARGEST.min(most), named, false)
    }

    /// Makes one for a pool of its own, which is smaller, and can be sealed if the kernel has such files at all. A worker can touch any page of
    /// the file, and the pages stay when it is gone: so the file is only as long as what the program has committed.
    pub(crate) fn create_for_pool(most: u64) -> io::Result<Self> {
        let mut segment = Self::make(object::OF_A_POOL.min(most), false, object::CAN_GROW)?;
        if object::CAN_GROW && !segment.scarce {
            segment.grows = Some(Mutex::new(0));
        }
        Ok(segment)
    }

    fn make(largest: u64, named: bool, grows: bool) -> io::Result<Self> {
        let mut len = largest_file(largest) & !(LARGEST_PAGE - 1);
        loop {
            // A new one for each attempt: some systems let the length be set once.
            let (descriptor, scarce) = object::create(named)?;
            let size = if grows && !scarce { 0 } else { len };
            let attempt = rustix::fs::ftruncate(&descriptor, size).and_then(|()| map(descriptor.as_fd(), len));
            match attempt {
                Ok(start) => {
                    let segment = Self { start, len, descriptor: Some(descriptor), scarce, grows: None };
                    if !scarce {
                        object::keep_length(segment.descriptor(), grows)?;
                    }
                    return Ok(segment);
                }
                Err(_) if len > SMALLEST => len /= 2,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Maps a segment that another process made.
    pub(crate) fn open(descriptor: OwnedFd, len: u64, scarce: bool) -> io::Result<Self> {
        let start = map(descriptor.as_fd(), len)?;
        Ok(Self { start, len, descriptor: None, scarce, grows: None })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The file.
    ///
    /// # Panics
    ///
    /// In a worker, for a segment that it has opened.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_ref().expect("the process that made the segment has its file").as_fd()
    }

    /// Where other processes of this machine, of the same user, find it. `None` if there is no such place.
    #[cfg(feature = "dask")]
    pub(crate) fn path_for_others(&self) -> Option<String> {
        object::path_for_others(self.descriptor())
    }

    /// Whether its memory is limited and has a file that can be made shorter.
    pub(crate) fn is_scarce(&self) -> bool {
        self.scarce
    }

    /// The address of an offset.
    ///
    /// # Panics
    ///
    /// If `offset` is beyond the end.
    pub(crate) fn at(&self, offset: u64) -> NonNull<u8> {
        assert!(offset <= self.len, "an offset beyond the end of the segment");
        // SAFETY: the mapping is `len` bytes long, as it was made, and `offset <= len`; a mapping is at most `isize::MAX` bytes long.
        unsafe { self.start.add(offset as usize) }
    }

    /// Makes sure that pages are there before they are touched, where they may be missing.
    pub(crate) fn commit(&self, offset: u64, len: u64) -> io::Result<()> {
        if let Some(size) = &self.grows {
            let mut size = size.lock().unwrap_or_else(PoisonError::into_inner);
            let end = offset + len;
            if end > *size {
                let longer = end.next_multiple_of(STEP).min(self.len);
                // The limit may be lower by now, and the signal that comes with it would end the program.
                if longer > largest_file(longer) {
                    return Err(rustix::io::Errno::FBIG.into());
                }
                rustix::fs::ftruncate(self.descriptor(), longer)?;
                *size = longer;
            }
        }
        if self.scarce {
            object::reserve(self.descriptor(), offset, len)?;
        }
        Ok(())
    }

    /// Whether pages can be given back.
    pub(crate) fn can_discard(&self) -> bool {
        object::CAN_DISCARD
    }

    /// Gives the pages of a range back to the system. It reads as zeros afterwards. False where holes cannot be punched.
    pub(crate) fn discard(&self, offset: u64, len: u64) -> bool {
        object::discard(self.descriptor(), offset, len)
    }

    /// Bytes of it that exist now, as the kernel counts them.
    pub(crate) fn allocated(&self) -> u64 {
        // In units of 512 bytes on every file system, as in stat(2).
        rustix::fs::fstat(self.descriptor()).map_or(0, |status| status.st_blocks).cast_unsigned() * 512
    }

    /// Bytes that can still be reserved, where that is limited.
    pub(crate) fn available(&self) -> Option<u64> {
        if !self.scarce {
            return None;
        }
        let space = rustix::fs::fstatvfs(self.descriptor()).ok()?;
        Some(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: the mapping is this segment's alone, and each user of memory in it keeps the segment: blocks have their arena, and a board is
        // kept with its block.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len as usize) };
    }
}

/// `wanted`, or the limit on the size of files if that is less: growing beyond it would raise SIGXFSZ.
fn largest_file(wanted: u64) -> u64 {
    rustix::process::getrlimit(rustix::process::Resource::Fsize)
        .current
        .map_or(wanted, |limit| wanted.min(limit & !0xfff))
}

fn map(descriptor: BorrowedFd<'_>, len: u64) -> rustix::io::Result<NonNull<u8>> {
    let len = usize::try_from(len).map_err(|_| rustix::io::Errno::NOMEM)?;
    let room = len.checked_add(ALIGNMENT).ok_or(rustix::io::Errno::NOMEM)?;
    // Room for an aligned start, which is then mapped over.
    // SAFETY: no address is asked for, so this makes a new mapping and touches none that exists.
    let room_start = unsafe {
        let flags = MapFlags::PRIVATE | memory::NO_RESERVE;
        rustix::mm::mmap_anonymous(std::ptr::null_mut(), room, ProtFlags::empty(), flags)
    }?;
    let before = room_start.addr().next_multiple_of(ALIGNMENT) - room_start.addr();
    // SAFETY: `before` is less than `ALIGNMENT`, so it is inside the room.
    let aligned = unsafe { room_start.byte_add(before) };
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::SHARED | memory::NO_RESERVE | MapFlags::FIXED;
    // SAFETY: `len` bytes from `aligned` are inside the room, which is ours and which nothing uses.
    let mapped = unsafe { rustix::mm::mmap(aligned, len, protection, flags, descriptor, 0) };
    let start = match mapped {
        Ok(start) => start,
        Err(error) => {
            // SAFETY: the room is ours, and nothing uses it.
            let _ = unsafe { rustix::mm::munmap(room_start, room) };
            return Err(error);
        }
    };
    if before > 0 {
        // SAFETY: this part of the room comes before what was mapped, and nothing uses it.
        let _ = unsafe { rustix::mm::munmap(room_start, before) };
    }
    // SAFETY: the end of the mapping is inside the room, or its end.
    let end = unsafe { start.byte_add(len) };
    if before < ALIGNMENT {
        // SAFETY: this part of the room comes after what was mapped, and nothing uses it.
        let _ = unsafe { rustix::mm::munmap(end, ALIGNMENT - before) };
    }
    // A core dump of a program must not hold its whole reserve.
    memory::leave_out_of_dumps(start.cast(), len);
    NonNull::new(start.cast()).ok_or(rustix::io::Errno::NOMEM)
}
