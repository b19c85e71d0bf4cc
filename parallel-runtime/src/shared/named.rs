//! Segments with a name, for other programs to open.
//!
//! They are objects in `/dev/shm`, made and mapped by the `shared_memory` crate. What that leaves open is done here:
//!
//! * **Full memory.** Making an object succeeds on a full `/dev/shm`, and writing it then ends the process by SIGBUS. So all pages
//!   are reserved before the segment is handed out, in one that another program has made too.
//! * **Dead owners.** The object is made under a name that holds our process id and start time, and then linked to the name that
//!   was asked for. Both are removed with the segment; what a killed program has left is found by the first name, in which its
//!   owner is seen to be gone, and swept by the next.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use rustix::fs::FallocateFlags;
use shared_memory::{Shmem, ShmemConf, ShmemError};

use super::segment::{self, DIRECTORY};
use crate::codec::{self, CodecError, Reader, Writer, cargo};
use crate::error::TaskError;

/// A mapped segment.
pub(crate) struct Named {
    name: String,
    start: NonNull<u8>,
    len: usize,
    /// The number of its file, which a later segment of the same name does not have.
    inode: u64,
    /// Set in the process that made it.
    owner: bool,
    mapping: Mutex<Option<Shmem>>,
}

// SAFETY: the mapping is a range of addresses and a descriptor, which belong to no thread; `Shmem` only lacks the promise.
unsafe impl Send for Named {}
// SAFETY: as above; shared access only reads `start`, `len` and `inode`, and `mapping` is behind a lock.
unsafe impl Sync for Named {}

/// The segments that this process has mapped, so that slices of them are recognised.
static MAPPED: RwLock<Vec<Weak<Named>>> = RwLock::new(Vec::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn path(name: &str) -> PathBuf {
    [DIRECTORY, name].iter().collect()
}

fn inode_of(name: &str) -> Option<u64> {
    std::fs::symlink_metadata(path(name)).ok().map(|metadata| metadata.ino())
}

fn error(name: &str, source: io::Error) -> TaskError {
    TaskError::Named { name: name.to_owned(), source }
}

fn io_error(error: ShmemError) -> io::Error {
    match error {
        ShmemError::MappingIdExists => io::Error::from(io::ErrorKind::AlreadyExists),
        ShmemError::MapOpenFailed(code) | ShmemError::MapCreateFailed(code) | ShmemError::UnknownOsError(code) => {
            io::Error::from_raw_os_error(code.cast_signed())
        }
        other => io::Error::other(other),
    }
}

fn check_name(name: &str) -> Result<(), TaskError> {
    let valid = !name.is_empty() && name.len() <= 200 && !name.contains(['/', '\0']) && !name.starts_with('.');
    if valid && !name.starts_with(segment::PREFIX) {
        return Ok(());
    }
    let reason = "a name has 1 to 200 bytes, no `/`, and begins neither with a dot nor with `parallel-`";
    Err(error(name, io::Error::new(io::ErrorKind::InvalidInput, reason)))
}

/// Reserves all pages, so that none is missing when it is touched.
fn reserve(file: &File, len: u64) -> Result<(), TaskError> {
    rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len).map_err(|_| {
        let space = rustix::fs::fstatvfs(file).ok();
        let available = space.map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize));
        TaskError::OutOfSharedMemory { requested: len, available }
    })
}

impl Named {
    /// Makes a segment of `len` zero bytes.
    pub(super) fn create(name: &str, len: usize) -> Result<Arc<Self>, TaskError> {
        check_name(name)?;
        segment::sweep();
        if inode_of(name).is_some() {
            return Err(error(name, io::Error::from(io::ErrorKind::AlreadyExists)));
        }
        let pid = std::process::id();
        let own = format!("{}{pid}-{}-{name}", segment::PREFIX, segment::start_of(pid).unwrap_or(0));
        let mapping =
            ShmemConf::new().os_id(&own).size(len).create().map_err(|failed| error(name, io_error(failed)))?;
        // From here on the end of `mapping` removes the object under its own name.
        let file = OpenOptions::new().write(true).open(path(&own)).map_err(|failed| error(name, failed))?;
        reserve(&file, len as u64)?;
        std::fs::hard_link(path(&own), path(name)).map_err(|failed| error(name, failed))?;
        Self::mapped(name, mapping, true)
    }

    /// Maps a segment that exists.
    pub(super) fn open(name: &str) -> Result<Arc<Self>, TaskError> {
        check_name(name)?;
        Self::open_any(name)
    }

    fn open_any(name: &str) -> Result<Arc<Self>, TaskError> {
        let file = File::options().read(true).write(true).open(path(name)).map_err(|failed| error(name, failed))?;
        let len = file.metadata().map_err(|failed| error(name, failed))?.len();
        if len == 0 {
            return Err(error(name, io::Error::other("it is empty")));
        }
        reserve(&file, len)?;
        let mapping = ShmemConf::new().os_id(name).open().map_err(|failed| error(name, io_error(failed)))?;
        Self::mapped(name, mapping, false)
    }

    fn mapped(name: &str, mapping: Shmem, owner: bool) -> Result<Arc<Self>, TaskError> {
        let gone = || error(name, io::Error::from(io::ErrorKind::NotFound));
        let start = NonNull::new(mapping.as_ptr()).ok_or_else(gone)?;
        let inode = inode_of(name).ok_or_else(gone)?;
        let len = mapping.len();
        let named =
            Arc::new(Self { name: name.to_owned(), start, len, inode, owner, mapping: Mutex::new(Some(mapping)) });
        let mut all = MAPPED.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&named));
        COUNT.store(all.len(), Ordering::Release);
        Ok(named)
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        if self.owner && crate::process::fork::check().is_ok() && inode_of(&self.name) == Some(self.inode) {
            let _ = std::fs::remove_file(path(&self.name));
        }
        let mapping = self.mapping.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let (Some(mapping), true) = (mapping, crate::process::fork::check().is_err()) {
            // The names are the parent's.
            mapping.set_owner(false);
        }
    }
}

/// Part of a named segment, for another process.
pub(crate) struct Place {
    name: String,
    inode: u64,
    offset: u64,
}

/// Where memory lies, if it is part of a named segment.
#[inline(always)]
pub(super) fn place_of(start: *const u8, len: usize) -> Option<Place> {
    if COUNT.load(Ordering::Acquire) == 0 { None } else { find(start, len) }
}

#[cold]
fn find(start: *const u8, len: usize) -> Option<Place> {
    let all = MAPPED.read().unwrap_or_else(PoisonError::into_inner);
    all.iter().filter_map(Weak::upgrade).find_map(|named| {
        let offset = start.addr().checked_sub(named.start.addr().get())?;
        let inside = offset.checked_add(len)? <= named.len;
        inside.then(|| Place { name: named.name.clone(), inode: named.inode, offset: offset as u64 })
    })
}

impl Place {
    pub(super) fn send(&self, writer: &mut Writer<'_>) {
        let name = (&self.name, self.inode, self.offset);
        codec::encode(&name, writer).expect("a text and two numbers encode");
    }

    pub(super) fn receive(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (name, inode, offset) = codec::decode(reader)?;
        Ok(Self { name, inode, offset })
    }

    /// Worker: the address of `len` bytes there, in a mapping that stays as long as the message is run.
    pub(super) fn map(&self, len: u64) -> Result<NonNull<u8>, CodecError> {
        /// Mappings, each with the message that has used it last.
        static KEPT: Mutex<Vec<(u64, Arc<Named>)>> = Mutex::new(Vec::new());
        let message = cargo::message();
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.iter_mut().find(|(_, named)| named.name == self.name && named.inode == self.inode);
        let named = match known {
            Some((used, named)) => {
                *used = message;
                Arc::clone(named)
            }
            None => {
                // Those whose names are gone would keep their memory.
                kept.retain(|(used, named)| *used == message || inode_of(&named.name) == Some(named.inode));
                let named = Named::open_any(&self.name).map_err(CodecError::new)?;
                if named.inode != self.inode {
                    return Err(CodecError::new(format_args!(
                        "the named segment `{}` is another one by now",
                        self.name
                    )));
                }
                kept.push((message, Arc::clone(&named)));
                named
            }
        };
        if self.offset.checked_add(len).is_none_or(|end| end > named.len as u64) {
            return Err(CodecError::new(format_args!("the named segment `{}` is shorter than it was", self.name)));
        }
        // SAFETY: `offset + len` was just checked to lie inside the mapping, which `KEPT` keeps.
        Ok(unsafe { named.start.add(self.offset as usize) })
    }
}
