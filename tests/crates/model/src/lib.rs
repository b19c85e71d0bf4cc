//! The protocols of the board, and of what processes share, under the model checker loom: every order in which the steps of a few threads can happen.
//!
//! The files are those of the runtime; only the atomics are loom's. `cargo test -p parallel-test-model --release`

#![cfg(test)]
#![allow(dead_code, unreachable_pub, reason = "the model uses part of what the runtime uses")]

mod shared;
/// What the protocols use of the runtime.
mod sys;

#[path = "../../../../parallel-runtime/src/ipc/board/meeting.rs"]
mod meeting;
#[path = "../../../../parallel-runtime/src/remote/record.rs"]
mod record;
#[path = "../../../../parallel-runtime/src/ipc/board/ring.rs"]
mod ring;
#[path = "../../../../parallel-runtime/src/ipc/board/sleep.rs"]
mod sleep;
#[path = "../../../../parallel-runtime/src/ipc/board/terminate.rs"]
mod terminate;
#[path = "../../../../parallel-runtime/src/thread/turn.rs"]
mod turn;
#[path = "../../../../parallel-runtime/src/ipc/board/word.rs"]
mod word;

mod ending;
mod lock;
mod waiting;

mod error {
    /// Memory is never short here.
    #[derive(Debug)]
    pub(crate) enum TaskError {}
}

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use loom::thread;
use ring::{Claim, Place, Ring};
use sleep::Sleepers;
use word::{State, Word};

struct Board {
    head: AtomicU64,
    tail: AtomicU64,
    entries: Vec<AtomicU64>,
    words: Vec<AtomicU64>,
    sleepers: Vec<AtomicU64>,
    searching: Vec<AtomicU32>,
    wake: Vec<AtomicU32>,
    place: Private,
}

/// What only the program's thread touches.
struct Private(std::cell::Cell<Place>);

// SAFETY: in each test one thread alone publishes.
unsafe impl Sync for Private {}

impl std::ops::Deref for Private {
    type Target = std::cell::Cell<Place>;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
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
            searching: (0..2).map(|_| AtomicU32::new(0)).collect(),
            wake: (0..2).map(|_| AtomicU32::new(0)).collect(),
            place: Private(std::cell::Cell::default()),
        })
    }

    fn ring(&self) -> Ring<'_> {
        Ring { head: &self.head, tail: &self.tail, entries: &self.entries }
    }

    fn publish(&self, slot: u32, generation: u64) {
        self.words[slot as usize].store(Word::ready(generation).0, Ordering::Release);
        let mut place = self.place.get();
        self.ring().publish(&mut place, slot, generation);
        self.place.set(place);
    }

    fn wake_one(&self) {
        let awake = || self.searching.iter().any(|searching| searching.load(Ordering::Relaxed) != 0);
        if let Some(worker) = Sleepers(&self.sleepers).pick(2, awake) {
            self.wake[worker as usize].store(1, Ordering::Release);
        }
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
                assert!(cancelled, "a task that was not cancelled was missed");
                assert_eq!(board.claim(4), Claim::Slot(0, 2));
            }
        }
    });
}

/// A worker: claims one task, having rested as the runtime's workers do.
fn worker(board: &Board, index: u32) -> u32 {
    let sleepers = Sleepers(&board.sleepers);
    let searching = &board.searching[index as usize];
    loop {
        if let Claim::Slot(slot, _) = board.claim(index) {
            if board.ring().may_have_work() {
                board.wake_one();
            }
            return slot;
        }
        searching.store(1, Ordering::Relaxed);
        if board.ring().may_have_work() {
            searching.store(0, Ordering::Relaxed);
            sleep::settle();
            continue;
        }
        searching.store(0, Ordering::Relaxed);
        sleepers.announce(index);
        sleep::settle();
        if board.ring().may_have_work() && sleepers.withdraw(index) {
            continue;
        }
        // The futex. Loom finds the executions in which this wait never ends.
        while board.wake[index as usize].load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        board.wake[index as usize].store(0, Ordering::Relaxed);
    }
}

#[test]
fn no_task_is_published_to_a_worker_that_sleeps() {
    loom::model(|| {
        let board = Board::new(1);
        let theirs = Arc::clone(&board);
        let worker = thread::spawn(move || worker(&theirs, 0));
        board.publish(0, 1);
        board.wake_one();
        assert_eq!(worker.join().unwrap(), 0);
    });
}

#[test]
fn two_tasks_reach_two_workers_that_may_both_sleep() {
    let mut model = loom::model::Builder::new();
    // All executions would take hours.
    model.preemption_bound = Some(1);
    model.max_branches = 10_000;
    model.check(|| {
        let board = Board::new(2);
        let workers: Vec<_> = (0..2)
            .map(|index| {
                let board = Arc::clone(&board);
                thread::spawn(move || worker(&board, index))
            })
            .collect();
        board.publish(0, 1);
        board.wake_one();
        board.publish(1, 1);
        board.wake_one();
        let mut claimed: Vec<u32> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        claimed.sort_unstable();
        assert_eq!(claimed, [0, 1]);
    });
}

#[test]
fn sleepers_until_a_task_is_done_are_woken() {
    loom::model(|| {
        let word = Arc::new(AtomicU64::new(Word::claimed(1, 5).0));
        let waiter = Arc::new(AtomicU32::new(0));
        let worker = {
            let (word, waiter) = (Arc::clone(&word), Arc::clone(&waiter));
            thread::spawn(move || meeting::complete(&word, Word::claimed(1, 5), Word::done(1, 5), &waiter))
        };
        let sleeps = meeting::announce(&word, 5, &waiter);
        let wakes = worker.join().unwrap();
        // If it goes to sleep on the old word, either the futex sees that the word has changed, or the worker wakes it: in
        // both cases the worker must have seen the announcement.
        if let Some(seen) = sleeps {
            assert_eq!(seen, Word::claimed(1, 5));
            assert!(wakes, "a sleeper that is not woken");
        } else {
            assert_eq!(Word(word.load(Ordering::SeqCst)).state(), State::Done);
        }
    });
}

#[test]
fn a_worker_that_is_terminating_begins_nothing_after_the_task_that_it_is_terminating_for() {
    loom::model(|| {
        let word = Arc::new(AtomicU64::new(Word::claimed(1, 5).0));
        let terminating = Arc::new(AtomicU32::new(0));
        let waiter = Arc::new(AtomicU32::new(0));
        let worker = {
            let (word, terminating, waiter) = (Arc::clone(&word), Arc::clone(&terminating), Arc::clone(&waiter));
            thread::spawn(move || {
                meeting::complete(&word, Word::claimed(1, 5), Word::done(1, 5), &waiter);
                // True if it would go on to the next task.
                !terminate::is_terminating(&terminating)
            })
        };
        let still_runs = || Word(word.load(Ordering::SeqCst)) == Word::claimed(1, 5);
        let ended = terminate::terminate(&terminating, still_runs, || ());
        let goes_on = worker.join().unwrap();
        assert!(!(ended && goes_on), "it would be ended in the middle of another task");
        assert_eq!(terminating.load(Ordering::SeqCst), u32::from(ended), "a worker that is not ended is pardoned");
    });
}

#[test]
fn a_worker_that_is_ended_because_it_had_nothing_begins_nothing_that_it_claims() {
    loom::model(|| {
        let board = Board::new(1);
        let terminating = Arc::new(AtomicU32::new(0));
        board.publish(0, 1);
        let worker = {
            let (board, terminating) = (Arc::clone(&board), Arc::clone(&terminating));
            thread::spawn(move || {
                let claimed = matches!(board.ring().claim(0, |slot| board.words.get(slot as usize)), Claim::Slot(..));
                claimed && !terminate::is_terminating(&terminating)
            })
        };
        let holds_nothing = || Word(board.words[0].load(Ordering::SeqCst)).state() != State::Claimed;
        let ended = terminate::terminate(&terminating, holds_nothing, || ());
        let begins = worker.join().unwrap();
        assert!(!(ended && begins), "its task would die with it");
    });
}

/// A future that is woken is polled afterwards, by one thread at a time, and not more often than it was woken.
#[test]
fn a_future_that_is_woken_is_polled_once_more() {
    const WAKERS: u32 = 2;
    let mut model = loom::model::Builder::new();
    // All orders of three threads take minutes.
    model.preemption_bound = Some(3);
    model.check(|| {
        struct Future {
            turn: turn::Turn,
            /// What the wakers have done, and what polls have seen of it.
            done: AtomicU32,
            seen: AtomicU32,
            polling: AtomicU32,
            polls: AtomicU32,
        }
        impl Future {
            /// What a thread of the pool does with it.
            fn poll(&self) {
                loop {
                    self.turn.begin();
                    assert_eq!(self.polling.fetch_add(1, Ordering::Relaxed), 0, "two threads poll it");
                    self.polls.fetch_add(1, Ordering::Relaxed);
                    self.seen.store(self.done.load(Ordering::Relaxed), Ordering::Relaxed);
                    self.polling.fetch_sub(1, Ordering::Relaxed);
                    if !self.turn.rest() {
                        return;
                    }
                }
            }
        }
        let future = Arc::new(Future {
            turn: turn::Turn::new(),
            done: AtomicU32::new(0),
            seen: AtomicU32::new(0),
            polling: AtomicU32::new(0),
            polls: AtomicU32::new(0),
        });
        let wakers: Vec<_> = (0..WAKERS)
            .map(|_| {
                let future = Arc::clone(&future);
                thread::spawn(move || {
                    future.done.fetch_add(1, Ordering::Relaxed);
                    if future.turn.wake() {
                        // It is sent to the pool: this thread is one of it.
                        future.poll();
                    }
                })
            })
            .collect();
        future.poll();
        for waker in wakers {
            waker.join().unwrap();
        }
        assert_eq!(future.seen.load(Ordering::Relaxed), WAKERS, "a wake was lost");
        assert!(future.polls.load(Ordering::Relaxed) <= 1 + WAKERS);
    });
}
