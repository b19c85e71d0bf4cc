//! The order in which tasks were published, and how a worker claims one.
//!
//! A ring of entries `generation | slot`, written by the program alone at `tail`. `head` is a hint: entries before it are
//! taken. A worker looks at the entry at `head`, claims its slot by compare-and-swap on the *slot's* word, and only then moves
//! `head` on; so the claim itself names its owner, and a worker that dies between the two steps leaves an entry whose slot is
//! no longer READY, which the next worker steps over.
//!
//! An entry can be overtaken: its task was cancelled, or another worker had read the same entry before. Its generation then
//! does not match, and it is stepped over too. A worker that read an entry, and finds that the ring has meanwhile gone round,
//! may claim a task a little before its turn: that is harmless, its own entry will be stepped over.
//!
//! Because entries leave in order and are only added for slots, the ring never holds more entries than there are slots, but
//! for those of cancelled tasks; before it adds one, the program steps over such entries itself ([`Ring::has_room`]).
//!
//! # Memory ordering
//!
//! `tail` is stored with `Release` after the entry and the slot's word; loading it with `Acquire` makes both visible.

use super::word::Word;
use crate::sys::sync::atomic::{AtomicU64, Ordering};

/// Bits of a slot's index in an entry.
const SLOT_BITS: u32 = 16;

/// The ring's parts, in shared memory.
#[derive(Clone, Copy)]
pub(crate) struct Ring<'b> {
    pub(crate) head: &'b AtomicU64,
    pub(crate) tail: &'b AtomicU64,
    /// A power of two of them.
    pub(crate) entries: &'b [AtomicU64],
}

/// What a look at the ring found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// This slot is now ours, in this generation.
    Slot(u32, u64),
    /// There is nothing to do.
    Empty,
}

impl<'b> Ring<'b> {
    fn entry(&self, position: u64) -> &'b AtomicU64 {
        // The length is a power of two, so this is in range whatever `position` is.
        &self.entries[position as usize & (self.entries.len() - 1)]
    }

    /// Program: adds an entry for a slot whose word was set to `ready(generation)`. Only one thread at a time. `place` is the
    /// program's private note of where the ring ends and begins: what a worker may have written there is not believed.
    pub(crate) fn publish(&self, place: &mut Place, slot: u32, generation: u64) {
        self.entry(place.tail).store(entry(slot, generation), Ordering::Relaxed);
        place.tail = place.tail.wrapping_add(1);
        self.tail.store(place.tail, Ordering::Release);
    }

    /// Worker: claims the oldest task.
    pub(crate) fn claim(&self, worker: u32, word_of: impl Fn(u32) -> Option<&'b AtomicU64>) -> Claim {
        loop {
            let head = self.head.load(Ordering::Acquire);
            if head == self.tail.load(Ordering::Acquire) {
                return Claim::Empty;
            }
            let (slot, generation) = split(self.entry(head).load(Ordering::Relaxed));
            let claimed = word_of(slot).is_some_and(|word| {
                let ready = Word::ready(generation).0;
                let ours = Word::claimed(worker, generation).0;
                // The load keeps the cache line shared while there is nothing to claim.
                word.load(Ordering::Relaxed) == ready
                    && word.compare_exchange(ready, ours, Ordering::SeqCst, Ordering::Relaxed).is_ok()
            });
            // If the process stops here, the entry's slot is not READY any more, and the next worker moves `head` on.
            let _ = self.head.compare_exchange(head, head.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed);
            if claimed {
                return Claim::Slot(slot, generation);
            }
        }
    }

    /// About how much there is to claim.
    pub(crate) fn len(&self) -> u64 {
        self.tail.load(Ordering::Acquire).wrapping_sub(self.head.load(Ordering::Acquire))
    }

    /// Whether there may be something to claim.
    pub(crate) fn may_have_work(&self) -> bool {
        self.head.load(Ordering::Acquire) != self.tail.load(Ordering::Acquire)
    }

    /// Program: whether an entry can be added, after stepping over entries whose slots are not READY any more. As long as there
    /// is room behind the place that `head` is known to have reached, the shared word, which workers keep changing, need not
    /// be looked at.
    pub(crate) fn has_room(&self, place: &mut Place, word_of: impl Fn(u32) -> Option<&'b AtomicU64>) -> bool {
        let capacity = self.entries.len() as u64;
        if place.tail.wrapping_sub(place.head) < capacity {
            return true;
        }
        // Each round moves `head` on, or another process has; a worker that keeps setting it back is not waited for without end.
        for _ in 0..4 * capacity {
            let head = self.head.load(Ordering::Acquire);
            let used = place.tail.wrapping_sub(head);
            if used < capacity {
                place.head = head;
                return true;
            }
            if used > capacity {
                // Only a worker that misbehaves writes such a `head`. What is lost with it is found by `mend`.
                let _ = self.head.compare_exchange(head, place.tail, Ordering::AcqRel, Ordering::Relaxed);
                continue;
            }
            let (slot, generation) = split(self.entry(head).load(Ordering::Relaxed));
            let ready = Word::ready(generation).0;
            if word_of(slot).is_some_and(|word| word.load(Ordering::Acquire) == ready) {
                return false;
            }
            let _ = self.head.compare_exchange(head, head.wrapping_add(1), Ordering::AcqRel, Ordering::Relaxed);
        }
        false
    }

    /// Program: makes sure that the ring is as the program left it, but for entries that were taken: a worker may have written
    /// over it before it died. `missing` is asked for each slot whether it waits to be claimed; such a slot without an entry is
    /// published again. An entry that is there twice does no harm: its slot is claimed once.
    pub(crate) fn mend(
        &self,
        place: &mut Place,
        ready: &[(u32, u64)],
        word_of: impl Fn(u32) -> Option<&'b AtomicU64>,
    ) -> usize {
        let capacity = self.entries.len() as u64;
        let head = self.head.load(Ordering::Acquire);
        let used = place.tail.wrapping_sub(head);
        let mut there = std::collections::HashSet::new();
        if used <= capacity && self.tail.load(Ordering::Acquire) == place.tail {
            there.extend((0..used).map(|offset| split(self.entry(head.wrapping_add(offset)).load(Ordering::Relaxed))));
        } else {
            self.tail.store(place.tail, Ordering::Release);
            self.head.store(place.tail, Ordering::Release);
        }
        let mut published = 0;
        for &(slot, generation) in ready.iter().filter(|entry| !there.contains(*entry)) {
            if !self.has_room(place, &word_of) {
                break;
            }
            self.publish(place, slot, generation);
            published += 1;
        }
        published
    }
}

/// The program's private note of where the ring is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Where the next entry goes.
    pub(crate) tail: u64,
    /// Where `head` is known to have been.
    pub(crate) head: u64,
}

/// How a slot in use is named outside of it: `generation | slot`.
pub(crate) fn entry(slot: u32, generation: u64) -> u64 {
    generation << SLOT_BITS | u64::from(slot)
}

/// The slot and the generation of such a name.
pub(crate) fn split(entry: u64) -> (u32, u64) {
    (entry as u32 & ((1 << SLOT_BITS) - 1), entry >> SLOT_BITS)
}
