//! Results as they come, from threads: see [`process::ahead`](crate::process::ahead).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Engine, Job};
use crate::error::TaskError;
use crate::function::{Body, OwnedFn};
use crate::options::CallOptions;
use crate::panics;
use crate::remote::sizes::{FUTURES_AHEAD, Grain, Sizes};
use crate::wait::blocking::wait_while;
use crate::wait::notify::{Ready, Signal, Watcher};

/// Items on threads, and results that nobody has taken.
pub(crate) struct Ahead<A, R> {
    engine: Arc<Engine>,
    function: &'static str,
    run: fn(A) -> R,
    /// Of an `async fn`.
    future: Option<fn(A) -> Body<R>>,
    limit: Option<Duration>,
    queue: VecDeque<Batch<R>>,
    sizes: Sizes,
    ordered: bool,
    taken: usize,
    /// Items that have not started are not to start any more.
    stop: Arc<AtomicBool>,
    /// Which batches have ended.
    ready: Arc<Ready>,
    signal: Option<Arc<Signal>>,
}

/// What became of the items of a batch, and how long they took.
type Ended<R> = (Vec<Result<R, TaskError>>, Duration);

struct Batch<R> {
    first: usize,
    count: usize,
    job: Result<Arc<Job<Ended<R>>>, TaskError>,
}

impl<R: Send + 'static> Batch<R> {
    fn has_ended(&self) -> bool {
        self.job.as_ref().map_or(true, |job| job.is_finished())
    }
}

impl<A: Send + 'static, R: Send + 'static> Ahead<A, R> {
    pub(crate) fn new<F: OwnedFn<Owned = A, Output = R>>(
        engine: &Arc<Engine>,
        options: CallOptions,
        hint: (usize, Option<usize>),
        ordered: bool,
    ) -> Self {
        // A limit is that of an item.
        let chunk = options.timeout.map_or(options.chunk, |_| Some(1));
        let workers = engine.workers();
        let sizes = Sizes::of(&Grain::BOARD, (F::IS_ASYNC, FUTURES_AHEAD * workers), workers, chunk, hint);
        Self {
            engine: Arc::clone(engine),
            function: F::spec().name,
            run: F::run_owned,
            future: F::IS_ASYNC.then_some(F::body),
            limit: options.timeout,
            queue: VecDeque::new(),
            sizes,
            ordered,
            taken: 0,
            stop: Arc::default(),
            ready: Arc::default(),
            signal: None,
        }
    }

    /// How many items may be sent now; 0 if there are enough on their way.
    pub(crate) fn room(&mut self) -> usize {
        if self.queue.len() >= self.sizes.window() || self.ended().is_some() { 0 } else { self.sizes.next() }
    }

    pub(crate) fn send(&mut self, items: Vec<A>) {
        let (first, count) = (self.taken, items.len());
        self.taken += count;
        self.sizes.taken(count);
        let body = self.body(items);
        let job = self.engine.submit(self.function, self.limit, false, body);
        if let Ok(job) = &job {
            let watcher = match &self.signal {
                Some(signal) => Watcher::Signal(Arc::clone(signal)),
                None => Watcher::Ready(Arc::clone(&self.ready), first),
            };
            if let Err(watcher) = job.watch(watcher) {
                watcher.fire();
            }
        }
        self.queue.push_back(Batch { first, count, job });
    }

    /// What a batch does. Items that have not started do not start any more once `stop` is set.
    fn body(&self, items: Vec<A>) -> Body<Ended<R>> {
        let (run, function, stop) = (self.run, self.function, Arc::clone(&self.stop));
        if let Some(future) = self.future {
            let [item] =
                <[A; 1]>::try_from(items).unwrap_or_else(|_| unreachable!("the size of a batch of futures is 1"));
            // Each travels alone, and how long it takes says nothing.
            let is_wanted = move || !stop.load(Ordering::Relaxed);
            let ended = |result: Option<R>| (vec![result.ok_or(TaskError::Cancelled)], Duration::ZERO);
            return future(item).when(is_wanted).then(ended);
        }
        Body::call(move || {
            let begun = Instant::now();
            let run_one = |item| {
                if stop.load(Ordering::Relaxed) {
                    return Err(TaskError::Cancelled);
                }
                panics::catch(|| run(item)).map_err(|caught| caught.into_error(function))
            };
            let results: Vec<_> = items.into_iter().map(run_one).collect();
            (results, begun.elapsed())
        })
    }

    /// Whether nothing is on its way, and no result left.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether there is something to take.
    pub(crate) fn has_landed(&self) -> bool {
        self.ended().is_some()
    }

    /// Where a batch is whose results may be taken.
    fn ended(&self) -> Option<usize> {
        if self.ordered {
            self.queue.front().filter(|batch| batch.has_ended()).map(|_| 0)
        } else {
            self.queue.iter().position(Batch::has_ended)
        }
    }

    /// Takes results, each with the number of its item.
    pub(crate) fn take(&mut self, results: &mut Vec<(usize, Result<R, TaskError>)>) {
        let Some(Batch { first, count, job }) = self.ended().and_then(|at| self.queue.remove(at)) else { return };
        let ended = job.and_then(|job| job.wait(None).unwrap_or(Err(TaskError::Cancelled)));
        let each = match ended {
            Ok((each, time)) => {
                let result_bytes = 0;
                self.sizes.saw_results(count, result_bytes, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
                each
            }
            Err(error) => {
                let others = std::iter::repeat_with(|| Err(TaskError::Cancelled));
                std::iter::once(Err(error)).chain(others).take(count).collect()
            }
        };
        results.extend(each.into_iter().enumerate().map(|(at, result)| (first + at, result)));
    }

    /// Waits until something has ended.
    pub(crate) fn wait(&self) {
        if self.ended().is_none() {
            let mut ended = wait_while(&self.ready.ended, &self.ready.more, None, |ended| ended.is_empty());
            ended.clear();
        }
    }

    /// From now on `signal` is raised when something ends.
    pub(crate) fn raise(&mut self, signal: Arc<Signal>) {
        self.signal = Some(signal);
    }
}

impl<A, R> Drop for Ahead<A, R> {
    fn drop(&mut self) {
        // Those that wait for a thread find it when their turn comes.
        self.stop.store(true, Ordering::Relaxed);
    }
}
