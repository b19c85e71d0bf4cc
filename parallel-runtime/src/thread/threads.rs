//! The threads of a pool that run its submitted tasks.
//!
//! A pool of N has N of them, started when there is work. A thread that is in the middle of a task never begins another on top of it,
//! which could need what the one below is about to give, and would need more stack each time. So where a task waits for something
//! its thread really waits, without its permit, and another thread takes its place, which leaves when there is nothing left to do. How
//! many tasks run at a time is not a matter of threads, but of [`semaphore`](super::semaphore).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use crate::panics;
use crate::wait::condvar::Condvar;

/// How long a thread stays that has taken another's place, when there is nothing to do.
const LINGER: Duration = Duration::from_millis(100);

/// So many threads may take the place of others that wait. When so many tasks wait in the middle, those that have not begun wait too.
const MOST_SUBSTITUTES: usize = 256;

/// The same where each thread has to be prepared.
const MOST_PREPARED_SUBSTITUTES: usize = 16;

/// Something that is in the queue.
pub(super) trait Work: Send + Sync {
    fn work(self: Arc<Self>);
}

pub(super) struct Threads {
    workers: usize,
    most: usize,
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<dyn Work>>,
    /// How many there are; how many of them wait in the middle of a task; how many have nothing to do.
    threads: usize,
    blocked: usize,
    idle: usize,
    /// A number for the next one.
    next: usize,
    /// The pool is gone.
    closed: bool,
}

thread_local! {
    /// Whose thread this is.
    static HOME: RefCell<Weak<Threads>> = const { RefCell::new(Weak::new()) };
}

/// This thread waits in the middle of a task as long as this lives.
pub(super) struct Blocked(Option<Arc<Threads>>);

impl Blocked {
    pub(super) fn new() -> Self {
        let home = HOME.try_with(|home| home.borrow().upgrade()).ok().flatten();
        if let Some(threads) = &home {
            let mut state = threads.lock();
            state.blocked += 1;
            // Without another thread what is queued waits until this one goes on.
            if !state.queue.is_empty() {
                let _ = threads.enlist_if_short(&mut state);
                threads.notify(state);
            }
        }
        Self(home)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        if let Some(threads) = &self.0 {
            threads.lock().blocked -= 1;
        }
    }
}

impl Threads {
    /// `prepared`: each thread runs an `init` first.
    pub(super) fn new(workers: usize, prepared: bool) -> Arc<Self> {
        let most = workers + if prepared { MOST_PREPARED_SUBSTITUTES } else { MOST_SUBSTITUTES };
        Arc::new(Self { workers, most, state: Mutex::default(), more: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts all threads.
    pub(super) fn start(self: &Arc<Self>) -> io::Result<()> {
        let mut state = self.lock();
        while state.threads < self.workers {
            self.enlist(&mut state)?;
        }
        Ok(())
    }

    /// Puts something into the queue.
    ///
    /// # Errors
    ///
    /// If there is no thread, and none can be started: then it is not in the queue.
    pub(super) fn push(self: &Arc<Self>, work: Arc<dyn Work>) -> io::Result<()> {
        let mut state = self.lock();
        state.queue.push_back(work);
        let alone = state.threads == 0;
        match self.enlist_if_short(&mut state) {
            Err(error) if alone => {
                // Under the same lock: it is still the last one.
                let work = state.queue.pop_back();
                drop(state);
                drop(work);
                Err(error)
            }
            _ => {
                self.notify(state);
                Ok(())
            }
        }
    }

    /// Wakes a thread for what is in the queue, if one is idle.
    fn notify(&self, state: MutexGuard<'_, State>) {
        let idle = state.idle;
        drop(state);
        if idle > 0 {
            self.more.notify_one();
        }
    }

    /// Starts a thread for what is in the queue, if there should be one more.
    fn enlist_if_short(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let State { threads, blocked, idle, .. } = *state;
        let is_short = threads - blocked < self.workers && threads < self.most;
        if state.queue.len() > idle && is_short { self.enlist(state) } else { Ok(()) }
    }

    fn enlist(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let threads = Arc::clone(self);
        let name = format!("parallel-{}", state.next);
        std::thread::Builder::new().name(name).spawn(move || threads.serve())?;
        state.threads += 1;
        state.next += 1;
        Ok(())
    }

    fn serve(self: Arc<Self>) {
        HOME.set(Arc::downgrade(&self));
        let mut state = self.lock();
        loop {
            if let Some(work) = state.queue.pop_front() {
                drop(state);
                // What is dropped with it may be the user's, and may panic.
                panics::discard(move || work.work());
                state = self.lock();
            } else if state.closed {
                state.threads -= 1;
                return;
            } else {
                let is_substitute = state.threads > self.workers;
                state.idle += 1;
                let timed_out;
                (state, timed_out) = if is_substitute {
                    let waited = self.more.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner);
                    (waited.0, waited.1.timed_out())
                } else {
                    (self.more.wait(state).unwrap_or_else(PoisonError::into_inner), false)
                };
                state.idle -= 1;
                if timed_out && state.queue.is_empty() && state.threads > self.workers {
                    state.threads -= 1;
                    return;
                }
            }
        }
    }

    /// The pool is gone: the threads end when they have done what is in the queue.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.more.notify_all();
    }
}
