//! The thread engine.
//!
//! A plain call runs on the caller's own thread, which would only wait: that saves two thread switches. [`Permits`] keep the number of
//! tasks that run at a time, on whichever threads, at the pool's size, so that a pool of one serialises a library that is not
//! thread-safe.
//!
//! | module | what |
//! | --- | --- |
//! | [`permits`] | how many tasks run at a time |
//! | [`crew`] | the threads of submitted tasks |
//! | [`job`], [`turns`], [`turn`], [`timer`] | a submitted task; of an `async fn`, and when it is polled; its time limit |
//! | [`map`], [`leases`] | maps, on rayon |
//! | [`prepared`] | calls and maps where there is an `init` |
//! | [`apart`], [`prefetch`] | many items of which each is a task; items a little ahead of their results |
//! | [`backend`] | what the verbs ask of it |
//! | [`counted`] | the counts of a pool, and records of its tasks |

mod apart;
mod backend;
mod counted;
mod crew;
mod job;
mod leases;
mod map;
mod permits;
mod prefetch;
mod prepared;
mod scoped;
mod timer;
mod turn;
mod turns;

use std::cell::RefCell;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use counted::{Counted, Entered, Inside, Running, place};
use crew::Crew;
use job::{Body, Job};
use leases::Leases;
use map::MapJob;
use permits::Permits;

use crate::backend::{Failed, Map, Results};
use crate::error::{PoolError, TaskError};
use crate::function::erased::ErasedVec;
use crate::function::table::{FunctionTable, Piece, Stops, Written};
use crate::observe::{CallSpan, Fate, Kind, Pool, Run, Seen, Tally, timeline};
use crate::options::CallOptions;
use crate::panics;
use crate::sys::{clock, fork};
use crate::wait::blocking::{self, wait_while};

/// A pool of threads: what [`ThreadPool`](crate::ThreadPool) stands for once it has been used.
pub(crate) struct Engine {
    workers: usize,
    /// What it is known by on its threads.
    id: u64,
    init: Option<fn()>,
    /// Why `init` failed, if it did.
    init_failed: OnceLock<String>,
    /// Of calls that say nothing else.
    pub(crate) defaults: CallOptions,
    permits: Permits,
    leases: Leases,
    crew: Arc<Crew>,
    /// Whether a thread was ever needed.
    started: AtomicBool,
    closed: AtomicBool,
    killed: AtomicBool,
    submitted: AtomicU64,
    running: AtomicU64,
    timed_out: AtomicU64,
    /// Tasks that timed out and still run.
    abandoned: AtomicU64,
    book: Mutex<Book>,
    none_left: Condvar,
    /// What it is called in a record of tasks.
    pool: Pool,
    /// When the first task came.
    first: OnceLock<Instant>,
}

/// The tasks that have not ended.
#[derive(Default)]
struct Book {
    outstanding: usize,
    tally: Tally,
    /// Those that were submitted, for `kill`; from time to time those that have ended are weeded out.
    jobs: Vec<Weak<dyn Cancel>>,
}

/// A task that can still be stopped from running, whatever its result.
trait Cancel: Send + Sync {
    fn kill(&self);
    fn is_over(&self) -> bool;
}

/// Something of several tasks that the pool has accepted.
pub(crate) struct Accepted(Arc<Engine>);

impl Drop for Accepted {
    fn drop(&mut self) {
        let mut book = self.0.book();
        book.outstanding -= 1;
        self.0.none_left.notify_all();
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(workers: usize, init: Option<fn()>, defaults: CallOptions) -> Self {
        timeline::begin_if_asked();
        blocking::set_hook(permits::released);
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self {
            workers,
            id: IDS.fetch_add(1, Ordering::Relaxed),
            init,
            init_failed: OnceLock::new(),
            defaults,
            permits: Permits::new(workers),
            leases: Leases::default(),
            crew: Crew::new(workers, init.is_some()),
            started: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            submitted: AtomicU64::new(0),
            running: AtomicU64::new(0),
            timed_out: AtomicU64::new(0),
            abandoned: AtomicU64::new(0),
            book: Mutex::new(Book::default()),
            none_left: Condvar::new(),
            pool: Pool::new(Kind::Threads, workers),
            first: OnceLock::new(),
        }
    }

    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Starts the threads, if they are not running yet.
    pub(crate) fn start(&self) -> Result<(), PoolError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(PoolError::Closed);
        }
        self.check().and_then(|()| self.crew.start()).map_err(PoolError::Spawn)
    }

    /// A thread is needed.
    fn check(&self) -> Result<(), std::io::Error> {
        fork::check()?;
        if !self.started.load(Ordering::Relaxed) && !self.started.swap(true, Ordering::Relaxed) {
            fork::watch();
        }
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a task in, unless the pool is closed.
    ///
    /// `accepted`: it is part of something that the pool accepted before it was closed.
    fn admit(&self, accepted: bool) -> Result<MutexGuard<'_, Book>, TaskError> {
        let mut book = self.book();
        if self.closed.load(Ordering::Acquire) && (!accepted || self.killed.load(Ordering::Relaxed)) {
            return Err(TaskError::PoolClosed);
        }
        book.outstanding += 1;
        self.submitted.fetch_add(1, Ordering::Relaxed);
        self.first.get_or_init(Instant::now);
        Ok(book)
    }

    /// Accepts a map, whose items will be submitted later: the pool is not shut down before it has ended.
    pub(crate) fn accept(self: &Arc<Self>) -> Result<Accepted, TaskError> {
        let mut book = self.book();
        if self.closed.load(Ordering::Acquire) {
            return Err(TaskError::PoolClosed);
        }
        book.outstanding += 1;
        Ok(Accepted(Arc::clone(self)))
    }

    /// Makes sure that `init` has run on this thread.
    fn prepare(&self) -> Result<(), TaskError> {
        thread_local! {
            static PREPARED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
        }
        let Some(init) = self.init else { return Ok(()) };
        if PREPARED.with_borrow(|prepared| prepared.contains(&self.id)) {
            return Ok(());
        }
        let failed = |why: &String| Err(TaskError::Spawn(std::io::Error::other(why.clone())));
        if let Some(why) = self.init_failed.get() {
            return failed(why);
        }
        // Before it runs: it may call a function of this very pool.
        PREPARED.with_borrow_mut(|prepared| prepared.push(self.id));
        match panics::catch(init) {
            Ok(()) => Ok(()),
            Err(caught) => {
                PREPARED.with_borrow_mut(|prepared| prepared.retain(|id| *id != self.id));
                failed(self.init_failed.get_or_init(|| caught.init_failed()))
            }
        }
    }

    /// Runs a piece of one item on this very thread, as one of the pool's tasks; on one of the pool's if they have an `init`.
    fn call(&self, mut one: Piece<'_>) -> Result<Written, Failed> {
        let lost = || Failed::Error(TaskError::Cancelled);
        // A nested call belongs to a task that was admitted, and must run even while the pool is shutting down.
        if self.permits.held() {
            one.run();
            return one.finish().ok_or_else(lost);
        }
        let function = one.table().name;
        let span = CallSpan::open(function, 1, &self.pool);
        let seen = self.admit(false)?.tally.submit(function, 1, span.clone());
        let counted = Counted::new(self, seen);
        let run = move || {
            let mut counted = counted;
            let _permit = self.permits.enter();
            let _inside = Inside::new(self.id);
            let _running = Running::new(self);
            self.prepare()?;
            counted.begin();
            span.inside(|| one.run());
            counted.fate = Fate::Done;
            one.finish().ok_or_else(lost)
        };
        if self.init.is_none() {
            return run();
        }
        // On a thread that has been prepared.
        self.check().map_err(TaskError::Spawn)?;
        let mut result = None;
        let job = || result = Some(panics::catch(run));
        prepared::run(&self.crew, vec![Box::new(job)]).map_err(TaskError::Spawn)?;
        match result {
            Some(Ok(result)) => result,
            Some(Err(caught)) => Err(Failed::Panicked(caught)),
            None => Err(lost()),
        }
    }

    /// Runs a task on the pool, some time.
    /// `accepted`: see `admit`; `stop`: it does not begin any more once that is set.
    fn submit(
        self: &Arc<Self>,
        function: &'static str,
        limit: Option<Duration>,
        accepted: bool,
        body: Body,
        stop: Option<Arc<AtomicBool>>,
    ) -> Result<Arc<Job>, TaskError> {
        self.check().map_err(TaskError::Spawn)?;
        let job = Arc::new(Job::new(function, body, limit, Some(Arc::clone(self)), stop));
        let span = CallSpan::open(function, 1, &self.pool);
        let mut book = self.admit(accepted)?;
        if let Some(seen) = book.tally.submit(function, 1, span) {
            job.look_at(seen);
        }
        let mut over = Vec::new();
        if book.jobs.len() > 2 * book.outstanding + 64 {
            book.jobs.retain(|job| {
                let Some(job) = job.upgrade() else { return false };
                let keep = !job.is_over();
                // Its result may be the user's, and is not dropped under the lock.
                over.push(job);
                keep
            });
        }
        let weak: Weak<dyn Cancel> = Arc::downgrade(&(Arc::clone(&job) as Arc<dyn Cancel>));
        book.jobs.push(weak);
        drop(book);
        drop(over);
        if let Err(error) = self.crew.push(Arc::clone(&job) as _) {
            job.fail(TaskError::Spawn(error));
        }
        Ok(job)
    }

    /// Runs all items, and gives their results in order.
    fn map<'a>(
        &self,
        function: &'static FunctionTable,
        items: ErasedVec<'a>,
        map: &Map<'_>,
        results: &mut Results<'a>,
    ) -> Result<(), Failed> {
        self.check().map_err(TaskError::Spawn)?;
        let nested = self.permits.held();
        let (name, count) = (function.name, items.len() as u32);
        let mut counted = None;
        let span = CallSpan::open(name, count, &self.pool);
        if !nested {
            let seen = self.admit(map.accepted)?.tally.submit(name, count, span.clone());
            counted = Some(Counted::new(self, seen));
        }
        let record = |began: u64, items: usize, fate: Fate| {
            let (items, weight, span) = (items as u32, 1, CallSpan::none());
            let seen = Seen { function: name, items, submitted: began, weight, span };
            timeline::task(self.pool, &seen, Some(Run { began, ended: clock::now(), place: place(), pid: 0 }), fate);
        };
        if let Some(counted) = &mut counted {
            counted.begin();
        }
        let enter = || {
            let (permit, inside) = (self.permits.enter(), Inside::new(self.id));
            self.prepare().map(|()| Entered { _permit: permit, _inside: inside, _engine: PhantomData })
        };
        let ended = |items: usize| map.tell(items);
        let job = MapJob {
            function,
            enter: &enter,
            stops: Stops { stop: map.stop, killed: &self.killed },
            goes_on: map.goes_on,
            limit: map.options.timeout,
            record: &record,
            span: &span,
            ended: &ended,
            done: Mutex::default(),
        };
        let smallest_piece = map.options.chunk.unwrap_or(1);
        let mut unshared = None;
        let mapped = job.run(items, |len, run| {
            let shared = self.share_out(len, smallest_piece, map.stop, run);
            unshared = shared.err();
        });
        let mapped = unshared.map_or(mapped, |error| Err(Failed::Error(TaskError::Spawn(error))));
        if let Some(mut counted) = counted {
            counted.fate = match &mapped {
                Ok(_) => Fate::Done,
                Err(Failed::Error(TaskError::Cancelled)) => Fate::Cancelled,
                Err(_) => Fate::Failed,
            };
            counted.end_recorded_elsewhere();
        }
        *results = mapped?;
        Ok(())
    }

    /// Has ranges of so many items run, each index in one of them.
    fn share_out(
        &self,
        len: usize,
        smallest_piece: usize,
        stop: &AtomicBool,
        run: &(dyn Fn(usize, usize) + Sync),
    ) -> std::io::Result<()> {
        let nested = self.permits.held();
        if nested && self.workers == 1 {
            // The one permit is ours: nobody else could run the items.
            run(0, len);
            return Ok(());
        }
        if self.init.is_some() {
            return prepared::share_out((&self.crew, self.workers), len, smallest_piece, stop, run);
        }
        let split = || map::split_on_rayon(len, smallest_piece, run);
        if nested && rayon::current_thread_index().is_some() {
            // A piece of another map: with the threads of that.
            split();
            return Ok(());
        }
        match self.leases.run(self.workers, split) {
            Ok(Ok(())) => Ok(()),
            // Others are using all permits.
            Ok(Err(split)) => {
                split();
                Ok(())
            }
            Err(error) => {
                stop.store(true, Ordering::Relaxed);
                // What is not run is to be dropped.
                run(0, len);
                Err(error)
            }
        }
    }

    /// Takes no more tasks, and waits until all are done.
    pub(crate) fn shutdown(&self) {
        if fork::check().is_err() {
            return;
        }
        let book = self.book();
        self.closed.store(true, Ordering::Release);
        drop(book);
        // A task that shuts its own pool down cannot wait for itself.
        let own = Inside::count(self.id);
        drop(wait_while(&self.book, &self.none_left, None, |book| book.outstanding > own));
    }

    /// Takes no more tasks, and cancels those that have not started.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        let mut book = self.book();
        self.closed.store(true, Ordering::Release);
        let jobs = std::mem::take(&mut book.jobs);
        drop(book);
        for job in jobs.iter().filter_map(Weak::upgrade) {
            job.kill();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.crew.close();
    }
}
