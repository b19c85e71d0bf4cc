//! `SharedLock`.

use std::fmt;
use std::time::{Duration, Instant};

use super::object::{Header, Words, handle};
use crate::error::TaskError;
use crate::shared::broken::Poisoned;
use crate::shared::lock::{Holding, Lock, is_own};
use crate::shared::or_panic::or_panic;
use crate::shared::tables::Kind;

/// A lock between processes: Python's `multiprocessing.Lock`.
///
/// It guards something outside shared memory, a file or a device. Data in shared memory has its own: see
/// [`SharedValue`](crate::SharedValue), [`SharedArray`](crate::SharedArray), [`SharedDict`](crate::SharedDict). A clone is another
/// handle of the same lock.
///
/// ```
/// use parallel_runtime::{SharedLock, parallel, shared};
///
/// #[shared]
/// static LOG: SharedLock = SharedLock::new();
///
/// #[parallel(mode = "process", pool = 2)]
/// fn report(number: u32) {
///     let _turn = LOG.lock().unwrap();
///     eprintln!("begin {number}");
///     eprintln!("end {number}");
/// }
/// report::map(0..4); // no two are mixed
/// ```
///
/// If a process dies, or panics, while it holds the lock, the next gets [`Poisoned`], and so on until
/// [`clear_poison`](SharedLock::clear_poison). A thread that locks it twice panics.
#[doc(alias("Lock", "RLock"))]
pub struct SharedLock {
    words: Words<Head>,
}

#[derive(Default)]
#[repr(C)]
struct Head {
    lock: Lock,
}

// SAFETY: a lock is atomics and a number.
unsafe impl Header for Head {
    const KIND: Kind = Kind::Lock;
}

handle!(SharedLock, words: Words<Head>);

/// The lock is held until this is dropped.
#[must_use = "the lock is let go when the guard is dropped"]
pub struct SharedLockGuard<'l> {
    _holding: Holding<'l>,
}

impl SharedLock {
    /// A lock that is free.
    ///
    /// # Panics
    ///
    /// If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn new() -> Self {
        or_panic(Self::try_new())
    }

    /// [`new`](SharedLock::new), with an error if shared memory is short.
    pub fn try_new() -> Result<Self, TaskError> {
        Ok(Self { words: Words::new(0)? })
    }

    #[track_caller]
    fn take(&self, deadline: Option<Instant>) -> Result<Option<SharedLockGuard<'_>>, Poisoned> {
        let lock = &self.words.head().lock;
        let Some((holding, _)) = Holding::for_user(lock, Words::<Head>::space(), deadline) else { return Ok(None) };
        if lock.is_poisoned(Words::<Head>::space()) {
            Err(Poisoned)
        } else {
            Ok(Some(SharedLockGuard { _holding: holding }))
        }
    }

    /// Takes the lock; waits while another thread or process holds it.
    ///
    /// # Errors
    ///
    /// [`Poisoned`] if a process died, or panicked, while it held the lock.
    ///
    /// # Panics
    ///
    /// If this thread holds it already.
    #[track_caller]
    pub fn lock(&self) -> Result<SharedLockGuard<'_>, Poisoned> {
        self.take(None).map(|guard| guard.expect("there is no deadline"))
    }

    /// Takes the lock if it is free: not if this very thread holds it.
    ///
    /// # Errors
    ///
    /// As for [`lock`](SharedLock::lock).
    #[track_caller]
    pub fn try_lock(&self) -> Result<Option<SharedLockGuard<'_>>, Poisoned> {
        if is_own(&self.words.head().lock) {
            return Ok(None);
        }
        self.lock_timeout(Duration::ZERO)
    }

    /// Takes the lock; waits while another holds it, but not longer than `limit`.
    ///
    /// # Errors
    ///
    /// As for [`lock`](SharedLock::lock).
    ///
    /// # Panics
    ///
    /// As for [`lock`](SharedLock::lock).
    #[track_caller]
    pub fn lock_timeout(&self, limit: Duration) -> Result<Option<SharedLockGuard<'_>>, Poisoned> {
        self.take(Instant::now().checked_add(limit))
    }

    /// Returns whether a process died, or panicked, while it held the lock.
    pub fn is_poisoned(&self) -> bool {
        self.words.head().lock.is_poisoned(Words::<Head>::space())
    }

    /// Declares what the lock guards to be sound after all.
    pub fn clear_poison(&self) {
        let (lock, space) = (&self.words.head().lock, Words::<Head>::space());
        if lock.is_orphaned(space) {
            // The process that took it next would poison it again.
            drop(Holding::briefly(lock, space));
        }
        lock.clear_poison();
    }
}

impl Default for SharedLock {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SharedLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLock").field("poisoned", &self.is_poisoned()).finish_non_exhaustive()
    }
}

impl fmt::Debug for SharedLockGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedLockGuard")
    }
}
