//! One task in flight.
//!
//! The *word* says where the task is, and whose it is:
//!
//! ```text
//!   FREE ──publish──► READY ──claim──► CLAIMED|w ──complete──► DONE|w ──harvest──► FREE
//!                       └──cancel──► FREE      └──the worker died──► FREE
//! ```
//!
//! Each publication has a new *generation*, so that an entry of the ring which was overtaken (the task was cancelled, the
//! slot used again) matches nothing. If a process stops right after a step:
//!
//! * after *publish* (the program): the workers die with it.
//! * after *claim* (a worker): the word names the worker. When its death is seen, the task ends as "worker died".
//! * after *complete* (a worker): the result is there and the word says so; the death costs this task nothing. The waiter may
//!   not have been woken: whoever sees the death wakes all waiters.
//!
//! # Memory ordering
//!
//! The program writes arguments and entry, then publishes with `Release`; the claim is an `Acquire`, so the worker sees them.
//! The worker writes the result, then completes with a sequentially consistent swap; the program loads the word with `Acquire`
//! before it reads the result. The two steps that meet a sleeper (complete against "I sleep now") are sequentially consistent
//! on both sides, see [`sleep`](super::sleep).

use std::cell::UnsafeCell;

use crate::sync::atomic::{AtomicU32, AtomicU64};

/// Bytes of arguments that travel in the slot itself.
pub(crate) const INLINE_ARGUMENTS: usize = 80;

/// Bytes of results that travel in the slot itself.
pub(crate) const INLINE_RESULT: usize = 64;

/// The strictest alignment that slices among the inline arguments may need.
pub(crate) const INLINE_ALIGNMENT: usize = 16;

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
    /// The function, as an offset from the start of the executable's image.
    pub(crate) entry: AtomicU64,
    /// Offset of the arguments in the arena; 0 if they are in the slot.
    pub(crate) arguments_offset: AtomicU64,
    pub(crate) arguments_len: AtomicU64,
    /// How many items the message holds.
    pub(crate) items: AtomicU32,
    /// Whether the program sleeps on the word.
    pub(crate) waiter: AtomicU32,
    /// Whether the program wants to know how long it ran.
    pub(crate) timed: AtomicU32,
    _reserved: AtomicU32,
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
    /// 1 if an item of this message failed.
    pub(crate) failed: AtomicU32,
    _reserved_2: AtomicU32,
    /// Nanoseconds from the claim to the completion, if `timed`.
    pub(crate) nanoseconds: AtomicU64,
    pub(crate) result: Bytes<INLINE_RESULT>,
}

const _: () = assert!(cfg!(loom) || size_of::<Slot>() == 256);

/// Where a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Free = 0,
    Ready = 1,
    Claimed = 2,
    Done = 3,
}

/// The value of a slot's word: state in bits 0 and 1, worker in bits 2 to 15, generation in bits 16 to 63.
///
/// The low half, on which the program sleeps, holds 16 bits of the generation, so that it differs between one use of the slot
/// and the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) u64);

/// Bits of a generation.
pub(crate) const GENERATION: u64 = (1 << 48) - 1;

impl Word {
    pub(crate) fn free(generation: u64) -> Self {
        Self::new(State::Free, 0, generation)
    }

    pub(crate) fn ready(generation: u64) -> Self {
        Self::new(State::Ready, 0, generation)
    }

    pub(crate) fn claimed(worker: u32, generation: u64) -> Self {
        Self::new(State::Claimed, worker, generation)
    }

    pub(crate) fn done(worker: u32, generation: u64) -> Self {
        Self::new(State::Done, worker, generation)
    }

    fn new(state: State, worker: u32, generation: u64) -> Self {
        debug_assert!(worker < 1 << 14);
        Self(state as u64 | u64::from(worker) << 2 | (generation & GENERATION) << 16)
    }

    pub(crate) fn state(self) -> State {
        match self.0 & 3 {
            0 => State::Free,
            1 => State::Ready,
            2 => State::Claimed,
            _ => State::Done,
        }
    }

    pub(crate) fn worker(self) -> u32 {
        (self.0 >> 2) as u32 & ((1 << 14) - 1)
    }

    pub(crate) fn generation(self) -> u64 {
        self.0 >> 16
    }
}

#[cfg(not(loom))]
impl Slot {
    /// How many items of this generation have ended.
    pub(crate) fn done_items(&self, generation: u64) -> u32 {
        let progress = self.progress.load(std::sync::atomic::Ordering::Acquire);
        if progress >> 32 == generation & 0xffff_ffff { progress as u32 } else { 0 }
    }

    /// Says that so many items have ended.
    pub(crate) fn set_done_items(&self, generation: u64, items: u32) {
        let progress = generation << 32 | u64::from(items);
        self.progress.store(progress, std::sync::atomic::Ordering::Release);
    }

    pub(crate) fn load(&self) -> Word {
        Word(self.word.load(std::sync::atomic::Ordering::Acquire))
    }

    /// The half of the word on which the program sleeps.
    pub(crate) fn futex(&self) -> &std::sync::atomic::AtomicU32 {
        const LOW_HALF: usize = if cfg!(target_endian = "little") { 0 } else { 4 };
        let address = self.word.as_ptr().cast::<u8>();
        // SAFETY: the low half is one of the two halves of the eight bytes of `word`.
        let half = unsafe { address.add(LOW_HALF) }.cast::<u32>();
        // SAFETY: `half` is aligned to four bytes and lives as long as `self`. It is given to the kernel, and loaded to
        // compare with; every store goes through `word`.
        unsafe { AtomicU32::from_ptr(half) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_holds_state_worker_and_generation() {
        let word = Word::claimed(1023, 0x1234_5678_9abc);
        assert_eq!((word.state(), word.worker(), word.generation()), (State::Claimed, 1023, 0x1234_5678_9abc));
        assert_eq!(Word::ready(GENERATION + 5).generation(), 4);
    }
}
