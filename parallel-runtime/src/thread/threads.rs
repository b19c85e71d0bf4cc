//! The threads of a pool that run its submitted tasks.
//!
//! A pool of N has N of them, started when there is work. A thread that is in the middle of a task never begins another on top of it,
//! which could need what the one below is about to give, and would need more stack each time. So where a task waits for something
//! its thread really waits, without its permit, and another thread takes its place, which leaves when there is nothing left to do. How
//! many tasks run at a time is not a matter of threads, but of [`semaphore`](super::semaphore).
//!
//! A thread takes a part of the queue at a time, if none is idle: the lock of the queue is every thread's. What it has not begun it gives back before it
//! waits in the middle of a task, together with what the others have taken, so that it is known how many threads there should be; and a thread that finds
//! the queue empty takes half of what another has. All of it happens under the lock of the queue, and so does falling asleep: nothing lies with
//! a busy thread while another one sleeps, or should be started.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::function::kept;
use crate::panics;
use crate::sys::spin::spin;
use crate::wait::blocking::wait_while;
use crate::wait::condvar::Condvar;

/// How long a thread stays that has taken another's place, when there is nothing to do.
const LINGER: Duration = Duration::from_millis(100);

/// How long the threads of a pool that is shut down may take to drop what they keep.
const END_LIMIT: Duration = Duration::from_secs(10);

/// So many threads may take the place of others that wait. When so many tasks wait in the middle, those that have not begun wait too.
const MOST_SUBSTITUTES: usize = 256;

/// The same where each thread has to be prepared.
const MOST_PREPARED_SUBSTITUTES: usize = 16;

/// The most that a thread takes from the queue at a time.
const MOST_AT_ONCE: usize = 32;

/// Something that is in the queue.
pub(super) trait Work: Send + Sync {
    fn work(self: Arc<Self>);

    /// What this and others of the queue are run inside of.
    fn session(&self) -> Option<Arc<dyn Session>> {
        None
    }

    /// Keeps it from running, if it has not begun. True if it will never run.
    fn cancel(&self) -> bool {
        false
    }

    /// Ends it without running it, if it may be left out. It is not in the queue, and no lock is held.
    fn leave_out(&self) -> bool {
        false
    }
}

/// What several tasks are run inside of, one after the other.
pub(super) trait Session: Send + Sync {
    fn around(&self, several: &mut dyn FnMut());

    /// Whether another thread waits for what `around` holds.
    fn is_in_the_way(&self) -> bool;
}

/// What a thread has taken from the queue and not begun. Others take of it when they have nothing to do.
type Taken = Mutex<VecDeque<Arc<dyn Work>>>;

pub(super) struct Threads {
    workers: usize,
    most: usize,
    name: &'static str,
    stack_size: Option<usize>,
    idle_timeout: Option<Duration>,
    state: Mutex<State>,
    more: Condvar,
    /// A thread has ended.
    ended: Condvar,
    /// Whether threads keep values between tasks.
    keeps: AtomicBool,
    /// Changes with each addition to the queue: a thread that looks for more need not take the lock for it.
    added: AtomicU32,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Arc<dyn Work>>,
    /// Of each thread.
    taken: Vec<Arc<Taken>>,
    /// How many there are; how many of them wait in the middle of a task; how many have nothing to do.
    threads: usize,
    blocked: usize,
    idle: usize,
    /// How many have not ended, those included that do nothing more but drop what they keep.
    alive: usize,
    /// A number for the next one.
    next: usize,
    /// The pool is gone.
    closed: bool,
}

/// Whose thread this is, and what it has taken.
type Home = (Weak<Threads>, Arc<Taken>);

thread_local! {
    static HOME: RefCell<Option<Home>> = const { RefCell::new(None) };
    /// Which of a pool's threads this is.
    static NUMBER: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Which of a pool's threads this is; `None` for another one.
pub(crate) fn number() -> Option<usize> {
    NUMBER.get().or_else(rayon::current_thread_index)
}

/// This thread waits in the middle of a task as long as this lives.
pub(super) struct Blocked(Option<Arc<Threads>>);

impl Blocked {
    pub(super) fn new() -> Self {
        let here = HOME.try_with(|home| {
            let home = home.borrow();
            let (threads, taken) = home.as_ref()?;
            Some((threads.upgrade()?, Arc::clone(taken)))
        });
        let Some((threads, taken)) = here.ok().flatten() else { return Self(None) };
        let mut state = threads.lock();
        state.blocked += 1;
        // What others have taken, too: one of them may be waiting, in a way that is not ours, for what this thread has just run, or lies before it.
        let mut given_back = std::mem::take(&mut *lock(&taken));
        state.taken.iter().for_each(|other| given_back.append(&mut lock(other)));
        given_back.append(&mut state.queue);
        state.queue = given_back;
        // Without another thread what is queued waits until this one goes on.
        if !state.queue.is_empty() {
            let _ = threads.enlist_if_short(&mut state);
            threads.notify(state);
        } else {
            drop(state);
        }
        let home = Some(threads);
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Threads {
    /// `prepared`: each thread runs an `init` first.
    /// `name`, `stack_size`: of the threads. `idle_timeout`: after so long without work a thread ends.
    pub(super) fn new(
        workers: usize,
        prepared: bool,
        (name, stack_size): (&'static str, Option<usize>),
        idle_timeout: Option<Duration>,
    ) -> Arc<Self> {
        let most = workers + if prepared { MOST_PREPARED_SUBSTITUTES } else { MOST_SUBSTITUTES };
        Arc::new(Self {
            workers,
            most,
            name,
            stack_size,
            idle_timeout,
            state: Mutex::default(),
            more: Condvar::new(),
            ended: Condvar::new(),
            keeps: AtomicBool::new(false),
            added: AtomicU32::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
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
        self.added.fetch_add(1, Ordering::Relaxed);
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

    /// Wakes threads for what is in the queue, if some are idle.
    fn notify(&self, state: MutexGuard<'_, State>) {
        let (idle, queued) = (state.idle, state.queue.len());
        drop(state);
        match idle.min(queued) {
            0 => {}
            1 => self.more.notify_one(),
            _ => self.more.notify_all(),
        }
    }

    /// Takes all that has not begun, and ends what may be left out. The rest comes back.
    pub(super) fn leave_out(self: &Arc<Self>, leave_out: &dyn Fn(&dyn Work) -> bool) -> usize {
        let mut left_out = 0;
        let mut state = self.lock();
        let mut all = std::mem::take(&mut state.queue);
        state.taken.iter().for_each(|taken| all.append(&mut lock(taken)));
        drop(state);
        for work in all {
            if leave_out(&*work) {
                left_out += 1;
            } else {
                // There is a thread, or was: if there is none now it is dropped, as it would have been in the queue.
                let _ = self.push(work);
            }
        }
        left_out
    }

    /// Starts a thread for what is in the queue, if there should be one more.
    fn enlist_if_short(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let State { threads, blocked, idle, .. } = *state;
        let is_short = threads - blocked < self.workers && threads < self.most;
        if state.queue.len() > idle && is_short { self.enlist(state) } else { Ok(()) }
    }

    fn enlist(self: &Arc<Self>, state: &mut State) -> io::Result<()> {
        let threads = Arc::clone(self);
        let number = state.next;
        let mut builder = std::thread::Builder::new().name(format!("{}-{number}", self.name));
        if let Some(size) = self.stack_size {
            builder = builder.stack_size(size);
        }
        builder.spawn(move || threads.serve(number))?;
        state.threads += 1;
        state.alive += 1;
        state.next += 1;
        Ok(())
    }

    fn serve(self: Arc<Self>, number: usize) {
        NUMBER.set(Some(number));
        let taken = Arc::<Taken>::default();
        HOME.set(Some((Arc::downgrade(&self), Arc::clone(&taken))));
        self.lock().taken.push(Arc::clone(&taken));
        while let Some(first) = self.next(&taken) {
            let session = first.session();
            let mut next = Some(first);
            let mut several = || {
                while let Some(work) = next.take() {
                    // What is dropped with it may be the user's, and may panic.
                    panics::discard(move || work.work());
                    if session.as_ref().is_some_and(|session| session.is_in_the_way()) {
                        return;
                    }
                    next = lock(&taken).pop_front();
                }
            };
            match &session {
                Some(session) => session.around(&mut several),
                None => several(),
            }
        }
        kept::drop_all();
        self.lock().alive -= 1;
        self.ended.notify_all();
    }

    /// Threads keep values between tasks from now on.
    pub(super) fn keep_values(&self) {
        if !self.keeps.load(Ordering::Relaxed) {
            self.keeps.store(true, Ordering::Relaxed);
        }
    }

    /// Ends the threads, and waits until they have dropped what they keep, if they keep anything. There is nothing to do any more.
    pub(super) fn end_keepers(&self) {
        let is_ours =
            HOME.with_borrow(|home| home.as_ref().is_some_and(|(threads, _)| std::ptr::eq(threads.as_ptr(), self)));
        if !self.keeps.load(Ordering::Relaxed) || is_ours {
            return;
        }
        self.close();
        // Not for longer than a worker process may take.
        let deadline = Instant::now().checked_add(END_LIMIT);
        drop(wait_while(&self.state, &self.ended, deadline, |state| state.alive > 0));
    }

    /// Takes what is next, and more, or waits for it. `None` if the thread is to end: then it has been counted out.
    fn next(&self, taken: &Arc<Taken>) -> Option<Arc<dyn Work>> {
        if let Some(work) = lock(taken).pop_front() {
            return Some(work);
        }
        let mut state = self.lock();
        let mut has_looked = false;
        loop {
            if let Some(work) = state.take(taken) {
                return Some(work);
            }
            let mut ends = state.closed;
            if !ends && !std::mem::replace(&mut has_looked, true) {
                // To sleep and be woken costs more than most tasks.
                let before = self.added.load(Ordering::Relaxed);
                drop(state);
                spin(|| self.added.load(Ordering::Relaxed) != before);
                state = self.lock();
                continue;
            }
            if !ends {
                has_looked = false;
                let limit = if state.threads > self.workers { Some(LINGER) } else { self.idle_timeout };
                state.idle += 1;
                let timed_out;
                (state, timed_out) = if let Some(limit) = limit {
                    let waited = self.more.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner);
                    (waited.0, waited.1.timed_out())
                } else {
                    (self.more.wait(state).unwrap_or_else(PoisonError::into_inner), false)
                };
                state.idle -= 1;
                ends = timed_out
                    && state.queue.is_empty()
                    && (state.threads > self.workers || self.idle_timeout.is_some());
            }
            if ends {
                state.threads -= 1;
                state.taken.retain(|other| !Arc::ptr_eq(other, taken));
                return None;
            }
        }
    }

    /// The pool is gone: the threads end when they have done what is in the queue.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.more.notify_all();
    }
}

impl State {
    /// Takes what is next, and a part of what follows it, if no thread is idle; else half of what another thread has not begun.
    fn take(&mut self, taken: &Arc<Taken>) -> Option<Arc<dyn Work>> {
        if let Some(first) = self.queue.pop_front() {
            if self.idle == 0 {
                let more = (self.queue.len() / (2 * self.threads.max(1))).min(MOST_AT_ONCE - 1);
                if more > 0 {
                    lock(taken).extend(self.queue.drain(..more));
                }
            }
            return Some(first);
        }
        self.taken.iter().filter(|other| !Arc::ptr_eq(other, taken)).find_map(|other| {
            let mut theirs = lock(other);
            let half = theirs.len() / 2;
            let mut ours = theirs.split_off(half);
            drop(theirs);
            let first = ours.pop_front();
            if !ours.is_empty() {
                lock(taken).append(&mut ours);
            }
            first
        })
    }
}
