//! Items of which each is a task of its own: those with a time limit, and those of `async fn`s.
//!
//! Nobody can end a thread. A task that holds no borrows of its caller's is left to itself when its time is over: the caller gets
//! `TimedOut`, the thread runs on and keeps its place in the pool. A task that holds borrows must be waited for, whatever
//! it takes; its caller learns afterwards that it took too long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Engine, Failed, Job};
use crate::error::TaskError;
use crate::function::{Body, Detached, ParallelFn};
use crate::observe::progress::Meter;
use crate::options::CallOptions;
use crate::panics;
use crate::task::Shared;

/// Runs one item.
pub(crate) fn call_limited<F: ParallelFn>(
    engine: &Arc<Engine>,
    item: F::Item,
    limit: Duration,
) -> Result<F::Output, TaskError> {
    // A nested call goes on under the permit of the task that makes it.
    let detached = if engine.permits.held() { Err(item) } else { F::detach(item) };
    match detached {
        Ok(detached) => Flying::start(engine, F::spec().name, detached, Some(limit))?.land(),
        Err(item) => engine.call(F::spec().name, || timed(Some(limit), || F::run(item)))?,
    }
}

/// Runs `call`, and says if it took too long.
fn timed<R>(limit: Option<Duration>, call: impl FnOnce() -> R) -> Result<R, TaskError> {
    let begun = Instant::now();
    let value = call();
    match limit.filter(|limit| begun.elapsed() > *limit) {
        Some(after) => Err(TaskError::TimedOut { after }),
        None => Ok(value),
    }
}

/// Runs all items, and gives each one's result; with `stop_at_failure`, up to the first that is none, after which nothing
/// more is started.
pub(crate) fn map_apart<F: ParallelFn>(
    engine: &Arc<Engine>,
    items: Vec<F::Item>,
    options: CallOptions,
    stop_at_failure: bool,
    meter: &Meter,
) -> Result<Vec<Result<F::Output, TaskError>>, TaskError> {
    let (limit, chunk) = (options.timeout, options.chunk.unwrap_or(1));
    let name = F::spec().name;
    let mut flying = Vec::with_capacity(items.len());
    let mut bound = Vec::new();
    let nested = engine.permits.held();
    for item in items {
        match if nested { Err(item) } else { F::detach(item) } {
            Ok(detached) => flying.push(Flying::start(engine, name, detached, limit)?),
            Err(item) => bound.push(item),
        }
    }
    if bound.is_empty() {
        let mut results = Vec::with_capacity(flying.len());
        let mut failed = false;
        for task in flying {
            if failed && stop_at_failure && task.job.cancel() {
                continue;
            }
            let result = task.land();
            meter.add(1);
            if !failed || !stop_at_failure {
                failed |= result.is_err();
                results.push(result);
            }
        }
        return Ok(results);
    }
    let run = |item| {
        if engine.is_killed() {
            return Err(TaskError::Cancelled);
        }
        let result = timed(limit, || panics::catch(|| F::run(item)));
        meter.add(1);
        result.and_then(|result| result.map_err(|caught| caught.into_error(name)))
    };
    let count = bound.len();
    match engine.map(name, bound, chunk, &AtomicBool::new(false), (stop_at_failure, false), &run)? {
        Ok(results) => Ok(results),
        Err(Failed::Unprepared(error)) => Err(error),
        Err(_) => Ok((0..count).map(|_| Err(TaskError::Cancelled)).collect()),
    }
}

/// Runs all items, which hold no borrows, for a map in the background.
pub(crate) fn submit_all<A: Send + 'static, R: Send + 'static>(
    engine: &Arc<Engine>,
    name: &'static str,
    items: Vec<A>,
    limit: Option<Duration>,
    body: fn(A) -> Body<R>,
    (shared, meter): (&Arc<Shared<R>>, &Meter),
) -> Result<Vec<R>, TaskError> {
    let submit = |item| {
        let theirs = Arc::clone(shared);
        let is_wanted = move || !theirs.stop.load(Ordering::Relaxed);
        engine.submit(name, limit, true, body(item).when(is_wanted))
    };
    let jobs: Vec<_> = items.into_iter().map(submit).collect::<Result<_, _>>()?;
    let mut values = Vec::with_capacity(jobs.len());
    let mut failure = None;
    for job in jobs {
        if (failure.is_some() || shared.stop.load(Ordering::Relaxed)) && job.cancel() {
            failure = failure.or(Some(TaskError::Cancelled));
            continue;
        }
        match job.wait(None).unwrap_or(Err(TaskError::Cancelled)) {
            Ok(Some(value)) => values.push(value),
            Ok(None) => failure = failure.or(Some(TaskError::Cancelled)),
            Err(error) => failure = failure.or(Some(error)),
        }
        shared.done.fetch_add(1, Ordering::Relaxed);
        meter.add(1);
    }
    failure.map_or(Ok(values), Err)
}

/// A call on its way.
struct Flying<R> {
    job: Arc<Job<()>>,
    output: Arc<std::sync::Mutex<Option<R>>>,
}

impl<R> Flying<R> {
    fn start(
        engine: &Arc<Engine>,
        name: &'static str,
        detached: Detached<R>,
        limit: Option<Duration>,
    ) -> Result<Self, TaskError> {
        let job = engine.submit(name, limit, false, detached.body)?;
        Ok(Self { job, output: detached.output })
    }

    fn land(self) -> Result<R, TaskError> {
        self.job.wait(None).unwrap_or(Err(TaskError::Cancelled))?;
        let mut output = self.output.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        output.take().ok_or(TaskError::Cancelled)
    }
}
