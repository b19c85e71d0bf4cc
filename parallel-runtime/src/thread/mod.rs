//! The thread engine.
//!
//! Maps and submitted tasks run on a rayon pool. A plain call runs on the caller's own thread, which would only wait: that
//! saves two thread switches. [`Permits`] keep the number of tasks that run at a time, on whichever threads, at the pool's
//! size, so that a pool of one serialises a library that is not thread-safe.

pub(crate) mod ahead;
mod apart;
mod crew;
mod job;
mod map;
mod permits;
mod timer;
mod turns;
mod waiting;

use std::cell::RefCell;
use std::ops::Deref;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

pub(crate) use apart::{call_limited, map_apart, submit_all};
use crew::{Busy, Crew, Work};
pub(crate) use job::Job;
pub(crate) use map::{Failed, in_place};
use permits::Permits;
pub(crate) use permits::released;
pub(crate) use waiting::wait_while;

use crate::error::{PoolError, TaskError};
use crate::function::Body;
use crate::observe::{self, CallSpan, Fate, Kind, Pool, Run, Seen, Tally, timeline};
use crate::options::CallOptions;
use crate::panics;
use crate::pool::{PoolStats, WorkerLoad};
use crate::process::{clock, fork};

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
    rayon: OnceLock<rayon::ThreadPool>,
    /// Whether a map has all of `rayon`.
    mapping: AtomicBool,
    /// For maps that begin while another goes on, or while threads of `rayon` wait for something.
    others: Mutex<Vec<rayon::ThreadPool>>,
    crew: Arc<Crew>,
    closed: AtomicBool,
    killed: AtomicBool,
    /// Tasks submitted, and tasks that have ended.
    submitted: AtomicU64,
    finished: AtomicU64,
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

/// Counts a task from its submission to its end, which is a failure unless somebody says otherwise.
struct Counted<'e> {
    engine: &'e Engine,
    seen: Option<Box<Seen>>,
    began: u64,
    fate: Fate,
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

/// Counts a task while it runs.
struct Running<E: Deref<Target = Engine>>(E);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(workers: usize, init: Option<fn()>, defaults: CallOptions) -> Self {
        timeline::begin_if_asked();
        static IDS: AtomicU64 = AtomicU64::new(0);
        Self {
            workers,
            id: IDS.fetch_add(1, Ordering::Relaxed),
            init,
            init_failed: OnceLock::new(),
            defaults,
            permits: Permits::new(workers),
            rayon: OnceLock::new(),
            mapping: AtomicBool::new(false),
            others: Mutex::default(),
            crew: Crew::new(workers),
            closed: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            submitted: AtomicU64::new(0),
            finished: AtomicU64::new(0),
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
        self.rayon().map(drop).map_err(PoolError::Spawn)
    }

    fn rayon(&self) -> Result<&rayon::ThreadPool, std::io::Error> {
        fork::check()?;
        if let Some(pool) = self.rayon.get() {
            return Ok(pool);
        }
        let crew = Arc::downgrade(&self.crew);
        let pool = self.threads().start_handler(move |_| Crew::enlist(&crew)).build().map_err(std::io::Error::other)?;
        fork::watch();
        Ok(self.rayon.get_or_init(|| pool))
    }

    fn threads(&self) -> rayon::ThreadPoolBuilder {
        rayon::ThreadPoolBuilder::new().num_threads(self.workers).thread_name(|index| format!("parallel-{index}"))
    }

    /// Runs something on a rayon pool whose threads nothing keeps: neither what waits in the middle of a task, nor, if it is a `map`,
    /// another map, which might be what that task waits for.
    fn install<R: Send>(&self, map: bool, run: impl FnOnce() -> R + Send) -> Result<R, std::io::Error> {
        struct Mapping<'e>(&'e AtomicBool);
        impl Drop for Mapping<'_> {
            fn drop(&mut self) {
                self.0.store(false, Ordering::Release);
            }
        }
        let rayon = self.rayon()?;
        let run = || {
            let _busy = Busy::new();
            run()
        };
        if !self.crew.is_blocked() && !(map && self.mapping.swap(true, Ordering::AcqRel)) {
            let _mapping = map.then(|| Mapping(&self.mapping));
            // A thread of another pool that waits here runs what is its own meanwhile.
            return Ok(permits::released(|| rayon.install(run)));
        }
        let others = || self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let other = others().pop();
        let other = other.map_or_else(|| self.threads().build().map_err(std::io::Error::other), Ok)?;
        let result = permits::released(|| panic::catch_unwind(AssertUnwindSafe(|| other.install(run))));
        others().push(other);
        Ok(result.unwrap_or_else(|payload| panic::resume_unwind(payload)))
    }

    /// Has something run on the pool, some time.
    fn enqueue(&self, work: Arc<dyn Work>) -> Result<(), std::io::Error> {
        let rayon = self.rayon()?;
        self.crew.push(work);
        let crew = Arc::clone(&self.crew);
        rayon.spawn_fifo(move || crew.on_token());
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
        if self.closed.load(Ordering::Acquire) && (!accepted || self.is_killed()) {
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

    fn count(&self, fate: Fate, seen: Option<&Seen>, run: Option<Run>) {
        self.finished.fetch_add(1, Ordering::Relaxed);
        let mut book = self.book();
        book.outstanding -= 1;
        book.tally.end(fate, seen, run);
        drop(book);
        self.none_left.notify_all();
    }

    /// A task has ended.
    fn dismiss(&self, fate: Fate, seen: Option<&Seen>, run: Option<Run>) {
        self.count(fate, seen, run);
        let Some(seen) = seen else { return };
        if observe::is_on() {
            timeline::task(self.pool, seen, run, fate);
        }
        if seen.span.is_some() {
            seen.span.clone().close(seen.submitted, run, fate, None);
        }
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

    /// Runs `task` on this very thread, as one of the pool's tasks; on one of the pool's if they have an `init`.
    pub(crate) fn call<R: Send>(
        &self,
        function: &'static str,
        task: impl FnOnce() -> R + Send,
    ) -> Result<R, TaskError> {
        // A nested call belongs to a task that was admitted, and must run even while the pool is shutting down.
        if self.permits.held() {
            return Ok(task());
        }
        let span = CallSpan::open(function, 1, &self.pool);
        let seen = self.admit(false)?.tally.submit(function, 1, span.clone());
        let counted = Counted::new(self, seen);
        let run = move || {
            let mut counted = counted;
            let _permit = self.permits.enter();
            let _running = Running::new(self);
            self.prepare()?;
            counted.begin();
            let value = span.inside(task);
            counted.fate = Fate::Done;
            Ok(value)
        };
        match self.init {
            Some(_) => self.install(false, run).map_err(TaskError::Spawn)?,
            None => run(),
        }
    }

    /// Runs a task on the pool, some time.
    pub(crate) fn submit<R: Send + 'static>(
        self: &Arc<Self>,
        function: &'static str,
        limit: Option<Duration>,
        accepted: bool,
        body: Body<R>,
    ) -> Result<Arc<Job<R>>, TaskError> {
        self.rayon().map_err(TaskError::Spawn)?;
        let job = Arc::new(Job::new(function, body, limit, Some(Arc::clone(self))));
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
        self.enqueue(Arc::clone(&job) as _).map_err(TaskError::Spawn)?;
        Ok(job)
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// Runs `run` on each item and gives the results in order. `kill`: not on those that have not started when the pool is killed;
    /// `accepted`: see `admit`.
    pub(crate) fn map<A: Send, R: Send>(
        &self,
        function: &'static str,
        items: Vec<A>,
        smallest_piece: usize,
        stop: &AtomicBool,
        (kill, accepted): (bool, bool),
        run: &(impl Fn(A) -> R + Sync),
    ) -> Result<Result<Vec<R>, Failed>, TaskError> {
        let rayon = self.rayon().map_err(TaskError::Spawn)?;
        let nested = self.permits.held();
        let mut counted = None;
        let span = CallSpan::open(function, items.len() as u32, &self.pool);
        if !nested {
            let seen = self.admit(accepted)?.tally.submit(function, items.len() as u32, span.clone());
            counted = Some(Counted::new(self, seen));
        }
        if nested && self.workers == 1 {
            // The one permit is ours: nobody else could run the items.
            return Ok(map::in_place(items, stop, run));
        }
        let prepare = || self.prepare();
        let piece = |began: u64, items: usize, fate: Fate| {
            let (items, weight, span) = (items as u32, 1, CallSpan::default());
            let seen = Seen { function, items, submitted: began, weight, span };
            timeline::task(self.pool, &seen, Some(Run { began, ended: clock::now(), place: place(), pid: 0 }), fate);
        };
        let stops = map::Stops { stop, killed: kill.then_some(&self.killed) };
        let job = || map::map(&self.permits, &prepare, items, smallest_piece, stops, (&piece, &span), run);

        if let Some(counted) = &mut counted {
            counted.begin();
        }
        let result = if rayon.current_thread_index().is_some() {
            Ok(job())
        } else {
            self.install(true, job).map_err(TaskError::Spawn)
        };
        if let Some(mut counted) = counted {
            counted.fate = match &result {
                Ok(Ok(_)) => Fate::Done,
                Ok(Err(Failed::Stopped)) => Fate::Cancelled,
                Ok(Err(_)) | Err(_) => Fate::Failed,
            };
            counted.is_recorded_elsewhere();
        }
        result
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let submitted = self.submitted.load(Ordering::Relaxed);
        let finished = self.finished.load(Ordering::Relaxed);
        let running = self.running.load(Ordering::Relaxed);
        let started = self.rayon.get().is_some() && !self.closed.load(Ordering::Relaxed);
        let alive = self.first.get().map(Instant::elapsed);
        // All threads together, which are as many as there are permits.
        let load = alive.map(|alive| WorkerLoad::new(None, self.permits.busy(), alive * self.workers as u32));
        let book = self.book();
        let Tally { done, failed, cancelled, waited, ran, .. } = &book.tally;
        PoolStats {
            workers_alive: if started { self.workers } else { 0 },
            submitted,
            finished,
            done: *done,
            failed: *failed,
            cancelled: *cancelled,
            running,
            queued: submitted.saturating_sub(finished).saturating_sub(running),
            timed_out: self.timed_out.load(Ordering::Relaxed),
            abandoned: self.abandoned.load(Ordering::Relaxed),
            waited: waited.percentiles(),
            ran: ran.percentiles(),
            load: load.into_iter().collect(),
            ..PoolStats::empty(self.workers)
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
        let own = usize::from(self.permits.held());
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

impl<'e> Counted<'e> {
    fn new(engine: &'e Engine, seen: Option<Box<Seen>>) -> Self {
        Self { engine, seen, began: 0, fate: Fate::Failed }
    }

    /// Its pieces are in the record of tasks.
    fn is_recorded_elsewhere(mut self) {
        let run = Run { began: self.began, ended: clock::now(), place: 0, pid: 0 };
        let seen = self.seen.take().filter(|_| self.began != 0);
        self.engine.count(self.fate, seen.as_deref(), Some(run));
        if let Some(seen) = seen {
            seen.span.close(seen.submitted, Some(run), self.fate, None);
        }
        std::mem::forget(self);
    }

    /// It begins to run.
    fn begin(&mut self) {
        if self.seen.is_some() {
            self.began = clock::now();
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let run = (self.began != 0).then(|| Run { began: self.began, ended: clock::now(), place: place(), pid: 0 });
        self.engine.dismiss(self.fate, self.seen.as_deref(), run);
    }
}

/// A number for this thread: what it is known by in a record of tasks.
fn place() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static PLACE: u32 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    PLACE.with(|place| *place)
}

impl<E: Deref<Target = Engine>> Running<E> {
    fn new(engine: E) -> Self {
        engine.running.fetch_add(1, Ordering::Relaxed);
        Self(engine)
    }
}

impl<E: Deref<Target = Engine>> Drop for Running<E> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
