//! Who counts the tasks of a pool, and what the pool tells of itself.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Instant;

use super::engine::{Book, Engine};
use super::inside::Inside;
use super::semaphore::Switched;
use super::shards::Shard;
#[cfg(feature = "dashboard")]
use crate::observe::Pool;
#[cfg(feature = "dashboard")]
use crate::observe::dashboard::LivePool;
use crate::observe::stats::{PoolStats, WorkerLoad};
use crate::observe::{self, Counters, Fate, Run, Seen, timeline};
use crate::sys::clock;

/// Counts a task from its submission to its end, which is a failure unless it is marked otherwise.
pub(super) struct Counted<'e> {
    engine: &'e Engine,
    seen: Option<Box<Seen>>,
    began: u64,
    /// It is a call, and counts as one that runs.
    is_running_call: bool,
    pub(super) fate: Fate,
}

/// Counts a task while it runs.
pub(super) struct Running<E: Deref<Target = Engine>>(E);

impl Engine {
    /// A task has ended, and is counted, but nothing has seen it yet.
    #[inline]
    pub(super) fn count(&self, fate: Fate, seen: Option<&Seen>, run: Option<Run>) {
        let shard = self.shards.here();
        let count = match fate {
            Fate::Done => &shard.done,
            Fate::Cancelled => &shard.cancelled,
            Fate::Failed | Fate::TimedOut | Fate::Died => &shard.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        if let (Some(seen), Some(run)) = (seen, run) {
            self.book().counters.time(seen, run);
        }
    }

    /// Its end can be seen.
    #[inline]
    pub(super) fn leave(&self) {
        self.shards.here().left.fetch_add(1, Ordering::SeqCst);
        self.has_left();
    }

    /// It is counted as one that has left.
    #[inline]
    fn has_left(&self) {
        // A thread that shuts the pool down says so first, and then looks how many are left: so one of the two sees the other.
        if self.closed.load(Ordering::SeqCst) {
            drop(self.book());
            self.none_left.notify_all();
        }
    }

    /// How many have come and not left.
    pub(super) fn outstanding(&self, book: &Book) -> u64 {
        let left = self.shards.sum(|shard| &shard.left).wrapping_add(self.shards.sum(|shard| &shard.calls_done));
        book.admitted.wrapping_sub(left)
    }

    /// Tells those who record tasks. To be called without a lock.
    pub(super) fn record(&self, fate: Fate, seen: &Seen, run: Option<Run>) {
        if observe::is_on() {
            timeline::task(self.pool, seen, run, fate);
        }
        if seen.span.is_some() {
            seen.span.clone().close(seen.submitted, run, fate, None);
        }
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let started = self.started.load(Ordering::Relaxed) && !self.closed.load(Ordering::Relaxed);
        let alive = self.first.get().map(Instant::elapsed);
        // All threads together, which are as many as there are permits.
        let load = alive.map(|alive| WorkerLoad::new(None, self.semaphore.busy(), alive * self.workers as u32));
        let book = self.book();
        let Counters { waited, ran, .. } = &book.counters;
        let sum = |count: fn(&Shard) -> &AtomicU64| self.shards.sum(count);
        // In this order: a call that ends meanwhile runs, or is done.
        let calls_done = sum(|shard| &shard.calls_done);
        let calls_begun = sum(|shard| &shard.calls_begun);
        let (done, failed) = (calls_done + sum(|shard| &shard.done), sum(|shard| &shard.failed));
        let cancelled = sum(|shard| &shard.cancelled);
        let running = sum(|shard| &shard.running).wrapping_add(calls_begun).wrapping_sub(calls_done);
        // They are read one after the other.
        let running = running.cast_signed().max(0).cast_unsigned();
        let (finished, submitted) = (done + failed + cancelled, book.admitted - book.accepted);
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        PoolStats {
            name: self.pool.called,
            workers_alive: if started { self.workers } else { 0 },
            submitted,
            finished,
            done,
            failed,
            cancelled,
            running,
            queued: (submitted - finished).saturating_sub(running.saturating_sub(abandoned)),
            timed_out: self.timed_out.load(Ordering::Relaxed),
            abandoned,
            waited: waited.percentiles(),
            ran: ran.percentiles(),
            load: load.into_iter().collect(),
            ..PoolStats::empty(self.workers)
        }
    }
}

/// This thread runs a piece of a map as long as this lives.
pub(super) struct Entered<'e> {
    pub(super) _permit: Switched,
    pub(super) _inside: Inside,
    pub(super) _engine: PhantomData<&'e Engine>,
}

impl<'e> Counted<'e> {
    pub(super) fn new(engine: &'e Engine, seen: Option<Box<Seen>>) -> Self {
        Self { engine, seen, began: 0, is_running_call: false, fate: Fate::Failed }
    }

    /// Its pieces are in the record of tasks.
    pub(super) fn end_recorded_elsewhere(mut self) {
        let run = Run { began: self.began, ended: clock::now(), place: 0, pid: 0 };
        let seen = self.seen.take().filter(|_| self.began != 0);
        self.engine.count(self.fate, seen.as_deref(), Some(run));
        self.engine.leave();
        if let Some(seen) = seen {
            seen.span.close(seen.submitted, Some(run), self.fate, None);
        }
        std::mem::forget(self);
    }

    /// It begins to run, on this thread.
    #[inline]
    pub(super) fn begin_call(&mut self) {
        self.engine.shards.here().calls_begun.fetch_add(1, Ordering::Relaxed);
        self.is_running_call = true;
        self.begin();
        if let Some(seen) = &self.seen {
            timeline::begin_on_thread(self.engine.pool, seen.function, place(), self.began);
        }
    }

    /// It begins to run.
    pub(super) fn begin(&mut self) {
        if self.seen.is_some() {
            self.began = clock::now();
        }
    }
}

impl Drop for Counted<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.is_running_call {
            let shard = self.engine.shards.here();
            if self.seen.is_none() && matches!(self.fate, Fate::Done) {
                shard.calls_done.fetch_add(1, Ordering::SeqCst);
                return self.engine.has_left();
            }
            shard.running.fetch_sub(1, Ordering::Relaxed);
        }
        let run = (self.began != 0).then(|| Run { began: self.began, ended: clock::now(), place: place(), pid: 0 });
        self.engine.count(self.fate, self.seen.as_deref(), run);
        self.engine.leave();
        if let Some(seen) = &self.seen {
            self.engine.record(self.fate, seen, run);
        }
    }
}

/// A number for this thread: what it is known by in a record of tasks.
pub(super) fn place() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static PLACE: u32 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    PLACE.with(|place| *place)
}

impl<E: Deref<Target = Engine>> Running<E> {
    pub(super) fn new(engine: E) -> Self {
        engine.shards.here().running.fetch_add(1, Ordering::Relaxed);
        Self(engine)
    }
}

impl<E: Deref<Target = Engine>> Drop for Running<E> {
    fn drop(&mut self) {
        // Perhaps on another thread: the sum counts.
        self.0.shards.here().running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(feature = "dashboard")]
impl LivePool for Engine {
    fn pool(&self) -> Pool {
        self.pool
    }

    fn stats(&self) -> PoolStats {
        Engine::stats(self)
    }
}
