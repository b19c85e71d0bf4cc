//! `SharedEvent`.

use std::fmt;
use std::time::{Duration, Instant};

use super::object::{Header, Words, handle};
use crate::error::TaskError;
use crate::shared::lock::{check_fork, sleep};
use crate::shared::or_panic::or_panic;
use crate::shared::tables::Kind;
use crate::sys::futex;
use crate::sys::spin::spin;
use crate::sys::sync::atomic::{AtomicU32, Ordering};

/// A flag that processes wait for: Python's `multiprocessing.Event`.
///
/// A clone is another handle of the same flag.
///
/// ```
/// use parallel_runtime::{SharedEvent, parallel};
///
/// #[parallel(mode = "process", pool = 1)]
/// fn start_when(go: SharedEvent) -> u32 {
///     go.wait();
///     1
/// }
///
/// let go = SharedEvent::new();
/// let task = start_when::submit(go.clone());
/// go.set();
/// assert_eq!(task.join().unwrap(), 1);
/// ```
#[doc(alias("Event"))]
pub struct SharedEvent {
    words: Words<Head>,
}

#[derive(Default)]
#[repr(C, align(8))]
struct Head {
    /// 1 if it is set.
    set: AtomicU32,
    /// How often it was set; those who wait sleep on it, and go on when it has changed, even if it was set back by then.
    times: AtomicU32,
}

// SAFETY: it is atomics, aligned to a word.
unsafe impl Header for Head {
    const KIND: Kind = Kind::Event;
}

handle!(SharedEvent, words: Words<Head>);

impl SharedEvent {
    /// A flag that is not set.
    ///
    /// # Panics
    ///
    /// If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn new() -> Self {
        or_panic(Self::try_new())
    }

    /// [`new`](SharedEvent::new), with an error if shared memory is short.
    pub fn try_new() -> Result<Self, TaskError> {
        Ok(Self { words: Words::new(0)? })
    }

    /// Sets it: the process that waits goes on, also if it is set back at once.
    pub fn set(&self) {
        check_fork();
        let head = self.words.head();
        // If this process dies in between, those who wait find it set when they look.
        if head.set.swap(1, Ordering::SeqCst) == 0 {
            head.times.fetch_add(1, Ordering::SeqCst);
            futex::wake_all(&head.times);
        }
    }

    /// Clears it.
    pub fn clear(&self) {
        check_fork();
        self.words.head().set.store(0, Ordering::SeqCst);
    }

    /// Returns whether it is set.
    pub fn is_set(&self) -> bool {
        self.words.head().set.load(Ordering::Acquire) != 0
    }

    /// Waits until it is set.
    pub fn wait(&self) {
        self.wait_until(None);
    }

    /// Waits until it is set, but not longer than `limit`. False if it was not set.
    pub fn wait_timeout(&self, limit: Duration) -> bool {
        self.wait_until(Instant::now().checked_add(limit))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let times = &self.words.head().times;
        let before = times.load(Ordering::SeqCst);
        let over = || self.is_set() || times.load(Ordering::SeqCst) != before;
        if spin(over) {
            return true;
        }
        while !over() {
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return false;
            }
            sleep(times, before, deadline);
        }
        true
    }
}

impl Default for SharedEvent {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SharedEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedEvent").field("set", &self.is_set()).finish()
    }
}
