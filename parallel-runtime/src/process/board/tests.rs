//! Tests of the board's parts, one step after the other; `tests/crates/model` checks them in parallel.

use super::ring::{Claim, Ring};
use super::word::Word;
use super::word::{GENERATION, State};
use std::sync::atomic::{AtomicU64, Ordering};

struct Fixture {
    head: AtomicU64,
    tail: AtomicU64,
    entries: Vec<AtomicU64>,
    words: Vec<AtomicU64>,
}

impl Fixture {
    fn new(slots: usize) -> Self {
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self { head: AtomicU64::new(0), tail: AtomicU64::new(0), entries: zeros(2 * slots), words: zeros(slots) }
    }
    fn ring(&self) -> Ring<'_> {
        Ring { head: &self.head, tail: &self.tail, entries: &self.entries }
    }
    fn publish(&self, slot: u32, generation: u64) {
        self.words[slot as usize].store(Word::ready(generation).0, Ordering::Relaxed);
        self.ring().publish(slot, generation);
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
fn a_worker_that_died_before_it_moved_the_head_stops_nobody() {
    let board = Fixture::new(4);
    board.publish(3, 1);
    board.publish(1, 1);
    board.words[3].store(Word::claimed(9, 1).0, Ordering::Relaxed);
    assert_eq!(board.claim(0), Claim::Slot(1, 1));
}

#[test]
fn cancelled_entries_do_not_fill_the_ring() {
    let (board, mut seen) = (Fixture::new(1), 0);
    for generation in 1..100 {
        assert!(board.ring().has_room(&mut seen, |slot| board.words.get(slot as usize)));
        board.publish(0, generation);
        board.words[0].store(Word::free(generation).0, Ordering::Relaxed);
    }
}

#[test]
fn a_ring_of_live_entries_is_full() {
    let (board, mut seen) = (Fixture::new(2), 0);
    for entry in 0..4 {
        assert!(board.ring().has_room(&mut seen, |slot| board.words.get(slot as usize)));
        board.publish(0, entry + 1);
        board.words[0].store(Word::ready(1).0, Ordering::Relaxed);
    }
    assert!(!board.ring().has_room(&mut seen, |slot| board.words.get(slot as usize)));
}

#[test]
fn an_entry_for_a_slot_that_does_not_exist_is_stepped_over() {
    let board = Fixture::new(2);
    board.ring().publish(60_000, 1);
    assert_eq!(board.claim(0), Claim::Empty);
}

#[test]
fn a_word_holds_state_worker_and_generation() {
    let word = Word::claimed(1023, 0x1234_5678_9abc);
    assert_eq!((word.state(), word.worker(), word.generation()), (State::Claimed, 1023, 0x1234_5678_9abc));
    assert_eq!(Word::ready(GENERATION + 5).generation(), 4);
}
