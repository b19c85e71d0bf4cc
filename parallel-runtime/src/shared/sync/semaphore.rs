//! `SharedSemaphore`.
//!
//! One word for each permit: 0, or the [`Token`] of the process that has it, or [`NO_PROCESS`]. A permit is taken and given back by one
//! compare-and-swap or store, so there is no instant at which it belongs to no process. The process that finds none free looks whether a holder is dead, and
//! takes over from it.
//!
//! Giving back changes `released` and then looks for waiters; a waiter says that it waits and then sleeps only if `released` is what it
//! was. All four steps are sequentially consistent, so one of the two sees the other.

use std::fmt;
use std::time::{Duration, Instant};

use super::object::{Header, Words, handle};
use crate::error::TaskError;
use crate::shared::lock::{check_fork, sleep};
use crate::shared::or_panic::or_panic;
use crate::shared::tables::{Kind, Token};
use crate::sys::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sys::sync::between_ordered_steps;
use crate::sys::{fork, futex};

/// A number of permits that processes take and give back: Python's `multiprocessing.Semaphore`. So many do something at one time, and no
/// more.
///
/// A clone is another handle of the same semaphore. The permits of a process that dies are free again. A permit is given back when it is
/// dropped; for one process to take it and another to give it back, see [`with_limit`](SharedSemaphore::with_limit).
///
/// ```
/// use parallel_runtime::{SharedSemaphore, parallel, shared};
///
/// #[shared]
/// static DOWNLOADS: SharedSemaphore = SharedSemaphore::new(2);
///
/// #[parallel(mode = "process", pool = 4)]
/// fn download(page: u32) -> u32 {
///     let _permit = DOWNLOADS.acquire(); // two at a time
///     page
/// }
/// assert_eq!(download::map(0..4), [0, 1, 2, 3]);
/// ```
#[doc(alias("Semaphore", "BoundedSemaphore"))]
pub struct SharedSemaphore {
    words: Words<Head>,
}

#[derive(Default)]
#[repr(C, align(8))]
struct Head {
    /// Changes whenever a permit is given back; those who wait sleep on it.
    released: AtomicU32,
    /// How many wait; one more for each that died while it waited.
    waiting: AtomicU32,
}

// SAFETY: it is atomics, aligned to a word.
unsafe impl Header for Head {
    const KIND: Kind = Kind::Semaphore;
}

handle!(SharedSemaphore, words: Words<Head>);

/// The permit is taken, and belongs to no process: only [`SharedSemaphore::release`] gives it back.
const NO_PROCESS: u64 = u64::MAX;

/// The most permits.
const MOST: usize = 1 << 20;

/// A permit, which is given back when this is dropped.
#[must_use = "the permit is given back when this is dropped"]
pub struct SharedPermit<'s> {
    semaphore: &'s SharedSemaphore,
    permit: usize,
}

impl SharedSemaphore {
    /// A semaphore with so many permits, all free.
    ///
    /// # Panics
    ///
    /// If `permits` is 0 (no process could ever take one: see [`with_limit`](SharedSemaphore::with_limit)), or more than 2^20. If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn new(permits: usize) -> Self {
        or_panic(Self::try_new(permits))
    }

    /// [`new`](SharedSemaphore::new), with an error if shared memory is short.
    ///
    /// # Panics
    ///
    /// If `permits` is 0 or more than 2^20.
    #[track_caller]
    pub fn try_new(permits: usize) -> Result<Self, TaskError> {
        Self::try_with_limit(permits, permits)
    }

    /// A semaphore of which `free` permits are free, and [`release`](SharedSemaphore::release) makes more, up to `limit`: with none free
    /// at first, one process waits for what another has done.
    ///
    /// ```
    /// use parallel_runtime::{SharedSemaphore, parallel};
    ///
    /// #[parallel(mode = "process", pool = 1)]
    /// fn produce(ready: SharedSemaphore) {
    ///     ready.release(); // once for each thing that is there
    ///     ready.release();
    /// }
    ///
    /// let ready = SharedSemaphore::with_limit(0, 100);
    /// produce(ready.clone());
    /// ready.acquire().forget(); // taken for good
    /// assert_eq!(ready.available(), 1);
    /// ```
    ///
    /// # Panics
    ///
    /// If `limit` is 0, less than `free`, or more than 2^20. If shared memory is short.
    #[track_caller]
    pub fn with_limit(free: usize, limit: usize) -> Self {
        or_panic(Self::try_with_limit(free, limit))
    }

    /// [`with_limit`](SharedSemaphore::with_limit), with an error if shared memory is short.
    ///
    /// # Panics
    ///
    /// If `limit` is 0, less than `free`, or more than 2^20.
    #[track_caller]
    pub fn try_with_limit(free: usize, limit: usize) -> Result<Self, TaskError> {
        assert!(
            limit > 0,
            "a semaphore without permits could never be acquired: `with_limit(0, limit)` begins without permits"
        );
        assert!(limit <= MOST, "a semaphore has {MOST} permits at most, and {limit} were asked for");
        assert!(free <= limit, "{free} permits cannot be free where the limit is {limit}");
        let semaphore = Self { words: Words::new(limit)? };
        semaphore.words.words()[free..].iter().for_each(|word| word.store(NO_PROCESS, Ordering::Relaxed));
        Ok(semaphore)
    }

    /// Gives back a permit that was [forgotten](SharedPermit::forget), or was not free at first. It may be another process that took
    /// it. False if there is none: then nothing happens.
    pub fn release(&self) -> bool {
        check_fork();
        let free = |word: &AtomicU64| word.compare_exchange(NO_PROCESS, 0, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        let released = self.words.words().iter().any(free);
        if released {
            self.wake();
        }
        released
    }

    /// A permit is free.
    fn wake(&self) {
        let head = self.words.head();
        head.released.fetch_add(1, Ordering::SeqCst);
        between_ordered_steps();
        if head.waiting.load(Ordering::SeqCst) != 0 {
            futex::wake(&head.released, 1);
        }
    }

    /// Returns the number of free permits.
    pub fn available(&self) -> usize {
        let space = Words::<Head>::space();
        let free = |word: u64| word == 0 || (word != NO_PROCESS && !space.is_living(Token::from_bits(word)));
        self.words.words().iter().filter(|word| free(word.load(Ordering::Relaxed))).count()
    }

    /// Takes a permit; waits while none is free.
    pub fn acquire(&self) -> SharedPermit<'_> {
        self.acquire_until(None).expect("there is no deadline")
    }

    /// Takes a permit if one is free.
    pub fn try_acquire(&self) -> Option<SharedPermit<'_>> {
        self.take(false).or_else(|| self.take(true))
    }

    /// Takes a permit; waits while none is free, but not longer than `limit`.
    pub fn acquire_timeout(&self, limit: Duration) -> Option<SharedPermit<'_>> {
        self.acquire_until(Instant::now().checked_add(limit))
    }

    fn acquire_until(&self, deadline: Option<Instant>) -> Option<SharedPermit<'_>> {
        let head = self.words.head();
        loop {
            let seen = head.released.load(Ordering::SeqCst);
            if let Some(permit) = self.try_acquire() {
                return Some(permit);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            head.waiting.fetch_add(1, Ordering::SeqCst);
            between_ordered_steps();
            sleep(&head.released, seen, deadline);
            head.waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Takes a permit that is free or, `from_the_dead`, that a dead process has.
    fn take(&self, from_the_dead: bool) -> Option<SharedPermit<'_>> {
        check_fork();
        let space = Words::<Head>::space();
        let me = space.me().bits();
        let permit = self.words.words().iter().position(|word| {
            let now = word.load(Ordering::Relaxed);
            let dead = || now != NO_PROCESS && !space.is_living(Token::from_bits(now));
            let free = now == 0 || (from_the_dead && dead());
            free && word.compare_exchange(now, me, Ordering::Acquire, Ordering::Relaxed).is_ok()
        })?;
        Some(SharedPermit { semaphore: self, permit })
    }
}

impl Drop for SharedPermit<'_> {
    fn drop(&mut self) {
        if fork::check().is_err() {
            // It is the parent's.
            return;
        }
        self.semaphore.words.words()[self.permit].store(0, Ordering::SeqCst);
        self.semaphore.wake();
    }
}

impl SharedPermit<'_> {
    /// Keeps the permit taken, also when this process ends: until one is [released](SharedSemaphore::release).
    pub fn forget(self) {
        check_fork();
        self.semaphore.words.words()[self.permit].store(NO_PROCESS, Ordering::SeqCst);
        std::mem::forget(self);
    }
}

impl fmt::Debug for SharedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSemaphore").field("available", &self.available()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedPermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedPermit")
    }
}
