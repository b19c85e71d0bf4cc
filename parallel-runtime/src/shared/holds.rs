//! Which locks the threads of this process hold.
//!
//! A lock's word names the process that holds it, and any process can write any word: one that was taken over may have written another's name
//! there before it died, and the lock would never be free again. So a process that finds its own name in a lock looks here whether one of its
//! threads does hold it; and a worker that waits for the program for long asks the program to look.
//!
//! Each thread has a list that it alone writes: a lock is put there just before the exchange by which the thread tries to take it, and removed
//! after it has let it go, or if the exchange fails. The exchange is a release: a thread that sees the name in the word sees the lock in the list.

use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::space::Space;
use crate::ipc::control::ControlRequest;
use crate::ipc::link;
use crate::sys::fork;

/// So many locks of a thread are listed. More at once are only counted.
const MOST: usize = 8;

/// The list of one thread.
#[derive(Default)]
struct Holds {
    locks: [AtomicPtr<()>; MOST],
    /// Locks that are not in the list, for want of room: any may be one of them.
    unlisted: AtomicU32,
}

static ALL: Mutex<Vec<Arc<Holds>>> = Mutex::new(Vec::new());

/// The list of this thread, which ends with it.
struct Mine(Arc<Holds>);

impl Mine {
    fn new() -> Self {
        let holds = Arc::new(Holds::default());
        ALL.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&holds));
        Self(holds)
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        if fork::check().is_err() {
            // The lock may be held by a thread that is not here.
            return;
        }
        // A guard that was forgotten may be in use by another thread, and is never dropped.
        if self.0.is_empty() {
            ALL.lock().unwrap_or_else(PoisonError::into_inner).retain(|holds| !Arc::ptr_eq(holds, &self.0));
        }
    }
}

impl Holds {
    fn is_empty(&self) -> bool {
        self.unlisted.load(Ordering::Relaxed) == 0
            && self.locks.iter().all(|held| held.load(Ordering::Relaxed).is_null())
    }

    fn may_hold(&self, lock: *mut ()) -> bool {
        self.unlisted.load(Ordering::Acquire) != 0 || self.locks.iter().any(|held| held.load(Ordering::Acquire) == lock)
    }

    #[inline(always)]
    fn add(&self, lock: *mut ()) {
        match self.locks.iter().find(|held| held.load(Ordering::Relaxed).is_null()) {
            Some(free) => free.store(lock, Ordering::Relaxed),
            None => _ = self.unlisted.fetch_add(1, Ordering::Relaxed),
        }
    }

    #[inline(always)]
    fn remove(&self, lock: *mut ()) {
        match self.locks.iter().find(|held| ptr::eq(held.load(Ordering::Relaxed), lock)) {
            Some(held) => held.store(ptr::null_mut(), Ordering::Release),
            None => _ = self.unlisted.fetch_sub(1, Ordering::Release),
        }
    }
}

thread_local! {
    static MINE: Mine = Mine::new();
}

/// A lock was taken by a thread whose own variables were gone. From then on each lock may be held by such a thread.
static WITHOUT_LIST: AtomicBool = AtomicBool::new(false);

/// This thread tries to take a lock now.
#[inline(always)]
pub(super) fn add<L>(lock: &L) {
    let lock = ptr::from_ref(lock).cast_mut().cast();
    if MINE.try_with(|mine| mine.0.add(lock)).is_err() {
        WITHOUT_LIST.store(true, Ordering::Relaxed);
    }
}

/// This thread has let a lock go, or has not got it.
#[inline(always)]
pub(super) fn remove<L>(lock: &L) {
    let lock = ptr::from_ref(lock).cast_mut().cast();
    // One that was listed and is let go now, with the thread's variables, stays in its list, which stays, too: that is only too careful.
    let _ = MINE.try_with(|mine| mine.0.remove(lock));
}

/// Whether a thread of this process may hold a lock.
#[cold]
pub(super) fn may_hold<L>(lock: &L) -> bool {
    let lock = ptr::from_ref(lock).cast_mut().cast();
    WITHOUT_LIST.load(Ordering::Acquire)
        || ALL.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|holds| holds.may_hold(lock))
}

/// Threads that doubt a word that names this process take turns.
pub(super) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Worker: asks the program whether it holds a lock, which names it.
#[cold]
pub(super) fn ask_program<L>(space: &Space, lock: &L) {
    if let Some(offset) = space.offset_of(lock) {
        link::tell(&ControlRequest::Deny(offset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_says_what_its_thread_holds_and_suspects_all_when_it_is_full() {
        let locks = [0_u8; 3 * MOST];
        let address = |index: usize| (&raw const locks[index]).cast_mut().cast::<()>();
        let holds = Holds::default();
        let held = || (0..locks.len()).filter(|index| holds.may_hold(address(*index))).collect::<Vec<_>>();
        assert!(holds.is_empty());
        (0..MOST).for_each(|index| holds.add(address(index)));
        assert_eq!(held(), (0..MOST).collect::<Vec<_>>());
        (MOST..MOST + 2).for_each(|index| holds.add(address(index)));
        assert_eq!(held().len(), locks.len(), "it may be any");
        (2..MOST + 2).for_each(|index| holds.remove(address(index)));
        assert_eq!(held(), [0, 1]);
        (0..2).for_each(|index| holds.remove(address(index)));
        assert!(held().is_empty() && holds.is_empty());
    }

    #[test]
    fn a_guard_that_was_forgotten_outlives_its_thread() {
        let locks: &'static [u8; 2] = Box::leak(Box::new([0; 2]));
        std::thread::spawn(|| {
            locks.iter().for_each(add);
            remove(&locks[0]);
        })
        .join()
        .unwrap();
        assert!(may_hold(&locks[1]));
    }
}
