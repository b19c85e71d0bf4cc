//! Where a task is, and what it came to: put in once, and taken out once.
//!
//! ```text
//!   WITH_OTHERS ──► QUEUED ◄──► BOARDED          under the engine's lock
//!        └────────────┴────────────┴──► ENDING ──► FINISHED, FAILED ──► TAKEN
//!                                                        │  ▲
//!                                                        ▼  │
//!                                                       LOOKED
//! ```
//!
//! A step to ENDING, LOOKED or TAKEN is a compare-and-swap: the thread that makes it has the outcome for itself, and ENDING and LOOKED are left by that
//! thread alone. They last for some instructions, none of which can fail; a thread that cannot go on without the next step yields.
//!
//! Tasks that travel together have one place, which says where all of them are that are `WITH_OTHERS`. A thread that waits for one of them to leave the
//! queue counts itself in, looks where the task is, and sleeps on its phase; the thread that moves them stores the place, and then looks
//! at the count: so one of the two sees the other. Since the place is not what a thread sleeps on, the phases are changed too, if there
//! are sleepers. Checked by loom in `tests/crates/model`.

use std::time::Instant;

use crate::sys::futex;
use crate::sys::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sys::sync::{UnsafeCell, between_ordered_steps, yield_now};

/// It is where those are that it travels with.
const WITH_OTHERS: u32 = 0;
/// It waits in the program for a slot.
const QUEUED: u32 = 1;
/// It is in a slot of its own.
const BOARDED: u32 = 2;
/// Its outcome is being put in.
const ENDING: u32 = 3;
/// A thread looks at its outcome.
const LOOKED: u32 = 4;
/// Its outcome is here.
const FINISHED: u32 = 5;
/// The same, and something failed.
const FAILED: u32 = 6;
/// Its outcome was taken.
const TAKEN: u32 = 7;

/// Where a task's message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued,
    Boarded { slot: u32, generation: u64 },
    Finished,
}

/// The record of one task.
pub(crate) struct Record<T> {
    phase: AtomicU32,
    /// `generation | slot` while it is in a slot of its own; its number in the queue while it waits.
    place: AtomicU64,
    outcome: UnsafeCell<Option<T>>,
}

// SAFETY: the outcome is `Send`, and used by one thread at a time: the one whose compare-and-swap has made the phase `ENDING`, `LOOKED` or `TAKEN`.
// The first two are left by that thread alone, and `TAKEN` never. Each step to one of them is an acquire, and each step away a release.
unsafe impl<T: Send> Sync for Record<T> {}

/// Where tasks are that travel together.
pub(crate) struct Together {
    /// `generation | slot`, or 0 while they wait in the program: no slot in use has the generation 0.
    place: AtomicU64,
    /// Threads that sleep, or are about to, until one of them is in a slot.
    sleepers: AtomicU32,
}

/// A slot in use, as one number.
fn place_of(slot: u32, generation: u64) -> u64 {
    generation << 16 | u64::from(slot)
}

fn boarded(place: u64) -> Phase {
    Phase::Boarded { slot: place as u32 & 0xffff, generation: place >> 16 }
}

impl Together {
    pub(crate) fn new() -> Self {
        Self { place: AtomicU64::new(0), sleepers: AtomicU32::new(0) }
    }

    /// They are in a slot now. Called under the engine's lock.
    pub(crate) fn board<'r, T: 'r>(&self, slot: u32, generation: u64, records: impl Iterator<Item = &'r Record<T>>) {
        let place = place_of(slot, generation);
        self.place.store(place, Ordering::SeqCst);
        between_ordered_steps();
        if self.sleepers.load(Ordering::SeqCst) == 0 {
            return;
        }
        for record in records {
            if record.phase.load(Ordering::Relaxed) == WITH_OTHERS {
                record.place.store(place, Ordering::Relaxed);
                if record.phase.compare_exchange(WITH_OTHERS, BOARDED, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                    futex::wake_all(&record.phase);
                }
            }
        }
    }

    /// They wait for a slot once more. Called under the engine's lock, before they have numbers in the queue.
    pub(crate) fn requeue<'r, T: 'r>(&self, records: impl Iterator<Item = &'r Record<T>>) {
        let place = self.place.swap(0, Ordering::SeqCst);
        // Those whose phases were changed for sleepers. Those in slots of their own have other places.
        for record in records.filter(|record| record.place.load(Ordering::Relaxed) == place) {
            let _ = record.phase.compare_exchange(BOARDED, WITH_OTHERS, Ordering::SeqCst, Ordering::Relaxed);
        }
    }

    fn wake_sleepers(&self, phase: &AtomicU32) {
        between_ordered_steps();
        if self.sleepers.load(Ordering::SeqCst) != 0 {
            futex::wake_all(phase);
        }
    }
}

impl<T> Record<T> {
    pub(crate) fn new() -> Self {
        Self { phase: AtomicU32::new(WITH_OTHERS), place: AtomicU64::new(0), outcome: UnsafeCell::new(None) }
    }

    /// Where it is.
    pub(crate) fn phase(&self, together: &Together) -> Phase {
        loop {
            match self.phase.load(Ordering::Acquire) {
                WITH_OTHERS => {
                    return match together.place.load(Ordering::Acquire) {
                        0 => Phase::Queued,
                        place => boarded(place),
                    };
                }
                QUEUED => return Phase::Queued,
                BOARDED => return boarded(self.place.load(Ordering::Relaxed)),
                ENDING => yield_now(),
                _ => return Phase::Finished,
            }
        }
    }

    #[inline(always)]
    pub(crate) fn is_finished(&self) -> bool {
        self.phase.load(Ordering::Acquire) > ENDING
    }

    /// Whether it has ended, its outcome was not taken, and something failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.phase.load(Ordering::Acquire) == FAILED
    }

    /// It is in a slot of its own now. Called under the engine's lock, before its end.
    pub(crate) fn board(&self, together: &Together, slot: u32, generation: u64) {
        self.place.store(place_of(slot, generation), Ordering::Relaxed);
        self.enter(together, BOARDED);
    }

    /// It waits for a slot of its own. Called under the engine's lock, before its end.
    pub(crate) fn requeue(&self, together: &Together) {
        self.enter(together, QUEUED);
    }

    fn enter(&self, together: &Together, phase: u32) {
        self.phase.store(phase, Ordering::SeqCst);
        together.wake_sleepers(&self.phase);
    }

    /// It is in a queue, under this number. Called under the engine's lock.
    ///
    /// A thread that has just seen that it is in a slot may read this in place of the slot: it stands for no generation of the first one.
    pub(crate) fn set_number(&self, number: u64) {
        self.place.store(number << 16, Ordering::Relaxed);
    }

    /// The number under which it was put into a queue last, if it is in one. Called under the engine's lock.
    pub(crate) fn number(&self) -> u64 {
        self.place.load(Ordering::Relaxed) >> 16
    }

    /// What an engine knows it by that has no slots.
    pub(crate) fn set_name(&self, name: u64) {
        self.place.store(name, Ordering::Relaxed);
    }

    pub(crate) fn name(&self) -> u64 {
        self.place.load(Ordering::Relaxed)
    }

    /// It has ended. `meanwhile` is called before that can be seen. False if it had ended before, by which nothing happens.
    #[inline]
    pub(crate) fn finish(&self, together: &Together, outcome: T, failed: bool, meanwhile: impl FnOnce()) -> bool {
        if !self.begin_to_end() {
            return false;
        }
        // SAFETY: this thread has made the phase `ENDING`; see `Sync`.
        self.outcome.with_mut(|there| unsafe { *there = Some(outcome) });
        meanwhile();
        self.phase.store(if failed { FAILED } else { FINISHED }, Ordering::Release);
        // A sleeper has counted itself in before it looked at the phase, or it has seen `ENDING`, by which it does not sleep.
        together.wake_sleepers(&self.phase);
        true
    }

    #[inline]
    fn begin_to_end(&self) -> bool {
        loop {
            let now = self.phase.load(Ordering::Relaxed);
            if now >= ENDING {
                return false;
            }
            if self.phase.compare_exchange(now, ENDING, Ordering::SeqCst, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
    }

    /// Makes the phase `next`, if the outcome is here. Gives the phase before.
    #[inline]
    fn go_to(&self, next: u32) -> Option<u32> {
        loop {
            let now = self.phase.load(Ordering::Relaxed);
            match now {
                FINISHED | FAILED => {
                    if self.phase.compare_exchange(now, next, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                        return Some(now);
                    }
                }
                LOOKED => yield_now(),
                _ => return None,
            }
        }
    }

    /// Looks at the outcome, if it is here.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&T) -> R) -> Option<R> {
        struct Leaves<'r, T>(&'r Record<T>, u32);
        impl<T> Drop for Leaves<'_, T> {
            fn drop(&mut self) {
                self.0.phase.store(self.1, Ordering::Release);
            }
        }
        let before = self.go_to(LOOKED)?;
        let _leaves = Leaves(self, before);
        // SAFETY: this thread has made the phase `LOOKED`; see `Sync`.
        self.outcome.with_mut(|there| unsafe { (*there).as_ref().map(look) })
    }

    /// The outcome, once.
    #[inline]
    pub(crate) fn take(&self) -> Option<T> {
        self.go_to(TAKEN)?;
        // SAFETY: this thread has made the phase `TAKEN`, which no other can do again; see `Sync`.
        self.outcome.with_mut(|there| unsafe { (*there).take() })
    }

    /// Sleeps while it waits for a slot.
    pub(crate) fn sleep_while_queued(&self, together: &Together, deadline: Option<Instant>) {
        together.sleepers.fetch_add(1, Ordering::SeqCst);
        between_ordered_steps();
        let phase = self.phase.load(Ordering::SeqCst);
        let waits = phase == QUEUED || (phase == WITH_OTHERS && together.place.load(Ordering::SeqCst) == 0);
        if waits {
            futex::wait(&self.phase, phase, deadline);
        }
        together.sleepers.fetch_sub(1, Ordering::SeqCst);
    }
}
