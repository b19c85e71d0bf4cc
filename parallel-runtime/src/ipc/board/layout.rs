//! Where everything is on a board.

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::ring::Ring;
use super::sleep::Sleepers;
use super::slot::Slot;
use crate::ipc::control::ANSWER;
use crate::sys::{clock, futex};

/// The most workers a pool can have.
pub(crate) const MOST_WORKERS: usize = 1024;

/// A value on cache lines of its own. Two lines, since x86-64 fetches them in pairs.
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// The board's fixed part.
#[repr(C)]
pub(crate) struct Header {
    /// Written by the program.
    tail: Line<AtomicU64>,
    /// Written by any process: a hint.
    head: Line<AtomicU64>,
    /// Bits of the workers that sleep.
    sleepers: Line<[AtomicU64; MOST_WORKERS / 64]>,
    /// Threads of the program that sleep until *some* task is done. Written by the program.
    pub(crate) done_waiters: Line<AtomicU32>,
    /// Counts completions that met such a sleeper; they sleep on it. Written by any process.
    pub(crate) done_count: Line<AtomicU32>,
}

/// Entries of a worker's list of completed slots.
pub(crate) const COMPLETED: usize = 1024;

/// What concerns one worker.
#[repr(C, align(128))]
pub(crate) struct Record {
    /// The worker sleeps on it while it is 0. The program sets it to 1 to wake it, the worker sets it back.
    pub(crate) wake: AtomicU32,
    /// 1 while the worker looks for work and so needs no waking. Written by the worker; by the program after its death.
    pub(crate) searching: AtomicU32,
    /// Counts the answers to its requests; it sleeps on it. Written by the program.
    pub(crate) answers: AtomicU32,
    /// The last answer. Written by the program.
    pub(crate) answer: [AtomicU64; ANSWER],
    /// The worker's result region. Written by the program before the worker starts.
    pub(crate) region_offset: AtomicU64,
    pub(crate) region_len: AtomicU64,
    /// 1 when the worker is about to be ended for the task that it runs, and must begin no other; it sleeps on it. Written by
    /// the program: see [`terminate`](super::terminate).
    pub(crate) terminating: AtomicU32,
    /// 1 when the worker is to end after the message that it runs: the program cannot reach it any more. Written by the program.
    pub(crate) retiring: AtomicU32,
    /// Counts the tasks that the worker was asked to drop. Written by the program: see [`DISMISSED`](super::slot::DISMISSED).
    pub(crate) dismissals: AtomicU32,
    /// What signal hit the worker in a way that it could not survive, and where: its last words. Written by the worker's signal
    /// handler; set back by the program before a worker starts.
    pub(crate) fault_signal: AtomicU32,
    pub(crate) fault_address: AtomicU64,
    /// 1 if that address lies at the end of the stack of the thread that runs tasks.
    pub(crate) fault_in_stack: AtomicU32,
    /// `generation | slot` of the task that it claimed last. Written by the worker.
    pub(crate) running: AtomicU64,
    /// Its process id, for those who look at tasks: the worker may have run some before the program has noted that it has started it.
    /// Written by the worker; set back by the program before it starts one.
    pub(crate) pid: AtomicU32,
    /// How many bodies of `async fn`s the worker has begun. Written by the worker; set back by the program before one starts.
    pub(crate) deferred: AtomicU32,
    /// For how long workers in this place have run tasks, in nanoseconds of the coarse clock. Written by the worker, and by the
    /// program after its death.
    pub(crate) busy: AtomicU64,
    /// Since when it runs what it runs; 0 if nothing. Written by the worker, and by the program after its death.
    pub(crate) busy_since: AtomicU64,
    /// What the worker does besides tasks: see [`phase`]. Written by the worker; set back by the program before one starts. The program believes it
    /// for a bounded time only: a worker that lies gets that much more time for a task, or for its end.
    pub(crate) phase: AtomicU32,
    /// How many completions the worker has noted. Written by the worker.
    pub(crate) completed_tail: Line<AtomicU64>,
    /// `generation | slot` of its completed tasks, oldest overwritten first: a hint that saves the program a search. Written
    /// by the worker.
    pub(crate) completed: [AtomicU64; COMPLETED],
}

/// What a worker does besides tasks.
pub(crate) mod phase {
    pub(crate) const NONE: u32 = 0;
    /// It runs `init`.
    pub(crate) const INIT: u32 = 1;
    /// It makes a `state`, of the task that it runs or of its pool.
    pub(crate) const STATE: u32 = 2;
    /// It ends: drops what it keeps, and runs exit handlers.
    pub(crate) const END: u32 = 3;
}

impl Record {
    /// Worker: it begins to run something.
    #[inline(always)]
    pub(crate) fn begin_busy(&self) {
        self.busy_since.store(clock::coarse(), Ordering::Relaxed);
    }

    /// Worker: it runs nothing any more.
    #[inline(always)]
    pub(crate) fn end_busy(&self) {
        let since = self.busy_since.load(Ordering::Relaxed);
        self.busy_since.store(0, Ordering::Relaxed);
        let time = clock::coarse().saturating_sub(since);
        if time != 0 && since != 0 {
            self.busy.store(self.busy.load(Ordering::Relaxed).wrapping_add(time), Ordering::Relaxed);
        }
    }
}

/// How many of each part there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) workers: u32,
    /// A power of two, at most 2^16.
    pub(crate) slots: u32,
}

impl Layout {
    fn records_at() -> usize {
        size_of::<Header>().next_multiple_of(256)
    }

    fn ring_at(self) -> usize {
        (Self::records_at() + self.workers as usize * size_of::<Record>()).next_multiple_of(256)
    }

    fn ring_len(self) -> usize {
        2 * self.slots as usize
    }

    fn slots_at(self) -> usize {
        (self.ring_at() + self.ring_len() * size_of::<AtomicU64>()).next_multiple_of(256)
    }

    /// Bytes of the whole board.
    pub(crate) fn size(self) -> usize {
        self.slots_at() + self.slots as usize * size_of::<Slot>()
    }
}

/// A view of a board.
#[derive(Clone, Copy)]
pub(crate) struct Board {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a board is atomics, and buffers that are `Sync`; the view is a pointer to it.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

impl Board {
    /// # Safety
    ///
    /// `layout.size()` bytes from `start`, aligned to 256, are mapped as long as the view is used, and hold a board: zeros, or
    /// what views of the same layout made of them.
    pub(crate) unsafe fn new(start: NonNull<u8>, layout: Layout) -> Self {
        debug_assert!(start.cast::<Slot>().is_aligned());
        Self { start, layout }
    }

    fn part<T>(&self, offset: usize, len: usize) -> &[T] {
        debug_assert!(offset + len * size_of::<T>() <= self.layout.size());
        // SAFETY: all parts lie inside the board (`Layout`), which is mapped by the contract of `new`.
        let start = unsafe { self.start.add(offset) }.cast::<T>();
        // SAFETY: the part is aligned (its offset is a multiple of 256, and so is the board's start), its elements are
        // atomics and `UnsafeCell`s, so they may be shared and changed by others, and any bytes are valid for them.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) fn header(&self) -> &Header {
        &self.part::<Header>(0, 1)[0]
    }

    /// # Panics
    ///
    /// If there is no such worker.
    pub(crate) fn record(&self, worker: u32) -> &Record {
        &self.part::<Record>(Layout::records_at(), self.layout.workers as usize)[worker as usize]
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        self.part(self.layout.slots_at(), self.layout.slots as usize)
    }

    /// # Panics
    ///
    /// If there is no such slot.
    pub(crate) fn slot(&self, slot: u32) -> &Slot {
        &self.slots()[slot as usize]
    }

    /// The word of a slot, if there is such a slot.
    pub(crate) fn word(&self, slot: u32) -> Option<&AtomicU64> {
        self.slots().get(slot as usize).map(|slot| &slot.word)
    }

    pub(crate) fn ring(&self) -> Ring<'_> {
        let header = self.header();
        Ring {
            head: &header.head.0,
            tail: &header.tail.0,
            entries: self.part(self.layout.ring_at(), self.layout.ring_len()),
        }
    }

    pub(crate) fn sleepers(&self) -> Sleepers<'_> {
        Sleepers(&self.header().sleepers.0)
    }

    /// Wakes all workers, to look for work: the process that was to wake one of them may have died.
    pub(crate) fn wake_all(&self) {
        for worker in 0..self.layout.workers {
            let word = &self.record(worker).wake;
            word.store(1, Ordering::Release);
            futex::wake(word, 1);
        }
    }

    /// Wakes this worker, if it sleeps. False if it does not, or if another thread is waking it.
    pub(crate) fn wake_sleeper(&self, worker: u32) -> bool {
        if !self.sleepers().withdraw(worker) {
            return false;
        }
        let word = &self.record(worker).wake;
        word.store(1, Ordering::Release);
        futex::wake(word, 1);
        true
    }

    /// Wakes a sleeping worker, unless another one is looking for work already. To be called after a task was published, and
    /// by a worker that has stopped looking although there is more.
    pub(crate) fn wake_one(&self) {
        let workers = self.layout.workers;
        let awake = || (0..workers).any(|worker| self.record(worker).searching.load(Ordering::Relaxed) != 0);
        if let Some(worker) = self.sleepers().pick(workers as usize, awake) {
            let word = &self.record(worker).wake;
            word.store(1, Ordering::Release);
            futex::wake(word, 1);
        }
    }
}
