//! One task in flight.
//!
//! The *word* says where the task is, and whose it is:
//!
//! ```text
//!   FREE ──publish──► READY ──claim──► CLAIMED|w ──complete──► DONE|w ──collect──► FREE
//!                       └──cancel──► FREE      └──the worker died──► FREE
//! ```
//!
//! Each publication has a new *generation*, so that an entry of the ring which was overtaken (the task was cancelled, the
//! slot used again) matches nothing. If a process stops right after a step:
//!
//! * after *publish* (the program): the workers die with it.
//! * after *claim* (a worker): the word names the worker. When its death is seen, the task ends as "worker died".
//! * after *complete* (a worker): the result is there and the word says so; the death costs this task nothing. The waiter may
//!   not have been woken: the process that sees the death wakes all waiters.
//!
//! # Memory ordering
//!
//! The program writes arguments and entry, then publishes with `Release`; the claim is an `Acquire`, so the worker sees them.
//! The worker writes the result, then completes with a sequentially consistent exchange; the program loads the word with `Acquire`
//! before it reads the result. The two steps that meet a sleeper (complete against "I sleep now") are sequentially consistent
//! on both sides, see [`sleep`](super::sleep).

use std::cell::UnsafeCell;

use super::word::Word;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes of arguments that travel in the slot itself.
pub(crate) const INLINE_ARGUMENTS: usize = 80;

/// Bytes of results that travel in the slot itself.
pub(crate) const INLINE_RESULT: usize = 64;

/// The strictest alignment that slices among the inline arguments may need.
pub(crate) const INLINE_ALIGNMENT: usize = 16;

/// Of `began`: the worker has deferred the task, and looks at its limit itself.
pub(crate) const DEFERRED: u64 = 1 << 63;

/// Of `wanted`: the program wants to know how long it runs.
pub(crate) const TIMED: u32 = 1;

/// Of `wanted`: the program wants the task to be dropped, if it was deferred.
pub(crate) const DISMISSED: u32 = 2;

/// Of `wanted`: the worker has sent events of the task. Set by the worker, before it sends the first.
pub(crate) const SENT: u32 = 4;

/// Of `wanted`: the items are tasks of their own, each with a bit: see [`Slot::begin`].
pub(crate) const PACKED: u32 = 8;

/// Of `wanted`: where the level of events begins.
pub(crate) const LEVEL: u32 = 8;

/// Of `failed`: an item's result says that it failed.
pub(crate) const FAILED: u32 = 1;

/// Of `failed`: the only item was over its limit, and was dropped.
pub(crate) const LATE: u32 = 2;

/// Of `failed`: the only item was dropped, as the program wanted.
pub(crate) const DROPPED: u32 = 3;

/// Bytes at an aligned address.
#[repr(C, align(16))]
pub(crate) struct Bytes<const N: usize>(pub(crate) UnsafeCell<[u8; N]>);

// SAFETY: the bytes are plain memory; who may touch them when is the slot's protocol, kept by those who use them.
unsafe impl<const N: usize> Sync for Bytes<N> {}

/// One task in flight. 256 bytes: the first two cache lines go to the worker, the others come back.
#[repr(C, align(256))]
pub(crate) struct Slot {
    /// See [`Word`].
    pub(crate) word: AtomicU64,
    /// The number of the function, of which the worker knows over its control channel what it stands for.
    pub(crate) function: AtomicU64,
    /// Offset of the arguments in the arena; 0 if they are in the slot.
    pub(crate) arguments_offset: AtomicU64,
    pub(crate) arguments_len: AtomicU64,
    /// How many items the message holds.
    pub(crate) items: AtomicU32,
    /// Whether the program sleeps on the word.
    pub(crate) waiter: AtomicU32,
    /// [`TIMED`], [`DISMISSED`], [`SENT`], [`PACKED`], and from [`LEVEL`] on how verbose the events may be that the program wants.
    pub(crate) wanted: AtomicU32,
    /// The time limit of its items in milliseconds, rounded up; 0 for none. With one, the worker says when each began, and looks
    /// whether it is terminating.
    pub(crate) limited: AtomicU32,
    pub(crate) arguments: Bytes<INLINE_ARGUMENTS>,

    /// Items that have ended, with their results complete, in the low half; the low bits of the generation in the high half, so
    /// that what an earlier use of the slot left is not taken for this one's. The worker adds to it as it goes: after its death
    /// the results of these items are still good.
    pub(crate) progress: AtomicU64,
    /// Offset of the results in the arena; 0 if they are in the slot.
    pub(crate) result_offset: AtomicU64,
    /// Bytes of the results of `done_items` items, without the one in the granted block.
    pub(crate) result_len: AtomicU64,
    /// Offset of a granted block that holds the result of the last item done, if it was too large; else 0.
    pub(crate) granted_offset: AtomicU64,
    pub(crate) granted_len: AtomicU64,
    /// [`FAILED`], [`LATE`], [`DROPPED`], or 0.
    pub(crate) failed: AtomicU32,
    /// Which item the granted block is the result of, counted from 1.
    pub(crate) granted_item: AtomicU32,
    /// Nanoseconds from the claim to the completion, if [`TIMED`].
    pub(crate) nanoseconds: AtomicU64,
    /// When the item that is running began, in nanoseconds of the monotonic clock, if `limited`; 0 before the first. Stored
    /// before `progress` says that the item before has ended. With [`DEFERRED`], if it was deferred.
    pub(crate) began: AtomicU64,
    pub(crate) result: Bytes<INLINE_RESULT>,
}

const _: () = assert!(size_of::<Slot>() == 256);

impl Slot {
    /// One that is on no board: for a task that this process runs for itself.
    pub(crate) fn private() -> Self {
        let (number, word) = (|| AtomicU64::new(0), || AtomicU32::new(0));
        Self {
            word: number(),
            function: number(),
            arguments_offset: number(),
            arguments_len: number(),
            items: AtomicU32::new(1),
            waiter: word(),
            wanted: word(),
            limited: word(),
            arguments: Bytes(UnsafeCell::new([0; INLINE_ARGUMENTS])),
            progress: number(),
            result_offset: number(),
            result_len: number(),
            granted_offset: number(),
            granted_len: number(),
            failed: word(),
            granted_item: word(),
            nanoseconds: number(),
            began: number(),
            result: Bytes(UnsafeCell::new([0; INLINE_RESULT])),
        }
    }

    /// How many items of this generation have ended.
    pub(crate) fn done_items(&self, generation: u64) -> u32 {
        let progress = self.progress.load(Ordering::SeqCst);
        if progress >> 32 == generation & 0xffff_ffff { progress as u32 } else { 0 }
    }

    /// Says that so many items have ended.
    #[inline(always)]
    pub(crate) fn set_done_items(&self, generation: u64, items: u32) {
        let progress = generation << 32 | u64::from(items);
        // Sequentially consistent, that is an exchange on x86-64, is needed for limited messages alone: see `terminate`.
        let ordering = if self.limited.load(Ordering::Relaxed) != 0 { Ordering::SeqCst } else { Ordering::Release };
        self.progress.store(progress, ordering);
    }

    /// By item of a packed message: whether it has been begun, or taken back. The arguments of such a message are not in the slot.
    fn begun(&self) -> &AtomicU64 {
        let start = self.arguments.0.get().cast::<u64>();
        // SAFETY: the bytes are aligned to 16, live as long as `self`, and are used as nothing else while the message is packed.
        unsafe { AtomicU64::from_ptr(start) }
    }

    /// Program: the message is a packed one, of which no item has begun. Before it is published.
    pub(crate) fn begin_none(&self) {
        self.begun().store(0, Ordering::Relaxed);
    }

    /// Takes an item of a packed message: the worker that has claimed the message before it runs the item, the program if the item is not to
    /// run there. False if the other one was faster. A worker that dies right after this leaves an item that counts as begun.
    pub(crate) fn begin(&self, item: usize) -> bool {
        let bit = 1 << (item as u32 % u64::BITS);
        self.begun().fetch_or(bit, Ordering::AcqRel) & bit == 0
    }

    /// Whether an item of a packed message has begun, or was taken back.
    pub(crate) fn has_begun(&self, item: usize) -> bool {
        self.begun().load(Ordering::Acquire) >> (item as u32 % u64::BITS) & 1 != 0
    }

    pub(crate) fn load(&self) -> Word {
        Word(self.word.load(Ordering::Acquire))
    }

    /// The half of the word on which the program sleeps.
    pub(crate) fn futex(&self) -> &AtomicU32 {
        const LOW_HALF: usize = if cfg!(target_endian = "little") { 0 } else { 4 };
        let address = self.word.as_ptr().cast::<u8>();
        // SAFETY: the low half is one of the two halves of the eight bytes of `word`.
        let half = unsafe { address.add(LOW_HALF) }.cast::<u32>();
        // SAFETY: `half` is aligned to four bytes and lives as long as `self`. It is given to the kernel, and loaded to
        // compare with; every store goes through `word`.
        unsafe { AtomicU32::from_ptr(half) }
    }
}
