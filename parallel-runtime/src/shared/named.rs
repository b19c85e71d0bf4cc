//! Segments with a name, for other programs to open.
//!
//! They are objects in `/dev/shm`, made and mapped by the `shared_memory` crate. What that leaves open is done here:
//!
//! * **Full memory.** Making an object succeeds on a full `/dev/shm`, and writing it then ends the process by SIGBUS. So all pages
//!   are reserved before the segment is handed out, in one that another program has made too.
//! * **Dead owners.** The object is made under a name that holds our process id and start time, and then linked to the name that
//!   was asked for. Both are removed with the segment; what a killed program has left is found by the first name, in which its
//!   owner is seen to be gone, and swept by the next.
//! * **Names that others remove.** Python before 3.13 removes the name of every segment that it has had open when it ends. So a
//!   segment that was opened has a name of ours too, and our workers find it by that.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use crate::codec::{self, CodecError, Reader, Writer};
use crate::error::TaskError;
use crate::sys::named::{self, Failure, Object};

/// A mapped segment.
pub(crate) struct Named {
    name: String,
    start: NonNull<u8>,
    len: usize,
    /// The number of its file, which a later segment of the same name does not have.
    inode: u64,
    /// The name by which our workers open it.
    own_name: Option<String>,
    /// Set in the process that made it.
    owner: bool,
    mapping: Mutex<Object>,
}

// SAFETY: the address is that of the mapping, which belongs to no thread.
unsafe impl Send for Named {}
// SAFETY: as above; shared access only reads `start`, `len` and `inode`, and `mapping` is behind a lock.
unsafe impl Sync for Named {}

/// The segments that this process has mapped, so that slices of them are recognised.
static MAPPED: RwLock<Vec<Weak<Named>>> = RwLock::new(Vec::new());
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn error(name: &str, source: io::Error) -> TaskError {
    TaskError::Named { name: name.to_owned(), source }
}

fn taken() -> io::Error {
    io::Error::new(io::ErrorKind::AlreadyExists, "the name is taken: choose another, or `open_named` what is there")
}

fn not_found() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "there is no segment of that name, or not any more")
}

/// Says what there is to do about it, where that is known.
fn failed(name: &str, failure: Failure) -> TaskError {
    match failure {
        Failure::Full { requested, available } => TaskError::OutOfSharedMemory { requested, available },
        Failure::System(failed) => match failed.kind() {
            io::ErrorKind::NotFound => error(name, not_found()),
            io::ErrorKind::AlreadyExists => error(name, taken()),
            _ => error(name, failed),
        },
    }
}

fn check_name(name: &str) -> Result<(), TaskError> {
    named::check().map_err(|unsupported| error(name, unsupported))?;
    let valid = !name.is_empty() && name.len() <= 200 && !name.contains(['/', '\0']) && !name.starts_with('.');
    if valid && !name.starts_with(named::PREFIX) {
        return Ok(());
    }
    let reason = "a name has 1 to 200 bytes, no `/`, and begins neither with a dot nor with `parallel-`";
    Err(error(name, io::Error::new(io::ErrorKind::InvalidInput, reason)))
}

/// A name that shows whose it is. What follows must not be a name by which others may open it, unless that is to be swept with it.
fn own_name(rest: &str) -> String {
    format!("{}-{rest}", named::name_of_process(std::process::id()))
}

impl Named {
    /// Makes a segment of `len` zero bytes.
    pub(super) fn create(name: &str, len: usize) -> Result<Arc<Self>, TaskError> {
        check_name(name)?;
        if len == 0 {
            let reason = "a segment has at least one element, of at least one byte";
            return Err(error(name, io::Error::new(io::ErrorKind::InvalidInput, reason)));
        }
        named::sweep();
        if named::inode_of(name).is_some() {
            return Err(error(name, taken()));
        }
        let own = own_name(name);
        // From here on the end of `mapping` removes the object under its own name.
        let mapping = Object::create(&own, len).map_err(|failure| failed(name, failure))?;
        named::link(&own, name).map_err(|linked| failed(name, linked.into()))?;
        let inode = named::inode_of(&own).ok_or_else(|| error(name, not_found()))?;
        Self::mapped(name, mapping, inode, Some(own), true)
    }

    /// Maps a segment that exists, once.
    pub(super) fn open(name: &str) -> Result<Arc<Self>, TaskError> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        check_name(name)?;
        // Check, open and register are one step.
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(inode) = named::inode_of(name) {
            forget_unused(&mut kept);
            if living().any(|named| named.inode == inode) {
                let reason = "this process has it open already, and there can be only one `&mut`: pass that `SharedVec`, or parts of it";
                return Err(error(name, io::Error::new(io::ErrorKind::AlreadyExists, reason)));
            }
        }
        // As a name for others it would begin with a dot, which none does.
        let own = own_name(&format!(".{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let linked = named::link(name, &own).is_ok();
        let result = Self::open_any(if linked { &own } else { name }, name, linked.then(|| own.clone()));
        if result.is_err() && linked {
            named::remove(&own);
        }
        result
    }

    /// Maps the segment that has one name, as that which was asked for by another.
    fn open_any(file_name: &str, name: &str, own: Option<String>) -> Result<Arc<Self>, TaskError> {
        let (mapping, inode) = Object::open(file_name).map_err(|failure| failed(name, failure))?;
        Self::mapped(name, mapping, inode, own, false)
    }

    fn mapped(
        name: &str,
        mapping: Object,
        inode: u64,
        own_name: Option<String>,
        owner: bool,
    ) -> Result<Arc<Self>, TaskError> {
        let start = mapping.start().ok_or_else(|| error(name, not_found()))?;
        let (name, len, mapping) = (name.to_owned(), mapping.len(), Mutex::new(mapping));
        let named = Arc::new(Self { name, start, len, inode, own_name, owner, mapping });
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

impl std::fmt::Debug for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Named").field("name", &self.name).field("len", &self.len).finish_non_exhaustive()
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        let ours = crate::sys::fork::check().is_ok();
        let mut names = [self.owner.then_some(&self.name), self.own_name.as_ref()].into_iter().flatten();
        names
            .by_ref()
            .filter(|name| ours && named::inode_of(name) == Some(self.inode))
            .for_each(|name| named::remove(name));
        let mapping = self.mapping.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The names are removed, or are the parent's.
        mapping.leave_name();
    }
}

/// The segments that are mapped.
fn living() -> impl Iterator<Item = Arc<Named>> {
    let all = MAPPED.read().unwrap_or_else(PoisonError::into_inner);
    all.iter().filter_map(Weak::upgrade).collect::<Vec<_>>().into_iter()
}

/// Part of a named segment in the process that lends it.
pub(super) struct Source {
    pub(super) segment: Arc<Named>,
    offset: u64,
}

/// Where memory lies, if it is part of a named segment.
#[inline(always)]
pub(super) fn place_of(start: *const u8, len: usize) -> Option<Source> {
    if COUNT.load(Ordering::Acquire) == 0 { None } else { find(start, len) }
}

#[cold]
fn find(start: *const u8, len: usize) -> Option<Source> {
    living().find_map(|named| {
        let offset = start.addr().checked_sub(named.start.addr().get())?;
        let inside = offset.checked_add(len)? <= named.len;
        inside.then(|| Source { segment: named, offset: offset as u64 })
    })
}

impl Source {
    pub(super) fn send(&self, writer: &mut Writer<'_>) {
        let Named { name, own_name, inode, .. } = &*self.segment;
        let place = (name, own_name.as_ref().unwrap_or(name), inode, self.offset);
        codec::encode(&place, writer).expect("texts and numbers encode");
    }
}

/// Part of a named segment in the process that it is lent to.
pub(super) struct Place {
    name: String,
    file_name: String,
    inode: u64,
    offset: u64,
}

/// Worker: mappings of segments that tasks were lent parts of, each with the name by which it was opened. They stay for the next task, as
/// long as nothing else wants the segment.
static KEPT: Mutex<Vec<(String, Arc<Named>)>> = Mutex::new(Vec::new());

/// Worker: forgets the mappings that no task uses. What is in use is kept by its message as well.
fn forget_unused(kept: &mut Vec<(String, Arc<Named>)>) {
    kept.retain(|(_, named)| Arc::strong_count(named) > 1);
}

impl Place {
    pub(super) fn receive(reader: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (name, file_name, inode, offset) = codec::decode(reader)?;
        Ok(Self { name, file_name, inode, offset })
    }

    /// Worker: the address of `len` bytes there, in a mapping that stays as long as the message is run.
    pub(super) fn map(&self, len: u64, reader: &Reader<'_>) -> Result<NonNull<u8>, CodecError> {
        let missing = || CodecError::new("a slice of shared memory came where there can be none");
        let source = reader.source().ok_or_else(missing)?;
        let named = self.mapping()?;
        if self.offset.checked_add(len).is_none_or(|end| end > named.len as u64) {
            return Err(CodecError::new(format_args!("the named segment `{}` is shorter than it was", self.name)));
        }
        // SAFETY: `offset + len` was just checked to lie inside the mapping.
        let start = unsafe { named.start.add(self.offset as usize) };
        source.keep(named);
        Ok(start)
    }

    fn mapping(&self) -> Result<Arc<Named>, CodecError> {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, named)) = kept.iter().find(|(_, named)| named.inode == self.inode && named.name == self.name) {
            return Ok(Arc::clone(named));
        }
        // Those that the program has let go of would keep their memory.
        kept.retain(|(file, named)| Arc::strong_count(named) > 1 || named::inode_of(file) == Some(named.inode));
        let named = Named::open_any(&self.file_name, &self.name, None).map_err(CodecError::new)?;
        if named.inode != self.inode {
            return Err(CodecError::new(format_args!("the named segment `{}` is another one by now", self.name)));
        }
        kept.push((self.file_name.clone(), Arc::clone(&named)));
        Ok(named)
    }
}
