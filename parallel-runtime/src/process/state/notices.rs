//! Who is to be told that tasks have ended, as soon as the lock is free.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::observe::{Fate, Run, Seen};
use crate::panics;
use crate::process::stderr::Stderr;
use crate::sys::role;
use crate::wait::notify::{Watchers, call_back};

/// Who is to be told that tasks have ended.
#[derive(Default)]
pub(in crate::process) struct Fired {
    pub(super) any: AtomicBool,
    told: Mutex<Told>,
}

/// The span of a call that has ended: when and where it ran, how it ended, and the name of its task.
pub(super) struct Closing {
    pub(super) seen: Seen,
    pub(super) run: Option<Run>,
    pub(super) fate: Fate,
    pub(super) task: Option<(u32, u64)>,
}

#[derive(Default)]
pub(super) struct Told {
    /// What workers have sent before.
    pub(super) events: Vec<(Arc<Stderr>, u64)>,
    /// Spans of calls that have ended, and the names of their tasks.
    pub(super) spans: Vec<Closing>,
    pub(super) watchers: Watchers,
}

impl Told {
    fn tell(self) {
        for (stderr, task) in self.events {
            panics::discard(|| stderr.end_task(task));
        }
        for Closing { seen, run, fate, task } in self.spans {
            let Seen { submitted, span, .. } = seen;
            panics::discard(|| span.close(submitted, run, fate, task));
        }
        self.watchers.fire();
    }
}

impl Fired {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    pub(super) fn add(&self, add: impl FnOnce(&mut Told)) {
        add(&mut self.told());
        self.any.store(true, Ordering::Relaxed);
    }

    #[cold]
    fn tell(&self) {
        self.any.store(false, Ordering::Relaxed);
        let mut told = std::mem::take(&mut *self.told());
        if !role::is_supervisor() {
            told.tell();
            return;
        }
        // A thread waits that may have what it waits for by now.
        let mut watchers = std::mem::take(&mut told.watchers);
        watchers.fire_ours();
        if !told.events.is_empty() || !told.spans.is_empty() {
            // All pools need this thread, and what records them may take its time.
            call_back(Box::new(|| told.tell()));
        }
        if !watchers.is_empty() {
            // So may a waker. Not on the thread of callbacks: one of them may wait for this very waker.
            let watchers = Arc::new(Mutex::new(watchers));
            let theirs = Arc::clone(&watchers);
            let take =
                |from: &Mutex<Watchers>| std::mem::take(&mut *from.lock().unwrap_or_else(PoisonError::into_inner));
            let thread = std::thread::Builder::new().name("parallel-wakers".to_owned());
            if thread.spawn(move || take(&theirs).fire()).is_err() {
                call_back(Box::new(move || take(&watchers).fire()));
            }
        }
    }
}

/// Threads that wait for any task, and look whether it was theirs.
pub(in crate::process) trait Waiters {
    /// They look again.
    fn notify_waiters(&self);
}

/// Its drop tells the watchers in it, and then has the sleeping threads look again: some of them look at what the watchers were told.
pub(super) struct Telling<'e>(pub(super) &'e Fired, pub(super) &'e dyn Waiters);

impl Drop for Telling<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.0.any.load(Ordering::Relaxed) {
            self.0.tell();
            self.1.notify_waiters();
        }
    }
}
