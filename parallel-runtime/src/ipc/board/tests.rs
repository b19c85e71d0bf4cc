//! Tests of the board's parts, one step after the other; `tests/crates/model` checks them in parallel.

use super::ring::{Claim, Place, Ring};
use super::word::Word;
use super::word::{GENERATION, State};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

struct Fixture {
    head: AtomicU64,
    tail: AtomicU64,
    entries: Vec<AtomicU64>,
    words: Vec<AtomicU64>,
    place: Cell<Place>,
}

impl Fixture {
    fn new(slots: usize) -> Self {
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            entries: zeros(2 * slots),
            words: zeros(slots),
            place: Cell::default(),
        }
    }
    fn ring(&self) -> Ring<'_> {
        Ring { head: &self.head, tail: &self.tail, entries: &self.entries }
    }
    fn publish(&self, slot: u32, generation: u64) {
        self.words[slot as usize].store(Word::ready(generation).0, Ordering::Relaxed);
        self.enter(slot, generation);
    }
    fn enter(&self, slot: u32, generation: u64) {
        let mut place = self.place.get();
        self.ring().publish(&mut place, slot, generation);
        self.place.set(place);
    }
    fn has_room(&self) -> bool {
        let mut place = self.place.get();
        let room = self.ring().has_room(&mut place, |slot| self.words.get(slot as usize));
        self.place.set(place);
        room
    }
    fn mend(&self, ready: &[(u32, u64)]) -> usize {
        let mut place = self.place.get();
        let published = self.ring().mend(&mut place, ready, |slot| self.words.get(slot as usize));
        self.place.set(place);
        published
    }
    fn claim(&self, worker: u32) -> Claim {
        self.ring().claim(worker, |slot| self.words.get(slot as usize))
    }
}

#[test]
fn tasks_are_claimed_in_order_and_once() {
    let board = Fixture::new(4);
    board.publish(2, 7);
    board.publish(0, 9);
    assert_eq!(board.claim(5), Claim::Slot(2, 7));
    assert_eq!(Word(board.words[2].load(Ordering::Relaxed)), Word::claimed(5, 7));
    assert_eq!(board.claim(5), Claim::Slot(0, 9));
    assert_eq!(board.claim(5), Claim::Empty);
}

#[test]
fn a_cancelled_task_is_stepped_over() {
    let board = Fixture::new(4);
    board.publish(1, 1);
    board.words[1].store(Word::free(1).0, Ordering::Relaxed);
    board.publish(1, 2);
    assert_eq!(board.claim(0), Claim::Slot(1, 2));
    assert_eq!(board.claim(0), Claim::Empty);
}

#[test]
fn a_worker_that_died_before_it_moved_the_head_blocks_no_other() {
    let board = Fixture::new(4);
    board.publish(3, 1);
    board.publish(1, 1);
    board.words[3].store(Word::claimed(9, 1).0, Ordering::Relaxed);
    assert_eq!(board.claim(0), Claim::Slot(1, 1));
}

#[test]
fn cancelled_entries_do_not_fill_the_ring() {
    let board = Fixture::new(1);
    for generation in 1..100 {
        assert!(board.has_room());
        board.publish(0, generation);
        board.words[0].store(Word::free(generation).0, Ordering::Relaxed);
    }
}

#[test]
fn a_ring_of_live_entries_is_full() {
    let board = Fixture::new(2);
    for entry in 0..4 {
        assert!(board.has_room());
        board.publish(0, entry + 1);
        board.words[0].store(Word::ready(1).0, Ordering::Relaxed);
    }
    assert!(!board.has_room());
}

#[test]
fn an_entry_for_a_slot_that_does_not_exist_is_stepped_over() {
    let board = Fixture::new(2);
    board.enter(60_000, 1);
    assert_eq!(board.claim(0), Claim::Empty);
}

#[test]
fn a_word_holds_state_worker_and_generation() {
    let word = Word::claimed(1023, 0x1234_5678_9abc);
    assert_eq!((word.state(), word.worker(), word.generation()), (State::Claimed, 1023, 0x1234_5678_9abc));
    assert_eq!(Word::ready(GENERATION + 5).generation(), 4);
}

#[test]
fn a_ring_that_was_written_over_is_mended() {
    let board = Fixture::new(4);
    for slot in 0..4 {
        board.publish(slot, 1);
    }
    assert_eq!(board.claim(0), Claim::Slot(0, 1));
    assert_eq!(board.mend(&[(1, 1), (2, 1), (3, 1)]), 0, "nothing is missing");
    board.head.store(u64::MAX / 3, Ordering::Relaxed);
    board.tail.store(77, Ordering::Relaxed);
    board.entries.iter().for_each(|entry| entry.store(u64::MAX, Ordering::Relaxed));
    assert_eq!(board.mend(&[(1, 1), (2, 1), (3, 1)]), 3);
    for slot in 1..4 {
        assert_eq!(board.claim(0), Claim::Slot(slot, 1));
    }
    assert_eq!(board.claim(0), Claim::Empty);
}

#[test]
fn a_head_that_runs_away_does_not_hold_the_program_up() {
    let board = Fixture::new(2);
    for step in 0..100 {
        board.head.store(step * 1_000_003, Ordering::Relaxed);
        let _ = board.has_room();
        board.publish(0, step + 1);
    }
}
