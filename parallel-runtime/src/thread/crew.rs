//! Who runs the submitted tasks of a thread pool.
//!
//! They wait in a queue, and the rayon pool is given a *token* for each: the thread that gets a token runs the task that is first. A
//! thread that is in the middle of a task never begins another on top of it, which could need what the one below is about to give,
//! and would need more stack each time. So where it has to wait it really waits, without its permit, and a *helper* takes its place: a
//! thread that runs what is in the queue, and stays a moment longer. The same if a token reaches a thread that waits for its
//! part of a map, which is when rayon gives it other work. How many tasks run at a time is not a matter of threads, but of
//! [`permits`](super::permits).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::panics;

/// How long a helper stays when there is nothing to do.
const LINGER: Duration = Duration::from_millis(100);

/// Something that is in the queue.
pub(super) trait Work: Send + Sync {
    fn work(self: Arc<Self>);
}

pub(super) struct Crew {
    workers: usize,
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<dyn Work>>,
    /// Threads of the rayon pool that wait in the middle of a task.
    blocked: usize,
    helpers: usize,
    /// Helpers that wait in the middle of a task.
    blocked_helpers: usize,
    /// Helpers that have nothing to do.
    idle: usize,
}

thread_local! {
    /// Whose thread this is, and whether it is a helper.
    static HOME: RefCell<Option<(Weak<Crew>, bool)>> = const { RefCell::new(None) };
    /// How many tasks this thread is in the middle of.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// This thread is in the middle of a task as long as this lives.
pub(super) struct Busy(());

impl Busy {
    pub(super) fn new() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// This thread waits in the middle of a task as long as this lives.
pub(super) struct Blocked(Option<(Arc<Crew>, bool)>);

impl Blocked {
    pub(super) fn new() -> Self {
        let home = HOME.with_borrow(|home| home.as_ref().and_then(|(crew, helps)| Some((crew.upgrade()?, *helps))));
        let home = home.filter(|_| DEPTH.get() > 0);
        if let Some((crew, helps)) = &home {
            let mut state = crew.lock();
            *state.blocked(*helps) += 1;
            let is_short = state.free(crew.workers) < crew.workers;
            crew.call_for_help(state, is_short);
        }
        Self(home)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if let Some((crew, helps)) = &self.0 {
            *crew.lock().blocked(*helps) -= 1;
        }
    }
}

impl State {
    fn blocked(&mut self, helper: bool) -> &mut usize {
        if helper { &mut self.blocked_helpers } else { &mut self.blocked }
    }

    /// How many threads could run a task.
    fn free(&self, workers: usize) -> usize {
        workers.saturating_sub(self.blocked) + self.helpers - self.blocked_helpers
    }
}

impl Crew {
    pub(super) fn new(workers: usize) -> Arc<Self> {
        Arc::new(Self { workers, state: Mutex::default(), more: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread of the rayon pool has started.
    pub(super) fn enlist(crew: &Weak<Self>) {
        HOME.set(Some((Weak::clone(crew), false)));
    }

    /// Whether a thread of the rayon pool waits in the middle of a task.
    pub(super) fn is_blocked(&self) -> bool {
        self.lock().blocked > 0
    }

    /// Puts something into the queue. The rayon pool is to be given a token for it.
    pub(super) fn push(self: &Arc<Self>, work: Arc<dyn Work>) {
        let mut state = self.lock();
        state.queue.push_back(work);
        let is_short = state.free(self.workers) < self.workers;
        self.call_for_help(state, is_short);
    }

    /// A thread of the rayon pool has got a token.
    pub(super) fn on_token(self: &Arc<Self>) {
        if DEPTH.get() == 0 {
            self.run_next();
            return;
        }
        let state = self.lock();
        let is_short = state.helpers - state.blocked_helpers < self.workers;
        if !self.call_for_help(state, is_short) && is_short {
            // Better on top of something else than never.
            self.run_next();
        }
    }

    /// Has a helper run what is in the queue; a new one if `is_short`. False if there is none.
    fn call_for_help(self: &Arc<Self>, mut state: MutexGuard<'_, State>, is_short: bool) -> bool {
        if state.queue.is_empty() {
            return true;
        }
        if state.idle > 0 {
            drop(state);
            self.more.notify_one();
            return true;
        }
        if !is_short {
            return false;
        }
        state.helpers += 1;
        drop(state);
        let crew = Arc::clone(self);
        let helper = std::thread::Builder::new().name("parallel-helper".to_owned()).spawn(move || crew.help());
        if helper.is_err() {
            self.lock().helpers -= 1;
        }
        helper.is_ok()
    }

    fn help(self: Arc<Self>) {
        HOME.set(Some((Arc::downgrade(&self), true)));
        loop {
            while self.run_next() {}
            let mut state = self.lock();
            if state.queue.is_empty() {
                state.idle += 1;
                let waited = self.more.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner);
                state = waited.0;
                state.idle -= 1;
                if waited.1.timed_out() && state.queue.is_empty() {
                    state.helpers -= 1;
                    return;
                }
            }
        }
    }

    /// Runs what is first in the queue. False if it is empty.
    fn run_next(&self) -> bool {
        let work = self.lock().queue.pop_front();
        let Some(work) = work else { return false };
        let _busy = Busy::new();
        // What is dropped with it may be the user's; a thread of rayon's would take the program down.
        panics::discard(move || work.work());
        true
    }
}
