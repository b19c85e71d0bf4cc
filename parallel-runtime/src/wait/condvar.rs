//! A condition variable that makes no system call where no thread waits.
//!
//! The standard library's makes one for each notification, some 200 ns; most ends of tasks and most permits that are given back have no thread to tell.
//! This one counts the threads that wait. A thread counts itself in under the mutex, after it has seen that it must wait; the thread that notifies has
//! changed what is waited for under the same mutex, before it looks at the count. So either the first comes first, and is counted, or it
//! sees the change, and does not wait.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LockResult, MutexGuard, WaitTimeoutResult};
use std::time::Duration;

/// See the module. What is waited for is to be changed under the mutex before a thread is notified.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    inner: std::sync::Condvar,
    waiting: AtomicU32,
}

impl Condvar {
    pub(crate) const fn new() -> Self {
        Self { inner: std::sync::Condvar::new(), waiting: AtomicU32::new(0) }
    }

    pub(crate) fn wait<'m, T>(&self, guard: MutexGuard<'m, T>) -> LockResult<MutexGuard<'m, T>> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waited = self.inner.wait(guard);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        waited
    }

    pub(crate) fn wait_timeout<'m, T>(
        &self,
        guard: MutexGuard<'m, T>,
        limit: Duration,
    ) -> LockResult<(MutexGuard<'m, T>, WaitTimeoutResult)> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waited = self.inner.wait_timeout(guard, limit);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        waited
    }

    /// Whether a thread waits. Exact for a thread that holds the mutex; for others a hint.
    #[inline]
    pub(crate) fn has_waiters(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != 0
    }

    #[inline]
    pub(crate) fn notify_one(&self) {
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.inner.notify_one();
        }
    }

    #[inline]
    pub(crate) fn notify_all(&self) {
        if self.waiting.load(Ordering::Relaxed) != 0 {
            self.inner.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn no_notification_is_lost_between_threads_that_take_turns() {
        const TURNS: u32 = 20_000;
        let (turn, changed) = (Mutex::new(0), Condvar::new());
        let play = |mine: u32| {
            let mut turn = turn.lock().unwrap();
            while *turn < TURNS {
                if *turn % 2 == mine {
                    *turn += 1;
                    changed.notify_all();
                } else {
                    turn = changed.wait(turn).unwrap();
                }
            }
            drop(turn);
            changed.notify_all();
        };
        std::thread::scope(|s| {
            s.spawn(|| play(0));
            s.spawn(|| play(1));
        });
        assert_eq!(*turn.lock().unwrap(), TURNS);
        assert_eq!(changed.waiting.load(Ordering::Relaxed), 0);
    }
}
