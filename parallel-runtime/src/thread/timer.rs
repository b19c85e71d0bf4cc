//! A thread that looks at tasks when their time is over, for tasks that no thread waits for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use crate::panics;
use crate::wait::condvar::Condvar;

/// Something that is to be looked at.
pub(super) trait Due: Send + Sync {
    fn look(&self);
}

/// When, and which of those at that time.
pub(super) type Key = (Instant, u64);

#[derive(Default)]
struct Timer {
    entries: BTreeMap<Key, Weak<dyn Due>>,
    next: u64,
    runs: bool,
}

static TIMER: Mutex<Timer> = Mutex::new(Timer { entries: BTreeMap::new(), next: 0, runs: false });
static CHANGED: Condvar = Condvar::new();

fn timer() -> MutexGuard<'static, Timer> {
    TIMER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// It need not be looked at any more.
pub(super) fn forget(key: Key) {
    let forgotten = timer().entries.remove(&key);
    drop(forgotten);
}

/// Has something looked at, once it is so late.
pub(super) fn look_at(at: Instant, what: Weak<dyn Due>) -> Key {
    let mut timer = timer();
    let key = (at, timer.next);
    timer.next += 1;
    timer.entries.insert(key, what);
    if timer.runs {
        if timer.entries.first_key_value().is_some_and(|(first, _)| *first == key) {
            CHANGED.notify_one();
        }
    } else {
        // Without a thread, the thread that asks for the task looks itself.
        timer.runs = std::thread::Builder::new().name("parallel-timer".to_owned()).spawn(run).is_ok();
    }
    key
}

fn run() {
    let mut timer = self::timer();
    loop {
        let now = Instant::now();
        match timer.entries.first_key_value().map(|((at, _), _)| *at) {
            None => {
                timer.runs = false;
                return;
            }
            Some(at) if at <= now => {
                let due = timer.entries.pop_first().and_then(|(_, what)| what.upgrade());
                drop(timer);
                // With the last reference goes what the task leaves.
                panics::discard(|| due.into_iter().for_each(|due| due.look()));
                timer = self::timer();
            }
            Some(at) => {
                timer = CHANGED.wait_timeout(timer, at - now).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}
