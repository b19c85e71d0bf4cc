//! The protocols of the board under the model checker loom: every order in which the steps of a few threads can happen.
//!
//! The files are those of the runtime; only the atomics are loom's. `cargo test -p parallel-test-model --release`

#![cfg(test)]
#![allow(dead_code, unreachable_pub, reason = "the model uses part of what the runtime uses")]

mod sync {
    pub(crate) use loom::sync::atomic;

    pub(crate) fn between_ordered_steps() {
        atomic::fence(atomic::Ordering::SeqCst);
    }
}

#[path = "../../../../parallel-runtime/src/process/board/meeting.rs"]
mod meeting;
#[path = "../../../../parallel-runtime/src/process/board/ring.rs"]
mod ring;
#[path = "../../../../parallel-runtime/src/process/board/sleep.rs"]
mod sleep;
#[path = "../../../../parallel-runtime/src/process/board/word.rs"]
mod word;

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;
use ring::{Claim, Ring};
use sleep::Sleepers;
use word::{State, Word};

struct Board {
    head: AtomicU64,
    tail: AtomicU64,
    entries: Vec<AtomicU64>,
    words: Vec<AtomicU64>,
    sleepers: Vec<AtomicU64>,
    wake: AtomicU32,
}

impl Board {
    fn new(slots: usize) -> Arc<Self> {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self {
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            entries: zeros(2 * slots),
            words: zeros(slots),
            sleepers: zeros(1),
            wake: AtomicU32::new(0),
        })
    }

    fn ring(&self) -> Ring<'_> {
        Ring { head: &self.head, tail: &self.tail, entries: &self.entries }
    }

    fn publish(&self, slot: u32, generation: u64) {
        self.words[slot as usize].store(Word::ready(generation).0, Ordering::Release);
        self.ring().publish(slot, generation);
    }

    fn claim(&self, worker: u32) -> Claim {
        self.ring().claim(worker, |slot| self.words.get(slot as usize))
    }
}

#[test]
fn two_workers_never_claim_the_same_task_and_leave_none() {
    loom::model(|| {
        let board = Board::new(2);
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                let board = Arc::clone(&board);
                thread::spawn(move || match board.claim(worker) {
                    Claim::Slot(slot, _) => vec![slot],
                    Claim::Empty => vec![],
                })
            })
            .collect();
        board.publish(0, 1);
        board.publish(1, 1);
        let mut claimed: Vec<u32> = workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect();
        while let Claim::Slot(slot, _) = board.claim(7) {
            claimed.push(slot);
        }
        claimed.sort_unstable();
        assert_eq!(claimed, [0, 1]);
    });
}

#[test]
fn a_task_is_either_cancelled_or_claimed_and_its_slot_can_be_used_again() {
    loom::model(|| {
        let board = Board::new(1);
        board.publish(0, 1);
        let worker = {
            let board = Arc::clone(&board);
            thread::spawn(move || board.claim(3))
        };
        let (ready, free) = (Word::ready(1).0, Word::free(1).0);
        let cancelled = board.words[0].compare_exchange(ready, free, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if cancelled {
            board.publish(0, 2);
        }
        match worker.join().unwrap() {
            Claim::Slot(0, 1) => assert!(!cancelled),
            Claim::Slot(0, 2) => assert!(cancelled),
            Claim::Slot(..) => unreachable!("there is one slot"),
            Claim::Empty => {
                assert!(cancelled, "a task that nobody cancelled was missed");
                assert_eq!(board.claim(4), Claim::Slot(0, 2));
            }
        }
    });
}

#[test]
fn no_task_is_published_to_workers_that_sleep() {
    loom::model(|| {
        let board = Board::new(1);
        let worker = {
            let board = Arc::clone(&board);
            thread::spawn(move || {
                let sleepers = Sleepers(&board.sleepers);
                loop {
                    if let Claim::Slot(slot, _) = board.claim(0) {
                        return slot;
                    }
                    sleepers.announce(0);
                    if board.ring().may_have_work() && sleepers.withdraw(0) {
                        continue;
                    }
                    // The futex. Loom finds the executions in which this waits for ever.
                    while board.wake.load(Ordering::Acquire) == 0 {
                        thread::yield_now();
                    }
                    board.wake.store(0, Ordering::Relaxed);
                }
            })
        };
        board.publish(0, 1);
        if Sleepers(&board.sleepers).pick(1).is_some() {
            board.wake.store(1, Ordering::Release);
        }
        assert_eq!(worker.join().unwrap(), 0);
    });
}

#[test]
fn whoever_sleeps_until_a_task_is_done_is_woken() {
    loom::model(|| {
        let word = Arc::new(AtomicU64::new(Word::claimed(1, 5).0));
        let waiter = Arc::new(AtomicU32::new(0));
        let worker = {
            let (word, waiter) = (Arc::clone(&word), Arc::clone(&waiter));
            thread::spawn(move || meeting::complete(&word, Word::done(1, 5), &waiter))
        };
        let sleeps = meeting::announce(&word, 5, &waiter);
        let wakes = worker.join().unwrap();
        // If it goes to sleep on the old word, either the futex sees that the word has changed, or the worker wakes it: in
        // both cases the worker must have seen the announcement.
        if let Some(seen) = sleeps {
            assert_eq!(seen, Word::claimed(1, 5));
            assert!(wakes, "a sleeper that nobody wakes");
        } else {
            assert_eq!(Word(word.load(Ordering::SeqCst)).state(), State::Done);
        }
    });
}
