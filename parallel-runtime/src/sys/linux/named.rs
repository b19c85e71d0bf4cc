//! Shared memory that other programs open by its name: objects in `/dev/shm`, made and mapped by the `shared_memory` crate.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::ptr::NonNull;
use std::sync::OnceLock;

use rustix::fs::FallocateFlags;
use shared_memory::{Shmem, ShmemConf, ShmemError};

use super::processes;

/// An error if this system has no such objects.
pub(crate) fn check() -> io::Result<()> {
    Ok(())
}

/// A shared-memory object whose name is gone.
pub(super) fn nameless_object() -> io::Result<OwnedFd> {
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
const DIRECTORY: &str = "/dev/shm";

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

/// When a process was started, in clock ticks since the machine was: the 22nd field of its `stat`. `None` if there is no such process.
fn start_of(pid: u32) -> Option<u64> {
    processes::field(pid, 19)?.parse().ok()
}

/// The number of the object of a name, which a later one of the same name does not have.
pub(crate) fn inode_of(name: &str) -> Option<u64> {
    std::fs::symlink_metadata(directory_entry(name)).ok().map(|metadata| metadata.ino())
}

/// Gives an object a second name.
pub(crate) fn link(name: &str, other: &str) -> io::Result<()> {
    std::fs::hard_link(directory_entry(name), directory_entry(other))
}

/// Removes a name.
pub(crate) fn remove(name: &str) {
    let _ = std::fs::remove_file(directory_entry(name));
}

/// Why an object cannot be had.
#[derive(Debug)]
pub(crate) enum Failure {
    System(io::Error),
    /// There is room for so many bytes only.
    Full {
        requested: u64,
        available: u64,
    },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl From<ShmemError> for Failure {
    fn from(error: ShmemError) -> Self {
        Self::System(match error {
            ShmemError::MappingIdExists => io::ErrorKind::AlreadyExists.into(),
            ShmemError::MapOpenFailed(code) | ShmemError::MapCreateFailed(code) | ShmemError::UnknownOsError(code) => {
                io::Error::from_raw_os_error(code.cast_signed())
            }
            other => io::Error::other(other),
        })
    }
}

/// A mapped object.
pub(crate) struct Object(Shmem);

// SAFETY: the mapping is a range of addresses and a descriptor, which belong to no thread; `Shmem` only lacks the promise.
unsafe impl Send for Object {}
// SAFETY: as above; shared access only reads address and length.
unsafe impl Sync for Object {}

impl Object {
    /// Makes one of `len` zero bytes, whose name goes with it.
    pub(crate) fn create(name: &str, len: usize) -> Result<Self, Failure> {
        let object = Self(ShmemConf::new().os_id(name).size(len).create()?);
        let file = OpenOptions::new().write(true).open(directory_entry(name))?;
        reserve(&file, len as u64)?;
        Ok(object)
    }

    /// Maps one that exists, and gives its number.
    pub(crate) fn open(name: &str) -> Result<(Self, u64), Failure> {
        let file = OpenOptions::new().read(true).write(true).open(directory_entry(name))?;
        let metadata = file.metadata()?;
        if metadata.len() == 0 {
            return Err(io::Error::other("it is empty").into());
        }
        reserve(&file, metadata.len())?;
        let object = Self(ShmemConf::new().os_id(name).open()?);
        if inode_of(name) != Some(metadata.ino()) {
            return Err(io::Error::from(io::ErrorKind::NotFound).into());
        }
        Ok((object, metadata.ino()))
    }

    pub(crate) fn start(&self) -> Option<NonNull<u8>> {
        NonNull::new(self.0.as_ptr())
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Its name is removed already, or is another process's.
    pub(crate) fn leave_name(&mut self) {
        self.0.set_owner(false);
    }
}

/// Reserves all pages, so that none is missing when it is touched.
fn reserve(file: &File, len: u64) -> Result<(), Failure> {
    rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len).map_err(|_| {
        let space = rustix::fs::fstatvfs(file).ok();
        let available = space.map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize));
        Failure::Full { requested: len, available }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
