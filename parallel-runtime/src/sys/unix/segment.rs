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
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::sys::privilege;

/// The reserve that is asked for first, in bytes. It costs address space only; pages come when they are touched.
const LARGEST: u64 = 1 << 40;

/// The same for a pool that has an arena of its own. There may be many.
const OF_A_POOL: u64 = 1 << 36;

/// What the mapping's start is aligned to, in every process: so what is aligned in one is aligned in all.
pub(crate) const ALIGNMENT: usize = 2 << 20;

/// The reserve below which there is no point.
const SMALLEST: u64 = 1 << 24;

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
    /// Makes a new segment, as large as the limits of this process allow.
    pub(crate) fn create() -> io::Result<Self> {
        let named = privilege::variable("PARALLEL_ARENA").is_some_and(|kind| kind == "shm");
        Self::make(LARGEST, named, false)
    }

    /// Makes one for a pool of its own, which is smaller, and can be sealed if the kernel has such files at all. A worker can touch any page of
    /// the file, and the pages stay when it is gone: so the file is only as long as what the program has committed.
    pub(crate) fn create_for_pool() -> io::Result<Self> {
        let mut segment = Self::make(OF_A_POOL, false, true)?;
        if !segment.scarce {
            segment.grows = Some(Mutex::new(0));
        }
        Ok(segment)
    }

    fn make(largest: u64, named: bool, grows: bool) -> io::Result<Self> {
        let (descriptor, scarce) = match if named { Err(rustix::io::Errno::NOSYS) } else { memfd() } {
            Ok(descriptor) => (descriptor, false),
            Err(_) => (nameless_shm_object()?, true),
        };
        let mut len = largest_file(largest);
        loop {
            let size = if grows && !scarce { 0 } else { len };
            let attempt = rustix::fs::ftruncate(&descriptor, size).and_then(|()| map(descriptor.as_fd(), len));
            match attempt {
                Ok(start) => {
                    let segment = Self { start, len, descriptor: Some(descriptor), scarce, grows: None };
                    if !scarce {
                        // A worker has the descriptor too: if it made the file shorter, the program would die by SIGBUS.
                        let shrink = SealFlags::SHRINK | SealFlags::SEAL;
                        let size = if grows { shrink } else { shrink | SealFlags::GROW };
                        rustix::fs::fcntl_add_seals(segment.descriptor(), size)?;
                    }
                    return Ok(segment);
                }
                Err(_) if len > SMALLEST => len /= 2,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Maps a segment that another process made.
    pub(crate) fn open(descriptor: BorrowedFd<'_>, len: u64, scarce: bool) -> io::Result<Self> {
        let start = map(descriptor, len)?;
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
            rustix::fs::fallocate(self.descriptor(), FallocateFlags::empty(), offset, len)?;
        }
        Ok(())
    }

    /// Gives the pages of a range back to the system. It reads as zeros afterwards. False where holes cannot be punched.
    pub(crate) fn discard(&self, offset: u64, len: u64) -> bool {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(self.descriptor(), flags, offset, len).is_ok()
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

fn memfd() -> Result<OwnedFd, rustix::io::Errno> {
    rustix::fs::memfd_create("parallel", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
}

/// A shared-memory object whose name is gone.
fn nameless_shm_object() -> io::Result<OwnedFd> {
    sweep();
    // The crate makes the object exclusively, with mode 0600, and removes the name when `object` is dropped, a few lines on. If
    // the program is killed in between, the next one finds the name, and that its owner is gone.
    let name = name_of_process(std::process::id());
    let _ = std::fs::remove_file(format!("/dev/shm/{name}"));
    let object = shared_memory::ShmemConf::new().os_id(&name).size(1).create().map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).write(true).open(format!("/dev/shm/{name}"))?;
    drop(object);
    Ok(file.into())
}

/// Where objects with a name are.
pub(crate) const DIRECTORY: &str = "/dev/shm";

/// How our names begin. A namespace of process ids, a process id and the time of its start follow; and, for a segment that others may open, the
/// name by which they do: see `shared/named.rs`.
pub(crate) const PREFIX: &str = "parallel-";

/// The part of a name that names its owner.
pub(crate) fn name_of_process(pid: u32) -> String {
    format!("{PREFIX}{}-{pid}-{}", namespace(), start_of(pid).unwrap_or(0))
}

/// The namespace in which the ids of this process and its children are what they are: containers may share `/dev/shm`. 0 if it is not told.
fn namespace() -> u64 {
    static NAMESPACE: OnceLock<u64> = OnceLock::new();
    *NAMESPACE.get_or_init(|| std::fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino()))
}

/// Removes what programs have left in `/dev/shm` that were killed. Those of other namespaces may live: their numbers mean nothing here.
pub(crate) fn sweep() {
    let Ok(directory) = std::fs::read_dir(DIRECTORY) else { return };
    for entry in directory.flatten() {
        let name = entry.file_name();
        let parts = || {
            let (there, rest) = name.to_str()?.strip_prefix(PREFIX)?.split_once('-')?;
            (there.parse() == Ok(namespace())).then(|| rest.split_once('-'))?
        };
        let Some((pid, rest)) = parts() else { continue };
        let (start, other) = rest.split_once('-').map_or((rest, None), |(start, other)| (start, Some(other)));
        let (Ok(pid), Ok(start)) = (pid.parse::<u32>(), start.parse::<u64>()) else { continue };
        if start_of(pid) == Some(start) {
            continue;
        }
        if let Some(other) = other.map(directory_entry) {
            // Only if it is still the same object.
            let same = |(one, two): (std::fs::Metadata, std::fs::Metadata)| one.ino() == two.ino();
            if entry.metadata().ok().zip(std::fs::symlink_metadata(&other).ok()).is_some_and(same) {
                let _ = std::fs::remove_file(other);
            }
        }
        let _ = std::fs::remove_file(entry.path());
    }
}

fn directory_entry(name: &str) -> std::path::PathBuf {
    [DIRECTORY, name].iter().collect()
}

/// When a process was started, in clock ticks since the machine was: the 22nd field of its `stat`, as in proc(5). `None` if there is no such
/// process.
pub(crate) fn start_of(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
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
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        rustix::mm::mmap_anonymous(std::ptr::null_mut(), room, ProtFlags::empty(), flags)
    }?;
    let before = room_start.addr().next_multiple_of(ALIGNMENT) - room_start.addr();
    // SAFETY: `before` is less than `ALIGNMENT`, so it is inside the room.
    let aligned = unsafe { room_start.byte_add(before) };
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED;
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
    // SAFETY: the range is the mapping that was just made; `LinuxDontDump` does not change its contents.
    let _ = unsafe { rustix::mm::madvise(start, len, Advice::LinuxDontDump) };
    NonNull::new(start.cast()).ok_or(rustix::io::Errno::NOMEM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_process_can_make_the_arena_shorter() {
        let segment = Segment::create().unwrap();
        assert!(rustix::fs::ftruncate(segment.descriptor(), 0).is_err());
        assert!(segment.discard(0, 4096));
    }

    #[test]
    fn the_file_of_a_pool_is_as_long_as_what_was_committed() {
        let segment = Segment::create_for_pool().unwrap();
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

    #[test]
    fn names_of_dead_programs_are_swept_and_those_of_the_living_are_not() {
        let mut dead = std::process::Command::new("/bin/true").spawn().unwrap();
        let pid = dead.id();
        dead.wait().unwrap();
        let ours = start_of(std::process::id()).unwrap();
        let path = |there: u64, pid: u32, start: u64| format!("/dev/shm/{PREFIX}{there}-{pid}-{start}");
        let (here, this) = (namespace(), std::process::id());
        let (stale, reused, alive) = (path(here, pid, 5), path(here, this, ours + 1), path(here, this, ours));
        let elsewhere = path(here + 1, pid, 5);
        for path in [&stale, &reused, &alive, &elsewhere] {
            std::fs::write(path, "x").unwrap();
        }
        sweep();
        let exists = |path: &String| std::path::Path::new(path).exists();
        assert!(!exists(&stale) && !exists(&reused) && exists(&alive) && exists(&elsewhere));
        std::fs::remove_file(alive).unwrap();
        std::fs::remove_file(elsewhere).unwrap();
    }
}
