//! Files in memory.

use std::fs::File;
use std::io;
use std::ptr::NonNull;

use rustix::mm::{MapFlags, ProtFlags};

/// A file that is mapped to be read.
#[derive(Debug)]
pub(crate) struct FileMapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping belongs to no thread.
unsafe impl Send for FileMapping {}
// SAFETY: nothing writes the memory.
unsafe impl Sync for FileMapping {}

impl FileMapping {
    /// # Safety
    ///
    /// Nothing writes the file, or makes it shorter, as long as this lives.
    pub(crate) unsafe fn new(file: &File, len: usize) -> io::Result<Self> {
        // SAFETY: the kernel chooses the address; what the memory holds does not change, as the caller promises.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, file, 0) }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for FileMapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and what refers to it keeps it.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
