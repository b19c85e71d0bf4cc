//! A task that was submitted to threads.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::body::Body;
use super::counted::{self, Running};
use super::engine::{Cancel, Engine};
use super::inside::Inside;
use super::polling;
use super::threads::{Session, Work};
use super::timer::{self, Due};
use super::turn::Turn;
use crate::error::TaskError;
use crate::function::erased::ErasedValue;
use crate::function::table::FunctionTable;
use crate::observe::{Fate, Run, Seen, timeline};
use crate::panics;
use crate::sys::{clock, fork};
use crate::wait::blocking::wait_while;
use crate::wait::condvar::Condvar;
use crate::wait::executor;
use crate::wait::notify::{Watcher, Watchers};

const PENDING: u8 = 0;
const RUNNING: u8 = 1;
const DONE: u8 = 2;

/// A task: its body until a thread claims it, its result from when it ends.
///
/// `state` goes PENDING → RUNNING → DONE, or PENDING → DONE when it is cancelled; the thread that makes the first step owns the body.
/// A task with a limit goes to DONE when it is over it, by the hand of the thread that looks; its body runs on, and its value is dropped.
/// The future of an `async fn` is dropped then, see [`turns`](super::turns).
pub(crate) struct Job {
    function: &'static FunctionTable,
    state: AtomicU8,
    /// Of a future also while it runs, whenever no thread polls it.
    pub(super) body: Mutex<Option<Body>>,
    pub(super) turns: Option<Turn>,
    /// Under this lock `state` becomes DONE.
    end: Mutex<End>,
    /// It has begun, or it is done.
    done: Condvar,
    /// What most tasks do not have.
    rare: Option<Box<Rare>>,
    /// The pool that counts this task; a task on a thread of its own has none.
    pub(super) engine: Option<Arc<Engine>>,
}

/// What is particular about a task.
#[derive(Default)]
pub(super) struct Rare {
    limit: Option<Duration>,
    began: OnceLock<Instant>,
    /// Its entry with the timer, for its limit. Written under the lock of its end.
    timer: Mutex<Option<timer::Key>>,
    /// If it is looked at.
    seen: Option<Box<Seen>>,
    /// From when on it ran, and where; 0 if it has not.
    ran: AtomicU64,
    place: AtomicU32,
    /// Once this is set it does not begin any more.
    stop: Option<Arc<AtomicBool>>,
}

impl Rare {
    pub(super) fn new(limit: Option<Duration>, seen: Option<Box<Seen>>, stop: Option<Arc<AtomicBool>>) -> Self {
        Self { limit, seen, stop, ..Self::default() }
    }

    pub(super) fn limited(limit: Option<Duration>) -> Self {
        Self { limit, ..Self::default() }
    }

    fn timer(&self) -> MutexGuard<'_, Option<timer::Key>> {
        self.timer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_needed(&self) -> bool {
        self.limit.is_some() || self.seen.is_some() || self.stop.is_some()
    }
}

/// What a task came to.
type JobResult = Result<ErasedValue<'static>, TaskError>;

#[derive(Default)]
struct End {
    result: Option<Result<ErasedValue<'static>, Box<TaskError>>>,
    /// The watchers that its end wakes.
    watchers: Watchers,
}

impl End {
    fn take(&mut self) -> Option<JobResult> {
        self.result.take().map(|result| result.map_err(|error| *error))
    }
}

impl Job {
    pub(super) fn new(function: &'static FunctionTable, body: Body, engine: Option<Arc<Engine>>, rare: Rare) -> Self {
        Self {
            function,
            state: AtomicU8::new(PENDING),
            turns: (engine.is_some() && body.is_future()).then(Turn::new),
            body: Mutex::new(Some(body)),
            end: Mutex::default(),
            done: Condvar::new(),
            rare: rare.is_needed().then(|| Box::new(rare)),
            engine,
        }
    }

    /// The name of its function.
    pub(super) fn function(&self) -> &'static str {
        self.function.name
    }

    fn limit(&self) -> Option<Duration> {
        self.rare.as_ref()?.limit
    }

    fn seen(&self) -> Option<&Seen> {
        self.rare.as_ref()?.seen.as_deref()
    }

    fn began(&self) -> Option<Instant> {
        self.rare.as_ref()?.began.get().copied()
    }

    /// Runs something inside its span.
    pub(super) fn inside<T>(&self, run: impl FnOnce() -> T) -> T {
        match self.seen() {
            Some(seen) => seen.span.inside(run),
            None => run(),
        }
    }

    /// To be held while its body runs, and not by those who are told of its end: then it is not in the pool any more.
    pub(super) fn inside_pool(&self) -> Option<Inside> {
        self.engine.as_ref().map(|engine| engine.inside())
    }

    /// Runs it on a thread of the pool, unless it was claimed or cancelled.
    pub(crate) fn run_on_pool(self: &Arc<Self>) {
        if self.is_finished() {
            return;
        }
        if self.engine.as_ref().is_some_and(|engine| engine.killed.load(Ordering::Relaxed)) {
            self.cancel();
            return;
        }
        // The permit comes before the claim: a task that is claimed runs.
        let _permit = self.engine.as_ref().map(|engine| engine.semaphore.enter());
        self.run(false);
    }

    fn claim(&self, next: u8) -> bool {
        self.state.compare_exchange(PENDING, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// `to_its_end`: even if it is a future.
    fn run(self: &Arc<Self>, to_its_end: bool) {
        if !self.claim(RUNNING) {
            return;
        }
        let body = self.take_body();
        let rare = self.rare.as_deref();
        if let Some(rare) = rare.filter(|rare| rare.seen.is_some()) {
            let (place, now) = (counted::place(), clock::now());
            rare.place.store(place, Ordering::Relaxed);
            rare.ran.store(now, Ordering::Relaxed);
            if let Some(engine) = &self.engine {
                timeline::begin_on_thread(engine.pool, self.function.name, place, now);
                // It may have been killed meanwhile.
                if self.state.load(Ordering::Acquire) == DONE {
                    timeline::end_on_thread(engine.pool, place, now);
                }
            }
        }
        let inside = self.inside_pool();
        let takes_turns = self.turns.is_some() && !to_its_end;
        let running = self.engine.as_deref().filter(|_| !takes_turns).map(Running::new);
        let is_stopped = rare.and_then(|rare| rare.stop.as_ref()).is_some_and(|stop| stop.load(Ordering::Relaxed));
        let wanted = if is_stopped { Err(TaskError::Cancelled) } else { Ok(()) };
        let prepared =
            wanted.and_then(|()| self.engine.as_ref().map_or(Ok(()), |engine| engine.prepare(self.function)));
        if let Some(rare) = rare.filter(|rare| rare.limit.is_some()) {
            let _ = rare.began.set(Instant::now());
            // Who waits looks when the limit ends.
            let is_watched = !self.end().watchers.is_empty();
            self.done.notify_all();
            if is_watched || self.turns.is_some() {
                self.time();
            }
        }
        let result = match (prepared, body) {
            (Ok(()), Some(Body::Future(future))) if takes_turns => {
                drop(inside);
                return self.begin_turns(future, self.engine.clone().map(Running::new));
            }
            (Ok(()), Some(body)) => {
                panics::catch(|| self.inside(|| body.run())).map_err(|caught| caught.into_error(self.function.name))
            }
            (Err(error), body) => {
                panics::discard(|| executor::inside(|| drop(body)));
                Err(error)
            }
            (_, None) => Err(TaskError::Cancelled),
        };
        drop((running, inside));
        self.end_with(result);
    }

    /// Its body has ended.
    pub(super) fn end_with(&self, result: JobResult) {
        if (self.expire_if_due() || !self.finish(result))
            && self.turns.is_none()
            && let Some(engine) = &self.engine
        {
            // Its timeout was reported.
            engine.abandoned.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// No thread wants it any more. What its destructors do is not ours.
    pub(super) fn drop_body(&self) {
        panics::discard(|| executor::inside(|| drop(self.take_body())));
    }

    pub(super) fn take_body(&self) -> Option<Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Ends it without running it.
    pub(crate) fn fail(&self, error: TaskError) {
        if self.claim(RUNNING) {
            // Before its end: a body that borrows must be gone when the scope that waits for it returns.
            self.drop_body();
            self.finish(Err(error));
        }
    }

    /// False if it had ended before.
    fn finish(&self, result: JobResult) -> bool {
        let mut end = self.end();
        if self.state.load(Ordering::Acquire) == DONE {
            drop(end);
            panics::discard(|| drop(result));
            return false;
        }
        let fate = result.as_ref().map_or_else(Fate::of, |_| Fate::Done);
        let seen = self.seen();
        let run = self.rare.as_ref().filter(|rare| rare.seen.is_some()).and_then(|rare| {
            let (began, place) = (rare.ran.load(Ordering::Relaxed), rare.place.load(Ordering::Relaxed));
            (began != 0).then(|| Run { began, ended: clock::now(), place, pid: 0 })
        });
        if let Some(engine) = &self.engine {
            // Before its end is visible: the counts may be looked at then.
            engine.count(fate, seen, run);
        }
        end.result = Some(result.map_err(Box::new));
        self.state.store(DONE, Ordering::Release);
        let watchers = std::mem::take(&mut end.watchers);
        let timer = self.rare.as_ref().and_then(|rare| rare.timer().take());
        drop(end);
        self.done.notify_all();
        if let Some(engine) = &self.engine {
            engine.leave();
        }
        if let Some(key) = timer {
            timer::forget(key);
        }
        if let (Some(engine), Some(seen)) = (&self.engine, seen) {
            engine.record(fate, seen, run);
        }
        watchers.fire();
        true
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a watcher told of its end.
    ///
    /// # Errors
    ///
    /// The watcher, if it has ended.
    pub(crate) fn watch(self: &Arc<Self>, watcher: Watcher) -> Result<(), Watcher> {
        if matches!(watcher, Watcher::Waker(_) | Watcher::Signal(_)) {
            self.run_if_no_other_thread_can();
        }
        self.expire_if_due();
        let mut end = self.end();
        if self.is_done() || fork::check().is_err() {
            return Err(watcher);
        }
        let unwanted = end.watchers.add(watcher);
        drop(end);
        drop(unwanted);
        self.time();
        Ok(())
    }

    /// Has its limit looked at when it is over, since no thread may be waiting then.
    fn time(self: &Arc<Self>) {
        let (Some(expiry), Some(rare)) = (self.expiry(), &self.rare) else { return };
        let _end = self.end();
        let mut timer = rare.timer();
        if timer.is_none() && !self.is_done() {
            *timer = Some(timer::look_at(expiry, Arc::downgrade(self) as _));
        }
    }

    /// Whether it has ended, and not with a value.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(&self.end().result, Some(Err(error)) if !matches!(**error, TaskError::Cancelled))
    }

    /// A task of the pool that waits for another one runs it itself, if that has not begun: it would only wait.
    fn run_if_it_is_ours(self: &Arc<Self>) {
        // What it keeps may be in use by the task that waits.
        let keeps = self.function.keep.is_some();
        if self.turns.is_none() && !keeps && self.engine.as_ref().is_some_and(|engine| engine.semaphore.is_held()) {
            self.run(false);
        }
    }

    /// An executor that a task of the pool runs, and that waits for another task of it, does not know that it keeps a permit.
    fn run_if_no_other_thread_can(self: &Arc<Self>) {
        let is_stuck = |engine: &Arc<Engine>| engine.semaphore.is_held() && engine.semaphore.stay_taken();
        // A body that takes turns gives its permit back by itself.
        if !polling::is_polling() && self.engine.as_ref().is_some_and(is_stuck) {
            self.run(true);
        }
    }

    /// When it is over its limit; `None` if it has none or has not begun.
    fn expiry(&self) -> Option<Instant> {
        self.began()?.checked_add(self.limit()?)
    }

    /// Ends it if it is over its limit. True if this call did.
    fn expire_if_due(&self) -> bool {
        let Some(after) = self.limit().filter(|_| self.expiry().is_some_and(|expiry| Instant::now() >= expiry)) else {
            return false;
        };
        if self.state.load(Ordering::Acquire) == DONE {
            return false;
        }
        // A future can be dropped; what keeps its thread cannot be ended.
        let left = u64::from(self.turns.is_none());
        if let Some(engine) = &self.engine {
            engine.abandoned.fetch_add(left, Ordering::Relaxed);
        }
        let expired = self.finish(Err(TaskError::timed_out(after).of(self.function.name)));
        if let Some(engine) = &self.engine {
            if expired {
                engine.timed_out.fetch_add(1, Ordering::Relaxed);
            } else {
                engine.abandoned.fetch_sub(left, Ordering::Relaxed);
            }
        }
        if expired && self.turns.is_some() {
            self.drop_body();
        }
        expired
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.expire_if_due();
        self.is_done()
    }

    pub(super) fn is_done(&self) -> bool {
        self.state.load(Ordering::Acquire) == DONE
    }

    pub(crate) fn is_running(&self) -> bool {
        self.state.load(Ordering::Acquire) == RUNNING
    }

    /// Whether it will never run.
    pub(crate) fn cancel(&self) -> bool {
        if !self.claim(RUNNING) {
            return false;
        }
        self.drop_body();
        self.finish(Err(TaskError::Cancelled))
    }

    /// Ends it, if that can be done: it has not started, or it is a future.
    pub(crate) fn kill(&self) -> bool {
        if self.cancel() {
            return true;
        }
        let ended = self.turns.is_some() && self.finish(Err(TaskError::Cancelled));
        if ended {
            self.drop_body();
        }
        ended
    }

    /// Takes the result, if it is here.
    pub(crate) fn take(&self) -> Option<JobResult> {
        if self.is_done() { self.end().take() } else { None }
    }

    /// Waits for the end, at most until `deadline`. Takes the result; a second call finds none and gives `Cancelled`.
    pub(crate) fn wait(self: &Arc<Self>, deadline: Option<Instant>) -> Option<JobResult> {
        if deadline.is_none() {
            self.run_if_it_is_ours();
        }
        loop {
            if let Err(error) = fork::check() {
                return Some(Err(TaskError::Spawn(error)));
            }
            let had_begun = self.began().is_some();
            let expiry = self.expiry();
            let until = match (deadline, expiry) {
                (Some(deadline), Some(expiry)) => Some(deadline.min(expiry)),
                (deadline, expiry) => deadline.or(expiry),
            };
            // It begins while we wait: then there is an expiry to wait for.
            let begins = || self.limit().is_some() && self.began().is_some() != had_begun;
            let mut end = wait_while(&self.end, &self.done, until, |_| !self.is_done() && !begins());
            if self.is_done() {
                return Some(end.take().unwrap_or(Err(TaskError::Cancelled)));
            }
            drop(end);
            if !self.expire_if_due() && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
        }
    }
}

impl Work for Job {
    fn work(self: Arc<Self>) {
        if !self.go_on() {
            self.run_on_pool();
        }
    }

    fn session(&self) -> Option<Arc<dyn Session>> {
        Some(self.engine.clone()? as _)
    }

    fn cancel(&self) -> bool {
        Job::cancel(self)
    }

    fn leave_out(&self) -> bool {
        Job::kill(self);
        true
    }
}

impl Due for Job {
    fn look(&self) {
        self.expire_if_due();
    }
}

impl Cancel for Job {
    fn kill(&self) {
        Job::kill(self);
    }

    fn is_over(&self) -> bool {
        // Without a look at the clock: the thread that asks holds the engine's lock, which an expiry would need.
        self.is_done()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;

    use super::*;
    use crate::function::erased::TypeOf;

    #[test]
    fn the_body_of_a_task_that_cannot_run_is_gone_before_the_task_has_ended() {
        /// Says whether the task had ended when it was dropped.
        struct Witness(Arc<Mutex<Vec<bool>>>, Arc<OnceLock<Weak<Job>>>);
        impl Drop for Witness {
            fn drop(&mut self) {
                let job = self.1.get().and_then(Weak::upgrade).expect("the task is there");
                self.0.lock().unwrap().push(job.is_finished());
            }
        }
        let (seen, place) = (Arc::default(), Arc::default());
        let witness = Witness(Arc::clone(&seen), Arc::clone(&place));
        let body = Body::Call(Box::new(move || {
            drop(witness);
            ErasedValue::new(())
        }));
        static FUNCTION: FunctionTable = FunctionTable {
            name: "f",
            item: TypeOf::<()>::table(),
            output: TypeOf::<()>::table(),
            run: |_| {},
            is_async: false,
            future: None,
            borrows_nothing: true,
            keep: None,
            remote: None,
        };
        let job = Arc::new(Job::new(&FUNCTION, body, None, Rare::default()));
        place.set(Arc::downgrade(&job)).unwrap();
        job.fail(TaskError::Cancelled);
        assert_eq!(*seen.lock().unwrap(), [false], "dropped once, before the end");
        assert!(job.is_finished());
    }
}
