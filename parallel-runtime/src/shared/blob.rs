//! Large buffers that are put into `/dev/shm` of another machine once, for all tasks there: *blobs*.

use std::fs::File;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use super::arena::Arena;
use super::handle::Handle;
use crate::codec::CodecError;
use crate::sys::file_mapping::FileMapping;
use crate::sys::files;

/// Where they are.
const DIRECTORY: &str = "/dev/shm";

/// A buffer of so many bytes that nothing changes is sent as a blob.
pub(crate) const LARGE: usize = 64 << 10;

/// The name of the blob that holds an object of this program, for the pool that what is being encoded is for. It has one for each pool, so
/// that one may remove its own without asking the others.
pub(crate) fn name_of(handle: &Handle, pool: u64) -> String {
    let reference = handle.reference();
    format!("parallel_blob-{}_{pool}-{}-{:016x}", program(), reference.id, reference.nonce)
}

/// What no other program has.
pub(crate) fn program() -> &'static str {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::OnceLock;
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let pid = std::process::id();
        let random = || RandomState::new().hash_one(pid);
        format!("{:016x}{:016x}", random(), random())
    })
}

fn path(name: &str) -> String {
    format!("{DIRECTORY}/{name}")
}

/// A blob that this process has mapped.
pub(crate) struct Blob {
    name: String,
    /// Of the file, which another one of that name does not have.
    inode: u64,
    mapping: FileMapping,
}

impl Blob {
    /// The blob of that name. It stays mapped as long as it has that name, because the next task is likely to use it too.
    pub(super) fn open(name: &str) -> Result<Arc<Self>, CodecError> {
        static OPEN: Mutex<Vec<Arc<Blob>>> = Mutex::new(Vec::new());
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let inode = std::fs::metadata(path(name)).map(|metadata| files::inode(&metadata)).ok();
        if let Some(blob) = open.iter().find(|blob| blob.name == name && Some(blob.inode) == inode) {
            return Ok(Arc::clone(blob));
        }
        open.retain(|blob| blob.name != name && std::fs::exists(path(&blob.name)).unwrap_or(true));
        let blob = Arc::new(Self::map(name).map_err(|error| {
            CodecError::new(format_args!("the shared data `{name}` cannot be read on this machine: {error}"))
        })?);
        open.push(Arc::clone(&blob));
        Ok(blob)
    }

    fn map(name: &str) -> std::io::Result<Self> {
        if !name.starts_with("parallel_blob-") || name.contains('/') {
            return Err(std::io::Error::from(std::io::ErrorKind::InvalidInput));
        }
        let file = File::open(path(name))?;
        let metadata = file.metadata()?;
        // Any user may write a name there.
        if !files::is_ours(&metadata) {
            return Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        }
        let len = usize::try_from(metadata.len()).map_err(std::io::Error::other)?;
        // SAFETY: the file is complete, and nothing writes it or makes it shorter: it got its name when it was.
        let mapping = unsafe { FileMapping::new(&file, len) }?;
        Ok(Self { name: name.to_owned(), inode: files::inode(&metadata), mapping })
    }

    /// The number of the object in the program: the end of its name, as [`name_of`] writes it.
    pub(super) fn id(&self) -> u64 {
        self.name.rsplit_once('-').and_then(|(_, nonce)| u64::from_str_radix(nonce, 16).ok()).unwrap_or(0)
    }

    /// The address of `len` elements at an offset of it.
    pub(super) fn at<T>(&self, offset: u64, len: usize) -> Option<NonNull<T>> {
        let bytes = len.checked_mul(size_of::<T>())?;
        let offset = usize::try_from(offset).ok()?;
        if offset.checked_add(bytes)? > self.mapping.len() {
            return None;
        }
        // SAFETY: `offset` was just checked to lie inside the mapping.
        let start = unsafe { self.mapping.start().add(offset) }.cast::<T>();
        start.is_aligned().then_some(start)
    }
}

/// Where other processes of this machine find the memory of an object: a file, and an offset in it.
pub(crate) fn place_of(handle: &Handle) -> Option<(String, u64)> {
    let arena = Arena::get().ok()?;
    Some((arena.segment().path_for_others()?, handle.reference().offset))
}
