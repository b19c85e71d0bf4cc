//! How many tasks of a thread pool run at a time.
//!
//! A pool of N runs at most N tasks at any moment, on any thread: its own, or that of a caller that waits for
//! its result anyway. The thread that runs a task holds one of the N permits.
//!
//! A thread holds the permit of its innermost task alone. A task that calls a function of its own pool goes on under the same
//! permit; a task that waits for another pool gives its permit back meanwhile and takes it again afterwards. So nothing holds
//! one permit and waits for another, and pools that call each other cannot come to a standstill.

use std::cell::Cell;
use std::ptr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::threads::Blocked;
use crate::sys::clock;
use crate::wait::condvar::Condvar;

/// How long a permit is waited for before it is thought to stay taken.
const PATIENCE: Duration = Duration::from_millis(10);

pub(crate) struct Semaphore {
    permits: Mutex<Permits>,
    returned: Condvar,
}

/// How many are held, and for how long, in nanoseconds of the coarse clock.
struct Permits {
    free: usize,
    count: u64,
    /// By those that have been given back.
    busy: u64,
    /// The sum of the times at which those that are held were taken.
    since: u64,
}

thread_local! {
    /// The pool of this thread's innermost task. It outlives the task, which holds one of its permits.
    static CURRENT: Cell<*const Semaphore> = const { Cell::new(ptr::null()) };
    /// When it got that permit.
    static SINCE: Cell<u64> = const { Cell::new(0) };
}

/// Gives back what [`Semaphore::enter`] or [`released`] took or gave when it is dropped.
pub(crate) struct Switched {
    before: *const Semaphore,
    after: *const Semaphore,
}

impl Semaphore {
    pub(crate) fn new(count: usize) -> Self {
        let permits = Permits { free: count, count: 0, busy: 0, since: 0 };
        Self { permits: Mutex::new(permits), returned: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Permits> {
        self.permits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this thread's innermost task is one of this pool.
    pub(crate) fn is_held(&self) -> bool {
        ptr::eq(CURRENT.get(), self)
    }

    /// Whether all are taken, and by tasks that do not end at this very moment.
    pub(crate) fn stay_taken(&self) -> bool {
        let mut permits = self.lock();
        let alone = permits.count <= 1;
        let end = Instant::now() + PATIENCE;
        while permits.free == 0 && !alone {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            permits = self.returned.wait_timeout(permits, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let stay = permits.free == 0;
        drop(permits);
        if !stay {
            // This thread may have been woken in place of one that wants it.
            self.returned.notify_one();
        }
        stay
    }

    /// Whether a thread waits for a permit.
    pub(crate) fn is_wanted(&self) -> bool {
        self.returned.has_waiters()
    }

    /// Waits for a permit, unless this thread's innermost task has one.
    pub(crate) fn enter(&self) -> Switched {
        switch(self)
    }

    fn take(&self) {
        let mut permits = self.lock();
        while permits.free == 0 {
            permits = self.returned.wait(permits).unwrap_or_else(PoisonError::into_inner);
        }
        let now = clock::coarse();
        permits.free -= 1;
        permits.count += 1;
        permits.since = permits.since.wrapping_add(now);
        drop(permits);
        SINCE.set(now);
    }

    /// For how long permits were held so far, all together.
    pub(crate) fn busy(&self) -> Duration {
        let permits = self.lock();
        let current = clock::coarse().wrapping_mul(permits.count).wrapping_sub(permits.since);
        Duration::from_nanos(permits.busy.wrapping_add(current))
    }

    fn give_back(&self) {
        let (now, since) = (clock::coarse(), SINCE.get());
        let mut permits = self.lock();
        permits.free += 1;
        permits.count -= 1;
        permits.busy = permits.busy.wrapping_add(now.saturating_sub(since));
        permits.since = permits.since.wrapping_sub(since);
        drop(permits);
        self.returned.notify_one();
    }
}

/// Runs `wait`, during which this thread runs no task, without its permit: others may use it meanwhile.
pub(super) fn released(wait: &mut dyn FnMut()) {
    let _blocked = Blocked::new();
    let _switched = switch(ptr::null());
    wait();
}

/// Goes from the permit that this thread holds to another, or to none.
fn switch(after: *const Semaphore) -> Switched {
    let before = CURRENT.get();
    let switched = Switched { before, after };
    if !ptr::eq(before, after) {
        exchange(before, after);
    }
    switched
}

fn exchange(from: *const Semaphore, to: *const Semaphore) {
    CURRENT.set(ptr::null());
    // SAFETY: `from` is null, or the pool of a task that is running on this thread: the engine of a running task is kept alive
    // by the thread that runs it.
    if let Some(from) = unsafe { from.as_ref() } {
        from.give_back();
    }
    // SAFETY: as for `from`; where it is the pool that is being entered, it is borrowed by the caller.
    if let Some(to) = unsafe { to.as_ref() } {
        to.take();
    }
    CURRENT.set(to);
}

impl Drop for Switched {
    fn drop(&mut self) {
        if !ptr::eq(self.before, self.after) {
            exchange(self.after, self.before);
        }
    }
}
