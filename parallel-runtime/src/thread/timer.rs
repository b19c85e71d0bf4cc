//! A thread that looks at tasks when their time is over, for those whom nobody waits for.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, PoisonError, Weak};
use std::time::Instant;

/// Something that is to be looked at.
pub(super) trait Due: Send + Sync {
    fn look(&self);
}

struct Entry {
    at: Instant,
    what: Weak<dyn Due>,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    /// The heap gives the largest first, which is to be the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

#[derive(Default)]
struct Timer {
    entries: BinaryHeap<Entry>,
    runs: bool,
}

static TIMER: Mutex<Option<Timer>> = Mutex::new(None);
static CHANGED: Condvar = Condvar::new();

/// Has something looked at, once it is so late.
pub(super) fn look_at(at: Instant, what: Weak<dyn Due>) {
    let mut timer = TIMER.lock().unwrap_or_else(PoisonError::into_inner);
    let timer = timer.get_or_insert_default();
    timer.entries.push(Entry { at, what });
    if timer.runs {
        CHANGED.notify_one();
    } else {
        // Without a thread, whoever asks for the task looks himself.
        timer.runs = std::thread::Builder::new().name("parallel-timer".to_owned()).spawn(run).is_ok();
    }
}

fn run() {
    let mut guard = TIMER.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let timer = guard.get_or_insert_default();
        let now = Instant::now();
        match timer.entries.peek() {
            None => {
                timer.runs = false;
                return;
            }
            Some(entry) if entry.at <= now => {
                let due = timer.entries.pop().and_then(|entry| entry.what.upgrade());
                drop(guard);
                if let Some(due) = due {
                    due.look();
                }
                guard = TIMER.lock().unwrap_or_else(PoisonError::into_inner);
            }
            Some(entry) => {
                let left = entry.at - now;
                guard = CHANGED.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}
