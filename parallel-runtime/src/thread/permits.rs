//! How many tasks of a thread pool run at a time.
//!
//! A pool of N runs at most N tasks at any moment, whoever's thread they are on: its own, or that of a caller that waits for
//! its result anyway. Whoever runs a task holds one of N permits. A thread that already holds a permit of the pool (a task
//! that calls another function of the same pool) goes on under the same permit, so nesting never waits for itself.

use std::cell::RefCell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

pub(crate) struct Permits {
    free: Mutex<usize>,
    returned: Condvar,
}

thread_local! {
    /// The pools whose permits this thread holds, by address.
    static HELD: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// A permit, given back when it is dropped.
pub(crate) struct Permit<'p> {
    /// `None` where the thread held one already.
    taken: Option<&'p Permits>,
}

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        Self { free: Mutex::new(count), returned: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Whether this thread runs a task of this pool.
    pub(crate) fn held(&self) -> bool {
        HELD.with_borrow(|held| held.contains(&self.key()))
    }

    /// Waits for a permit, unless this thread holds one.
    pub(crate) fn enter(&self) -> Permit<'_> {
        if self.held() {
            return Permit { taken: None };
        }
        self.take();
        Permit { taken: Some(self) }
    }

    /// Runs `wait`, during which this thread runs no task of the pool, without its permit: others may use it meanwhile.
    pub(crate) fn without<R>(&self, wait: impl FnOnce() -> R) -> R {
        struct Back<'p>(&'p Permits);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                self.0.take();
            }
        }
        if !self.held() {
            return wait();
        }
        self.give_back();
        let _back = Back(self);
        wait()
    }

    fn take(&self) {
        let mut free = self.lock();
        while *free == 0 {
            free = self.returned.wait(free).unwrap_or_else(PoisonError::into_inner);
        }
        *free -= 1;
        drop(free);
        HELD.with_borrow_mut(|held| held.push(self.key()));
    }

    fn give_back(&self) {
        HELD.with_borrow_mut(|held| {
            if let Some(position) = held.iter().rposition(|key| *key == self.key()) {
                held.remove(position);
            }
        });
        *self.lock() += 1;
        self.returned.notify_one();
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if let Some(permits) = self.taken {
            permits.give_back();
        }
    }
}
