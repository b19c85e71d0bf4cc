//! A pool of threads: its state, and its end.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use super::inside::Inside;
use super::rayon_pools::RayonPools;
use super::semaphore::{self, Semaphore};
use super::shards::Shards;
use super::threads::Threads;
use crate::error::{PoolError, TaskError};
use crate::function::pool_state::PoolState;
use crate::function::table::FunctionTable;
use crate::observe::{self, Counters, Kind, Pool, dashboard};
use crate::options::{CallOptions, WorkerOptions};
use crate::panics;
use crate::sys::fork;
use crate::wait::blocking::{self, wait_while};
use crate::wait::condvar::Condvar;
use crate::wait::gate::Gate;

/// A pool of threads: what [`ThreadPool`](crate::ThreadPool) stands for once it has been used.
pub(crate) struct Engine {
    pub(super) workers: usize,
    pub(super) init: Option<fn()>,
    /// What each thread keeps, if the pool says so.
    pub(super) state: Option<Arc<PoolState>>,
    /// Why `init` failed, if it did.
    pub(super) init_failed: OnceLock<String>,
    /// How many submitted tasks may be outstanding.
    pub(super) gate: Option<Arc<Gate>>,
    /// Of calls that say nothing else.
    pub(crate) defaults: CallOptions,
    pub(super) semaphore: Semaphore,
    pub(super) rayon_pools: RayonPools,
    pub(super) threads: Arc<Threads>,
    /// Whether a thread was ever needed.
    pub(super) started: AtomicBool,
    pub(super) closed: AtomicBool,
    pub(super) killed: AtomicBool,
    pub(super) shards: Shards,
    pub(super) timed_out: AtomicU64,
    /// Tasks that timed out and still run.
    pub(super) abandoned: AtomicU64,
    pub(super) book: Mutex<Book>,
    pub(super) none_left: Condvar,
    /// What it is called in a record of tasks.
    pub(super) pool: Pool,
    /// When the first task came.
    pub(super) first: OnceLock<Instant>,
}

/// What is known of tasks when they come.
#[derive(Default)]
pub(super) struct Book {
    /// How many have come, and how many of them are only several that come later.
    pub(super) admitted: u64,
    pub(super) accepted: u64,
    pub(super) counters: Counters,
    /// Futures that were submitted, for `kill`; from time to time those that have ended are weeded out.
    pub(super) futures: Vec<Weak<dyn Cancel>>,
}

/// A task that can still be stopped from running, whatever its result.
pub(super) trait Cancel: Send + Sync {
    fn kill(&self);
    fn is_over(&self) -> bool;
}

/// Something of several tasks that the pool has accepted.
pub(crate) struct Accepted(Arc<Engine>);

impl Drop for Accepted {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(
        workers: usize,
        options: WorkerOptions,
        state: Option<Arc<PoolState>>,
        defaults: CallOptions,
    ) -> Arc<Self> {
        observe::begin_if_asked();
        blocking::set_hook(semaphore::released);
        let WorkerOptions { init, name, stack_size, idle_timeout, .. } = options;
        let pool = Pool::new(Kind::Threads, workers, name);
        let engine = Arc::new(Self {
            workers,
            init,
            state,
            gate: options.queue.map(|most| Arc::new(Gate::new(most))),
            init_failed: OnceLock::new(),
            defaults,
            semaphore: Semaphore::new(workers),
            rayon_pools: RayonPools::new(name.unwrap_or("parallel-map"), stack_size),
            threads: Threads::new(workers, init.is_some(), (name.unwrap_or("parallel"), stack_size), idle_timeout),
            started: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            shards: Shards::default(),
            timed_out: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            book: Mutex::new(Book::default()),
            none_left: Condvar::new(),
            pool,
            first: OnceLock::new(),
        });
        dashboard::watch(&engine);
        engine
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Starts the threads, if they are not running yet.
    pub(crate) fn start(&self) -> Result<(), PoolError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(PoolError::Closed);
        }
        self.check().and_then(|()| self.threads.start()).map_err(PoolError::Spawn)
    }

    /// A thread is needed.
    pub(super) fn check(&self) -> Result<(), std::io::Error> {
        fork::check()?;
        if !self.started.load(Ordering::Relaxed) && !self.started.swap(true, Ordering::Relaxed) {
            fork::watch();
        }
        Ok(())
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a task in, unless the pool is closed.
    ///
    /// `accepted`: it is part of something that the pool accepted before it was closed.
    pub(super) fn admit(&self, accepted: bool) -> Result<MutexGuard<'_, Book>, TaskError> {
        let mut book = self.book();
        if self.closed.load(Ordering::Acquire) && (!accepted || self.killed.load(Ordering::Relaxed)) {
            return Err(TaskError::PoolClosed);
        }
        book.admitted += 1;
        if self.first.get().is_none() {
            let _ = self.first.set(Instant::now());
        }
        Ok(book)
    }

    /// Accepts a map, whose items will be submitted later: the pool is not shut down before it has ended.
    pub(crate) fn accept(self: &Arc<Self>) -> Result<Accepted, TaskError> {
        let mut book = self.book();
        if self.closed.load(Ordering::Acquire) {
            return Err(TaskError::PoolClosed);
        }
        book.admitted += 1;
        book.accepted += 1;
        Ok(Accepted(Arc::clone(self)))
    }

    /// This thread begins to run a task of the pool.
    #[inline(always)]
    pub(super) fn inside(&self) -> Inside {
        Inside::new(self.pool, self.state.as_ref())
    }

    /// Whether the pool's own threads alone can run a function: those that are prepared for it.
    pub(super) fn needs_own_thread(&self, function: &FunctionTable) -> bool {
        self.init.is_some() || function.keep.is_some()
    }

    /// Makes sure that this thread is ready for a task of a function: `init` has run on it, and it has what the function keeps.
    #[inline(always)]
    pub(super) fn prepare(&self, function: &FunctionTable) -> Result<(), TaskError> {
        if self.needs_own_thread(function) { self.prepare_for(function) } else { Ok(()) }
    }

    #[cold]
    fn prepare_for(&self, function: &FunctionTable) -> Result<(), TaskError> {
        self.prepare_thread()?;
        if let Some(keep) = function.keep {
            self.threads.keep_values();
            keep()?;
        }
        Ok(())
    }

    fn prepare_thread(&self) -> Result<(), TaskError> {
        thread_local! {
            static PREPARED: RefCell<Vec<u32>> = const { RefCell::new(Vec::new()) };
        }
        let Some(init) = self.init else { return Ok(()) };
        if PREPARED.with_borrow(|prepared| prepared.contains(&self.pool.id)) {
            return Ok(());
        }
        let failed = |why: &String| Err(TaskError::Spawn(std::io::Error::other(why.clone())));
        if let Some(why) = self.init_failed.get() {
            return failed(why);
        }
        // Before it runs: it may call a function of this very pool.
        PREPARED.with_borrow_mut(|prepared| prepared.push(self.pool.id));
        match panics::catch(init) {
            Ok(()) => Ok(()),
            Err(caught) => {
                PREPARED.with_borrow_mut(|prepared| prepared.retain(|id| *id != self.pool.id));
                failed(self.init_failed.get_or_init(|| caught.init_failed()))
            }
        }
    }

    /// Takes no more tasks, and waits until all are done.
    pub(crate) fn shutdown(&self) {
        if fork::check().is_err() {
            return;
        }
        let book = self.book();
        self.closed.store(true, Ordering::SeqCst);
        drop(book);
        // A task that shuts its own pool down cannot wait for itself.
        let own = Inside::count(self.pool) as u64;
        drop(wait_while(&self.book, &self.none_left, None, |book| self.outstanding(book) > own));
        // A task that timed out and still runs may never end.
        if own == 0 && self.abandoned.load(Ordering::Relaxed) == 0 {
            self.threads.end_keepers();
        }
    }

    /// Cancels what has not started, and gives how many tasks that were.
    pub(crate) fn cancel_queued(&self) -> usize {
        self.threads.leave_out(&|work| work.cancel())
    }

    /// Takes no more tasks, and cancels those that have not started.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        let mut book = self.book();
        self.closed.store(true, Ordering::SeqCst);
        let futures = std::mem::take(&mut book.futures);
        drop(book);
        self.threads.leave_out(&|work| work.leave_out());
        for future in futures.iter().filter_map(Weak::upgrade) {
            future.kill();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.threads.close();
    }
}
