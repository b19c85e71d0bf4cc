//! `SharedBarrier`.
//!
//! Under a lock: how many have arrived, and in the words who they are. The last one sets the number back and changes the round, on which
//! the others sleep. The process that sleeps looks from time to time whether all that have arrived still live; if not, the barrier is
//! broken, since a process that has died will not do what comes after it.

use std::fmt;
use std::time::{Duration, Instant};

use super::object::{Header, Words, handle};
use crate::error::TaskError;
use crate::shared::broken::BrokenBarrier;
use crate::shared::lock::{Holding, Lock, Taken, sleep};
use crate::shared::or_panic::or_panic;
use crate::shared::tables::{Kind, Token};
use crate::sys::futex;
use crate::sys::spin::spin;
use crate::sys::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A point where a number of processes wait for each other: Python's `multiprocessing.Barrier`.
///
/// A clone is another handle of the same barrier. It can be used again and again. The waiting tasks each need a worker of their own.
///
/// ```
/// use parallel_runtime::{SharedBarrier, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn step(barrier: SharedBarrier) -> bool {
///     barrier.wait().unwrap() // true for one of them
/// }
///
/// let barrier = SharedBarrier::new(2);
/// let leaders = step::map([barrier.clone(), barrier]);
/// assert_eq!(leaders.iter().filter(|leader| **leader).count(), 1);
/// ```
#[doc(alias("Barrier"))]
pub struct SharedBarrier {
    words: Words<Head>,
}

#[derive(Default)]
#[repr(C)]
struct Head {
    lock: Lock,
    arrived: AtomicU32,
    /// Counts; those who wait sleep on it.
    round: AtomicU32,
    broken: AtomicU32,
    _padding: u32,
    /// How the last 64 rounds have ended: bit `round % 64` is set for one that was broken. For those who come to look late.
    outcomes: AtomicU64,
}

// SAFETY: it is a lock, atomics and a number, aligned to a word.
unsafe impl Header for Head {
    const KIND: Kind = Kind::Barrier;
}

handle!(SharedBarrier, words: Words<Head>);

impl SharedBarrier {
    /// A barrier for so many.
    ///
    /// # Panics
    ///
    /// If `parties` is 0, or more than 2^20. If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn new(parties: usize) -> Self {
        or_panic(Self::try_new(parties))
    }

    /// [`new`](SharedBarrier::new), with an error if shared memory is short.
    ///
    /// # Panics
    ///
    /// If `parties` is 0, or more than 2^20.
    #[track_caller]
    pub fn try_new(parties: usize) -> Result<Self, TaskError> {
        assert!((1..=1 << 20).contains(&parties), "a barrier is for 1 to 2^20 parties, not for {parties}");
        Ok(Self { words: Words::new(parties)? })
    }

    /// How many wait for each other.
    pub fn parties(&self) -> usize {
        self.words.words().len()
    }

    fn lock(&self) -> Holding<'_> {
        let head = self.words.head();
        let (holding, taken) = Holding::briefly(&head.lock, Words::<Head>::space());
        if taken == Taken::FromTheDead {
            // It may have been half-way in or out.
            self.break_locked();
        }
        holding
    }

    /// The process that waits goes on, and is told.
    fn break_locked(&self) {
        let head = self.words.head();
        head.broken.store(1, Ordering::SeqCst);
        self.end_round(true);
    }

    /// With the lock. If the process dies in here, the process that takes the lock from it breaks the round, or the one after it, for which no process
    /// has come yet.
    fn end_round(&self, broken: bool) {
        let head = self.words.head();
        head.arrived.store(0, Ordering::SeqCst);
        let bit = 1 << (head.round.load(Ordering::SeqCst) % 64);
        if broken {
            head.outcomes.fetch_or(bit, Ordering::SeqCst);
        } else {
            head.outcomes.fetch_and(!bit, Ordering::SeqCst);
        }
        head.round.fetch_add(1, Ordering::SeqCst);
        futex::wake_all(&head.round);
    }

    /// Waits until all have come. True for one of them: the one that came last.
    ///
    /// # Errors
    ///
    /// [`BrokenBarrier`] if a process that has waited here died, or one has waited too long.
    pub fn wait(&self) -> Result<bool, BrokenBarrier> {
        self.wait_until(None)
    }

    /// [`wait`](SharedBarrier::wait), but not longer than `limit`: then the barrier is broken for all.
    ///
    /// # Errors
    ///
    /// [`BrokenBarrier`], as for [`wait`](SharedBarrier::wait).
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool, BrokenBarrier> {
        self.wait_until(Instant::now().checked_add(limit))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<bool, BrokenBarrier> {
        let (head, words, space) = (self.words.head(), self.words.words(), Words::<Head>::space());
        let round = {
            let _holding = self.lock();
            if self.look_locked() {
                return Err(BrokenBarrier);
            }
            let arrived = head.arrived.load(Ordering::SeqCst) as usize;
            let Some(word) = words.get(arrived) else {
                self.break_locked();
                return Err(BrokenBarrier);
            };
            word.store(space.me().bits(), Ordering::SeqCst);
            if arrived + 1 == words.len() {
                self.end_round(false);
                return Ok(true);
            }
            head.arrived.store(arrived as u32 + 1, Ordering::SeqCst);
            head.round.load(Ordering::SeqCst)
        };
        let over = || head.round.load(Ordering::SeqCst) != round;
        spin(over);
        while !over() {
            let late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let holding = self.lock();
            if !over() && late {
                self.break_locked();
            }
            self.look_locked();
            if over() {
                break;
            }
            drop(holding);
            sleep(&head.round, round, deadline);
        }
        let broken = head.outcomes.load(Ordering::SeqCst) & 1 << (round % 64) != 0;
        if broken { Err(BrokenBarrier) } else { Ok(false) }
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        let _holding = self.lock();
        self.look_locked()
    }

    /// Whether it is broken, by now also because one of those who wait is dead.
    fn look_locked(&self) -> bool {
        let (head, words, space) = (self.words.head(), self.words.words(), Words::<Head>::space());
        let arrived = (head.arrived.load(Ordering::SeqCst) as usize).min(words.len());
        let lives = |word: &AtomicU64| space.is_living(Token::from_bits(word.load(Ordering::SeqCst)));
        if !words[..arrived].iter().all(lives) {
            self.break_locked();
        }
        head.broken.load(Ordering::SeqCst) != 0
    }

    /// Makes it as new. The process that waits is told that it was broken.
    pub fn reset(&self) {
        let _holding = self.lock();
        let head = self.words.head();
        if head.arrived.load(Ordering::SeqCst) != 0 {
            self.break_locked();
        }
        head.broken.store(0, Ordering::SeqCst);
    }
}

impl fmt::Debug for SharedBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedBarrier").field("parties", &self.parties()).field("broken", &self.is_broken()).finish()
    }
}
