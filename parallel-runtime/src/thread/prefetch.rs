//! Items on threads, a little ahead of the thread that takes their results.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::body::Body;
use super::engine::Engine;
use super::job::Job;
use crate::backend::batch_policy::{BatchPolicy, FUTURES_AHEAD, Granularity};
use crate::backend::{Prefetch, Results};
use crate::error::TaskError;
use crate::function::erased::{ErasedValue, ErasedVec};
use crate::function::table::{FunctionTable, Piece, Stops};
use crate::options::CallOptions;
use crate::panics;
use crate::wait::blocking::wait_while;
use crate::wait::notify::{Ready, Signal, Watcher};

/// Items on threads, and results that nothing has taken.
pub(super) struct ThreadPrefetch {
    engine: Arc<Engine>,
    function: &'static FunctionTable,
    limit: Option<Duration>,
    queue: VecDeque<Batch>,
    policy: BatchPolicy,
    ordered: bool,
    taken: usize,
    /// Items that have not started are not to start any more.
    stop: Arc<AtomicBool>,
    /// Which batches have ended.
    ready: Arc<Ready>,
    signal: Option<Arc<Signal>>,
}

/// What became of the items of a batch, and how long they took.
type Ended = (Results<'static>, Duration);

struct Batch {
    first: usize,
    count: usize,
    job: Result<Arc<Job>, TaskError>,
}

impl Batch {
    fn has_ended(&self) -> bool {
        self.job.as_ref().map_or(true, |job| job.is_finished())
    }
}

impl ThreadPrefetch {
    pub(super) fn new(
        engine: &Arc<Engine>,
        function: &'static FunctionTable,
        options: CallOptions,
        hint: (usize, Option<usize>),
        ordered: bool,
    ) -> Self {
        // A limit is that of an item.
        let chunk = options.timeout.map_or(options.chunk, |_| Some(1));
        let workers = engine.workers();
        let futures = (function.is_async(), FUTURES_AHEAD * workers);
        Self {
            engine: Arc::clone(engine),
            function,
            limit: options.timeout,
            queue: VecDeque::new(),
            policy: BatchPolicy::of(&Granularity::BOARD, futures, workers, chunk, hint),
            ordered,
            taken: 0,
            stop: Arc::default(),
            ready: Arc::default(),
            signal: None,
        }
    }

    /// What a batch does. Items that have not started do not start any more once `stop` is set.
    fn body(&self, items: ErasedVec<'static>) -> Body {
        let (function, stop) = (self.function, Arc::clone(&self.stop));
        if function.is_async() {
            // Each travels alone, and how long it takes says nothing.
            let item = items.into_value().expect("the size of a batch of futures is 1");
            // SAFETY: the item is one of this function.
            return unsafe { Body::of(function, item) };
        }
        Body::Call(Box::new(move || {
            let begun = Instant::now();
            let results = run_all(function, items, &stop);
            ErasedValue::new::<Ended>((results, begun.elapsed()))
        }))
    }

    /// Where a batch is whose results may be taken.
    fn ended(&self) -> Option<usize> {
        if self.ordered {
            self.queue.front().filter(|batch| batch.has_ended()).map(|_| 0)
        } else {
            self.queue.iter().position(Batch::has_ended)
        }
    }
}

/// Runs items one after the other, also if some fail.
fn run_all(function: &'static FunctionTable, mut items: ErasedVec<'static>, stop: &AtomicBool) -> Results<'static> {
    let count = items.len();
    let mut results = Results::of(ErasedVec::with_capacity(function.output, count));
    // SAFETY: the items are the piece's from here on.
    unsafe { items.set_len(0) };
    let outputs = results.values.at(0);
    // SAFETY: `count` items of the function lie there, which nothing else has; there is room for as many outputs.
    let piece = unsafe { Piece::new(function, items.at(0), outputs, count) };
    let mut piece = piece.stopped_by(Stops { stop, ..Stops::none() });
    loop {
        let caught = panics::catch(|| piece.run()).err();
        let len = results.values.len() + piece.hand_over();
        // SAFETY: so many outputs lie there by now, and the piece has handed them over.
        unsafe { results.values.set_len(len) };
        match caught {
            Some(caught) => results.fail(caught.into_error(function.name)),
            None => break,
        }
    }
    let left = count - results.len();
    results.fail_all(TaskError::Cancelled, left);
    results
}

impl Prefetch for ThreadPrefetch {
    fn room(&mut self) -> usize {
        if self.queue.len() >= self.policy.window() || self.ended().is_some() { 0 } else { self.policy.next() }
    }

    fn send(&mut self, items: ErasedVec<'static>) {
        let (first, count) = (self.taken, items.len());
        self.taken += count;
        self.policy.taken(count);
        let body = self.body(items);
        let stop = Some(Arc::clone(&self.stop));
        let job = self.engine.submit(self.function, self.limit, false, body, stop);
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

    fn has_arrived(&self) -> bool {
        self.ended().is_some()
    }

    fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn take(&mut self) -> Option<(usize, Results<'static>)> {
        let Batch { first, count, job } = self.ended().and_then(|at| self.queue.remove(at))?;
        let ended = job.and_then(|job| job.wait(None).unwrap_or(Err(TaskError::Cancelled)));
        let results = match ended {
            Ok(value) if self.function.is_async() => {
                let mut results = Results::of(ErasedVec::with_capacity(self.function.output, 1));
                // SAFETY: the body of an `async fn` gives its output.
                unsafe { results.values.push_value(value) };
                self.policy.saw_results(count, 0, 0);
                results
            }
            Ok(value) => {
                // SAFETY: all other bodies give one of these: see `body`.
                let (results, time) = unsafe { value.into::<Ended>() };
                let result_bytes = 0;
                self.policy.saw_results(count, result_bytes, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
                results
            }
            Err(error) => {
                let mut results = Results::new(self.function.output);
                results.fail(error);
                (1..count).for_each(|_| results.fail(TaskError::Cancelled));
                results
            }
        };
        Some((first, results))
    }

    fn wait(&self) {
        if self.ended().is_none() {
            let mut ended = wait_while(&self.ready.ended, &self.ready.more, None, |ended| ended.is_empty());
            ended.clear();
        }
    }

    fn raise(&mut self, signal: Arc<Signal>) {
        self.signal = Some(signal);
    }
}

impl Drop for ThreadPrefetch {
    fn drop(&mut self) {
        // Those that wait for a thread find it when their turn comes.
        self.stop.store(true, Ordering::Relaxed);
    }
}
