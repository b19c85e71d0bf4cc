//! The arena as this process sees it, be it the program or a worker.

use std::ptr::NonNull;
use std::sync::OnceLock;

use super::tables::{Tables, Token};
use crate::sys::segment::Segment;

/// Where the tables are: behind the first page, which stands for "nothing".
pub(super) const TABLES_AT: u64 = super::allocator::PAGE;

/// The whole arena, mapped for as long as the process lives.
pub(crate) struct Space {
    start: NonNull<u8>,
    len: u64,
    tables: Tables,
    me: Token,
}

// SAFETY: a `Space` is an address range, which does not belong to a thread; what is done with the memory is up to those who have
// parts of it.
unsafe impl Send for Space {}
// SAFETY: as above; all methods take `&self` and only compute addresses.
unsafe impl Sync for Space {}

static SPACE: OnceLock<Space> = OnceLock::new();

/// Where messages lie that a worker gets: an address range.
struct Messages(NonNull<u8>, u64);

// SAFETY: an address range belongs to no thread.
unsafe impl Send for Messages {}
// SAFETY: as above; it is never changed.
unsafe impl Sync for Messages {}

static MESSAGES: OnceLock<Messages> = OnceLock::new();

impl Space {
    /// Sets what [`get`](Space::get) gives. `segment` is never unmapped.
    pub(crate) fn set(segment: &Segment, me: Token, is_program: bool) {
        // SAFETY: the tables lie at this offset of every arena, which begins as zeros, and a segment is never unmapped.
        let tables = unsafe { Tables::new(segment.at(TABLES_AT), segment.len(), segment.is_scarce()) };
        if is_program {
            tables.set_living(me, true);
        }
        let _ = SPACE.set(Self { start: segment.at(0), len: segment.len(), tables, me });
    }

    /// Worker: messages lie in this segment, which is never unmapped.
    pub(crate) fn set_messages(segment: &Segment) {
        let _ = MESSAGES.set(Messages(segment.at(0), segment.len()));
    }

    /// Worker: the address of an offset in the memory of messages, if `len` bytes from there lie in it.
    pub(crate) fn in_messages(offset: u64, len: u64) -> Option<NonNull<u8>> {
        let Messages(start, end) = MESSAGES.get()?;
        if offset == 0 || offset.checked_add(len)? > *end {
            return None;
        }
        // SAFETY: `offset` lies inside the mapping, which is so long.
        Some(unsafe { start.add(offset as usize) })
    }

    /// The arena, if there is one yet.
    #[inline(always)]
    pub(crate) fn existing() -> Option<&'static Self> {
        SPACE.get()
    }

    pub(super) fn tables(&self) -> &Tables {
        &self.tables
    }

    /// This process.
    pub(crate) fn me(&self) -> Token {
        self.me
    }

    /// Bytes of the arena.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Whether the process of a token may still do something.
    pub(crate) fn is_living(&self, token: Token) -> bool {
        self.tables.is_living(token)
    }

    /// The address of an offset, if `len` bytes from there lie in the arena.
    pub(crate) fn at(&self, offset: u64, len: u64) -> Option<NonNull<u8>> {
        if offset == 0 || offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: `offset` lies inside the mapping, which is `len` bytes long.
        Some(unsafe { self.start.add(offset as usize) })
    }

    /// The offset of memory in the arena; `None` for memory that lies elsewhere.
    #[inline(always)]
    pub(crate) fn offset_of<T>(&self, start: *const T) -> Option<u64> {
        let offset = start.addr().wrapping_sub(self.start.addr().get()) as u64;
        (offset < self.len).then_some(offset)
    }
}
