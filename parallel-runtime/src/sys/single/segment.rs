//! The memory of the arena, in one process.

use std::io;
use std::ptr::NonNull;

use super::none::Descriptor;
use super::reserve;

/// What its start is aligned to.
pub(crate) const ALIGNMENT: usize = 64 << 10;

/// Whether freed memory is given back while there is nothing to do.
pub(crate) const IS_TRIMMED: bool = false;

/// The reserve below which there is no point.
pub(crate) const SMALLEST: u64 = 1 << 24;

/// Memory of the arena. What refers to memory in it keeps it.
pub(crate) struct Segment {
    allocation: NonNull<u8>,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a `Segment` is an address range, which belongs to no thread; what is done with the memory is up to those who hold blocks of it.
unsafe impl Send for Segment {}
// SAFETY: as above; all methods take `&self`.
unsafe impl Sync for Segment {}

impl Segment {
    pub(crate) fn create(most: u64) -> io::Result<Self> {
        let mut len = usize::try_from(most).unwrap_or(usize::MAX).min(reserve::LARGEST);
        while len as u64 >= SMALLEST {
            if let Some((allocation, start)) = reserve::take(len, ALIGNMENT) {
                return Ok(Self { allocation, start, len });
            }
            len /= 2;
        }
        Err(io::ErrorKind::OutOfMemory.into())
    }

    pub(crate) fn create_for_pool(most: u64) -> io::Result<Self> {
        super::none::check()?;
        Self::create(most)
    }

    pub(crate) fn open(_descriptor: Descriptor, _len: u64, _scarce: bool) -> io::Result<Self> {
        Self::create_for_pool(u64::MAX)
    }

    pub(crate) fn len(&self) -> u64 {
        self.len as u64
    }

    /// The file: no other process can have it.
    pub(crate) fn descriptor(&self) -> &Descriptor {
        &Descriptor
    }

    #[cfg(feature = "dask")]
    pub(crate) fn path_for_others(&self) -> Option<String> {
        None
    }

    pub(crate) fn is_scarce(&self) -> bool {
        reserve::IS_SCARCE
    }

    /// The address of an offset.
    ///
    /// # Panics
    ///
    /// If `offset` is beyond the end.
    pub(crate) fn at(&self, offset: u64) -> NonNull<u8> {
        assert!(offset <= self.len(), "an offset beyond the end of the segment");
        // SAFETY: there are so many bytes, and `offset` is not beyond them.
        unsafe { self.start.add(offset as usize) }
    }

    /// Makes sure that pages are there before they are touched.
    pub(crate) fn commit(&self, offset: u64, len: u64) -> io::Result<()> {
        reserve::commit(self.at(offset), len as usize)
    }

    /// Whether pages can be given back.
    pub(crate) fn can_discard(&self) -> bool {
        reserve::CAN_DISCARD
    }

    /// Gives the pages of a range back to the system. It reads as zeros afterwards. False where that cannot be done.
    pub(crate) fn discard(&self, offset: u64, len: u64) -> bool {
        reserve::discard(self.at(offset), len as usize)
    }

    /// Bytes that exist now: not told.
    pub(crate) fn allocated(&self) -> u64 {
        0
    }

    /// Bytes that can still be reserved: not told.
    pub(crate) fn available(&self) -> Option<u64> {
        None
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: it was taken for this length, and each user of memory in it keeps the segment.
        unsafe { reserve::give_back(self.allocation, self.len, ALIGNMENT) };
    }
}
