//! The program's one arena, and blocks of it.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use super::allocator::{Allocator, PAGE, Range};
use super::space::{Space, TABLES_AT};
use super::tables::{Tables, Token};
use crate::error::TaskError;
use crate::sys::privilege::variable;
use crate::sys::segment::{IS_TRIMMED, SMALLEST, Segment};
use crate::sys::{fork, role, sizes};

/// Freed memory that may stay warm, in bytes; what is freed beyond goes back to the system at once.
const MOST_WARM: u64 = 1 << 30;

/// The same in a worker that is isolated, and where there are no processes: nothing gives the memory back while there is nothing to do.
const MOST_WARM_IN_WORKER: u64 = 16 << 20;

/// See [`Arena::tell_when_warm`].
static TELL: OnceLock<fn()> = OnceLock::new();

/// Memory that the program shares with workers: with those of all pools, but for pools whose workers are isolated. Each of these has an arena of
/// its own, for its board and its messages, and nothing else.
pub(crate) struct Arena {
    segment: Segment,
    is_isolated: bool,
    allocator: Mutex<Allocator>,
    /// Whether other processes have it, or had: they may have written anywhere.
    is_mapped_elsewhere: AtomicBool,
}

/// A part of the arena, given back when it is dropped. It starts at a page.
pub(crate) struct Block {
    arena: Arc<Arena>,
    range: Range,
    /// It reads as zeros, as far as nothing has written it since it was given back: see [`Arena::take_zeroed`].
    zeroed: bool,
}

static ARENA: OnceLock<Arc<Arena>> = OnceLock::new();

/// The arenas of pools whose workers are isolated.
static ISOLATED: Mutex<Vec<Weak<Arena>>> = Mutex::new(Vec::new());

/// How much address space `PARALLEL_ARENA_SIZE` allows each arena.
fn reserve() -> io::Result<u64> {
    let Some(text) = variable("PARALLEL_ARENA_SIZE").filter(|text| !text.is_empty()) else { return Ok(u64::MAX) };
    text.to_str().and_then(sizes::bytes_of).filter(|bytes| *bytes >= SMALLEST).ok_or_else(|| {
        let why = format!("PARALLEL_ARENA_SIZE={text:?}: it must be a size from `16MiB` on, such as `64GiB`");
        io::Error::new(io::ErrorKind::InvalidInput, why)
    })
}

/// All arenas that there are.
pub(crate) fn all() -> Vec<Arc<Arena>> {
    let mut isolated = ISOLATED.lock().unwrap_or_else(PoisonError::into_inner);
    isolated.retain(|arena| arena.strong_count() > 0);
    ARENA.get().cloned().into_iter().chain(isolated.iter().filter_map(Weak::upgrade)).collect()
}

/// Bytes of shared memory that exist now, as the kernel counts them.
pub(crate) fn allocated_bytes() -> u64 {
    all().into_iter().map(|arena| arena.segment.allocated()).sum()
}

impl Arena {
    /// The program's arena; made at first use.
    pub(crate) fn get() -> io::Result<Arc<Self>> {
        if let Some(arena) = ARENA.get() {
            return Ok(Arc::clone(arena));
        }
        static MAKING: Mutex<()> = Mutex::new(());
        let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if ARENA.get().is_none() {
            // From here on a child of this process would share what it has, without its records.
            fork::watch();
            let segment = Segment::create(reserve()?)?;
            // Offset 0 stands for "nothing", so the first page is never given out. The tables follow it.
            let tables = Tables::size(segment.len(), segment.is_scarce()).next_multiple_of(PAGE);
            segment.commit(TABLES_AT, tables)?;
            let allocator = Mutex::new(Allocator::new(TABLES_AT + tables, segment.len()));
            let is_mapped_elsewhere = AtomicBool::new(false);
            let arena = Arc::new(Self { segment, is_isolated: false, allocator, is_mapped_elsewhere });
            // A number that is not written by chance: a lock whose word it is counts as held.
            let generation = RandomState::new().hash_one(std::process::id());
            Space::set(&arena.segment, Token::new(0, generation), true);
            let _ = ARENA.set(arena);
        }
        Ok(Arc::clone(ARENA.get().expect("it was just set")))
    }

    /// A new one, for a pool whose workers are isolated.
    pub(crate) fn isolated() -> io::Result<Arc<Self>> {
        fork::watch();
        let segment = Segment::create_for_pool(reserve()?)?;
        let allocator = Mutex::new(Allocator::new(PAGE, segment.len()));
        let is_mapped_elsewhere = AtomicBool::new(false);
        let arena = Arc::new(Self { segment, is_isolated: true, allocator, is_mapped_elsewhere });
        ISOLATED.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&arena));
        Ok(arena)
    }

    /// Whether it is that of a pool whose workers are isolated.
    pub(crate) fn is_isolated(&self) -> bool {
        self.is_isolated
    }

    pub(crate) fn segment(&self) -> &Segment {
        &self.segment
    }

    fn allocator(&self) -> MutexGuard<'_, Allocator> {
        self.allocator.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a block of at least `len` bytes. Its contents are whatever was there.
    pub(crate) fn take(self: &Arc<Self>, len: u64) -> Result<Block, TaskError> {
        let short = |available| TaskError::OutOfSharedMemory { requested: len, available };
        let taken = self.allocator().take(len);
        let Some((range, warm)) = taken else {
            return Err(short(self.available()));
        };
        // What was joined counts as warm if a part of it is.
        if (!warm || self.segment.is_scarce()) && self.segment.commit(range.offset, range.len).is_err() {
            self.allocator().give_back(range, warm);
            return Err(short(self.available()));
        }
        Ok(Block { arena: Arc::clone(self), range, zeroed: !warm })
    }

    /// Takes a block that reads as zeros if it says so, even where processes that are gone have written to free memory.
    pub(crate) fn take_zeroed(self: &Arc<Self>, len: u64) -> Result<Block, TaskError> {
        let mut block = self.take(len)?;
        if block.zeroed && self.is_mapped_elsewhere.load(Ordering::Relaxed) {
            // Reserved pages would be lost by it.
            block.zeroed = !self.segment.is_scarce() && self.segment.discard(block.range.offset, block.range.len);
        }
        Ok(block)
    }

    /// Another process is about to get it.
    pub(crate) fn will_be_mapped(&self) {
        self.is_mapped_elsewhere.store(true, Ordering::Relaxed);
    }

    /// Sets what is called when there is freed memory that keeps its pages, and there was none before.
    pub(crate) fn tell_when_warm(tell: fn()) {
        let _ = TELL.set(tell);
    }

    /// About how much is left, for messages.
    pub(crate) fn available(&self) -> u64 {
        let left = self.allocator().left();
        self.segment.available().map_or(left, |space| space.min(left))
    }

    /// Gives the pages of all freed blocks back to the system, if no block was taken since the last call.
    pub(crate) fn trim_if_idle(&self) {
        if !self.segment.can_discard() {
            return;
        }
        // The lock is held meanwhile: a block that is taken must not lose pages that were just written.
        let mut allocator = self.allocator();
        if allocator.was_used() {
            return;
        }
        for range in allocator.cool() {
            // Where that fails the pages stay, and are not zeros.
            if !self.segment.discard(range.offset, range.len) {
                allocator.is_warm_again(range);
            }
        }
    }

    /// Whether there are freed pages to give back.
    pub(crate) fn is_warm(&self) -> bool {
        self.segment.can_discard() && self.allocator().warm() > 0
    }
}

impl Block {
    /// Offset from the start of the arena, which names the block in every process.
    pub(crate) fn offset(&self) -> u64 {
        self.range.offset
    }

    /// Bytes; at least as many as were asked for.
    pub(crate) fn len(&self) -> u64 {
        self.range.len
    }

    /// Whether it reads as zeros, if it was just taken.
    pub(crate) fn is_zeroed(&self) -> bool {
        self.zeroed
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.arena.segment.at(self.range.offset)
    }

    /// The block's memory.
    ///
    /// # Safety
    ///
    /// No other process may touch the first `len` bytes while the slice lives: no worker has been told of the block yet, or
    /// none that was told is still at work on it.
    ///
    /// # Panics
    ///
    /// If the block is shorter than `len`.
    pub(crate) unsafe fn bytes_mut(&mut self, len: usize) -> &mut [MaybeUninit<u8>] {
        assert!(len as u64 <= self.range.len, "a block is shorter than it was asked to be");
        // SAFETY: the block lies inside the arena, which it keeps, and which is readable and writable; `&mut self` keeps others in this process
        // away (a block has one owner), the caller keeps other processes away.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr().cast(), len) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if fork::check().is_err() {
            // It is the parent's.
            return;
        }
        let most = if role::in_worker() || !IS_TRIMMED { MOST_WARM_IN_WORKER } else { MOST_WARM };
        let stays = self.arena.allocator().warm() + self.range.len <= most;
        // Without the lock: many pages take long.
        let warm = stays || !self.arena.segment.discard(self.range.offset, self.range.len);
        let mut allocator = self.arena.allocator();
        let first = warm && self.arena.segment.can_discard() && allocator.warm() == 0;
        allocator.give_back(self.range, warm);
        drop(allocator);
        if let (true, Some(tell)) = (first, TELL.get()) {
            tell();
        }
    }
}

impl std::fmt::Debug for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Block").field("range", &self.range).finish_non_exhaustive()
    }
}

impl Space {
    /// The arena, which the program makes at first use.
    pub(crate) fn get() -> Result<&'static Self, TaskError> {
        if let Some(space) = Self::existing() {
            return Ok(space);
        }
        if role::has_borrowed_objects() {
            // A constructor of a C++ library, before the worker has its arena.
            return Err(TaskError::OutOfSharedMemory { requested: 0, available: 0 });
        }
        Arena::get().map_err(TaskError::Spawn)?;
        Ok(Self::existing().expect("it is set with the arena"))
    }
}
