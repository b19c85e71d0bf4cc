//! Many items: packed into messages whose size adapts to how long an item takes.
//!
//! A message should take a worker about [`TARGET`]: long enough that what a message costs does not count, short enough that the
//! workers end at about the same time. The first messages hold one item each; from their times the size of the next follows.
//! Two or more messages for each worker are in flight, so that none waits for the program.
//!
//! A message may come back before its end: a result did not fit, an item failed, or the worker died. Results of items that
//! were done are good; what had not started is sent again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::image;
use super::message::{Message, Refused};
use super::ticket::{Outcome, Ticket};
use super::worker::status;
use crate::codec::strategy::{Changed, Returned};
use crate::codec::{CodecError, Reader, Writer};
use crate::error::{PoolError, TaskError};
use crate::function::Serve;

/// How long a message should take a worker.
const TARGET: Duration = Duration::from_micros(300);

/// The most bytes of arguments in a message of several items.
const MOST_ARGUMENTS: usize = 1 << 20;

/// The most bytes of results that a message of several items should have: a little less than the room for them.
const MOST_RESULTS: usize = 56 << 10;

/// How the calls of one function cross the border; `I` is an item, borrowed or owned.
pub(crate) struct Job<I, R> {
    pub(crate) function: &'static str,
    pub(crate) serve: Serve,
    pub(crate) send: fn(&I, &mut Writer<'_>) -> Result<(), CodecError>,
    pub(crate) receive: Receive<R>,
    pub(crate) take_back: Option<for<'i> fn(&'i mut I, &mut Returned<'_>) -> Result<(), CodecError>>,
}

/// Decodes an output.
pub(crate) type Receive<R> = fn(&mut Returned<'_>) -> Result<R, CodecError>;

/// Reads the first result of an outcome: that of a message of one item.
pub(crate) fn single<R>(function: &'static str, outcome: Outcome, receive: Receive<R>) -> Result<R, TaskError> {
    Results::new(function, &outcome).next(receive, |_| Ok(())).unwrap_or_else(|| {
        Err(outcome.error.unwrap_or_else(|| no_result(function)).of(function))
    })
}

fn no_result(function: &'static str) -> TaskError {
    TaskError::Decode { function, what: "result", reason: "the worker process left none".to_owned() }
}

/// The results of an outcome, one after the other.
struct Results<'o> {
    function: &'static str,
    outcome: &'o Outcome,
    bytes: Reader<'o>,
    changed: Changed<'o>,
    next: u32,
}

impl<'o> Results<'o> {
    fn new(function: &'static str, outcome: &'o Outcome) -> Self {
        let bytes = outcome.results.as_slice();
        // SAFETY: the bytes are private and live as long as the outcome; only copies are made from this reader.
        let bytes = unsafe { Reader::from_raw(bytes.as_ptr(), bytes.len()) };
        let memory = outcome.arguments.as_ref().map(|(block, len)| (block.start(), *len));
        Self { function, outcome, bytes, changed: Changed { memory, marks: &outcome.marks }, next: 0 }
    }

    /// The next result, or `None` after the last item that was done.
    #[inline]
    fn next<R>(
        &mut self,
        receive: Receive<R>,
        take_back: impl FnOnce(&mut Returned<'_>) -> Result<(), CodecError>,
    ) -> Option<Result<R, TaskError>> {
        if self.next == self.outcome.done {
            return None;
        }
        self.next += 1;
        let mut returned = match &self.outcome.granted {
            Some((block, len)) if self.next == self.outcome.done => {
                // SAFETY: the block is mapped as long as the outcome lives, `len` was checked against it, and only copies are
                // made from this reader.
                let results = unsafe { Reader::from_raw(block.start().as_ptr(), *len) };
                Returned { results, arguments: self.changed }
            }
            _ => {
                // SAFETY: as for `bytes`, which is put back below.
                let nothing = unsafe { Reader::from_raw(std::ptr::NonNull::dangling().as_ptr(), 0) };
                Returned { results: std::mem::replace(&mut self.bytes, nothing), arguments: self.changed }
            }
        };
        let result = match returned.results.take_u8() {
            Ok(status::VALUE) => receive(&mut returned)
                .and_then(|value| take_back(&mut returned).map(|()| value))
                .map_err(|error| self.not_decoded(&error)),
            Ok(code) => Err(self.failure(code, &mut returned.results)),
            Err(error) => Err(self.not_decoded(&error)),
        };
        self.changed = returned.arguments;
        self.bytes = returned.results;
        Some(result)
    }

    fn not_decoded(&self, error: &CodecError) -> TaskError {
        TaskError::Decode { function: self.function, what: "result", reason: error.to_string() }
    }

    fn failure(&self, code: u8, reader: &mut Reader<'_>) -> TaskError {
        let function = self.function;
        let told = match code {
            status::PANICKED => crate::codec::decode(reader).map(|(message, location, backtrace)| {
                TaskError::Panicked { function, message, location, backtrace }
            }),
            status::NOT_DECODED => crate::codec::decode(reader)
                .map(|reason| TaskError::Decode { function, what: "arguments", reason }),
            status::NOT_ENCODED => {
                crate::codec::decode(reader).map(|reason| TaskError::Encode { function, what: "result", reason })
            }
            status::NO_MEMORY => crate::codec::decode(reader)
                .map(|(requested, available)| TaskError::OutOfSharedMemory { requested, available }),
            other => Err(CodecError::new(format_args!("{other} is no code of a result"))),
        };
        told.unwrap_or_else(|error| self.not_decoded(&error))
    }
}

impl Refused {
    fn into_task_error(self, function: &'static str) -> TaskError {
        match self {
            Self::Codec(error) => TaskError::Encode { function, what: "arguments", reason: error.to_string() },
            Self::Memory(error) => error,
        }
    }
}

/// Encodes one call.
pub(crate) fn encode_one(
    engine: &Arc<Engine>,
    function: &'static str,
    serve: Serve,
    encode: impl FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
) -> Result<Message, TaskError> {
    let entry = image::offset_of(serve).map_err(TaskError::Spawn)?;
    let arena = engine.arena().map_err(PoolError::into_task_error)?;
    Message::encode(arena, entry, 1, 0, encode).map_err(|refused| refused.into_task_error(function))
}

/// Runs one item and waits for its result.
pub(crate) fn call<I, R>(engine: &Arc<Engine>, job: &Job<I, R>, mut item: I) -> Result<R, TaskError> {
    let message = encode_one(engine, job.function, job.serve, |writer| (job.send)(&item, writer))?;
    let ticket = engine.submit(message)?;
    let outcome = engine.wait(&ticket, None).unwrap_or_default();
    let take_back = |returned: &mut Returned<'_>| job.take_back.map_or(Ok(()), |take_back| take_back(&mut item, returned));
    let result = Results::new(job.function, &outcome).next(job.receive, take_back);
    result.unwrap_or_else(|| Err(outcome.error.unwrap_or_else(|| no_result(job.function)).of(job.function)))
}

/// Whether to go on with a map.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    Stop,
}

/// Runs all items, and gives each result to `take`, in order. `chunk` is the number of items in a message, if it is fixed.
/// With `stop_at_failure`, nothing more is started once an item is known to have failed; when what runs has ended, `take` gets
/// the first failure.
pub(crate) fn map<I, R>(
    engine: &Arc<Engine>,
    job: &Job<I, R>,
    items: impl Iterator<Item = I>,
    chunk: Option<usize>,
    stop: &dyn Fn() -> bool,
    stop_at_failure: bool,
    take: &mut dyn FnMut(Result<R, TaskError>) -> Then,
) -> Result<(), TaskError> {
    let entry = image::offset_of(job.serve).map_err(TaskError::Spawn)?;
    engine.arena().map_err(PoolError::into_task_error)?;
    let mut items = items.fuse();
    let mut sizes = Sizes::new(engine.workers(), chunk, items.size_hint());
    let mut flights = Flights { engine, queue: VecDeque::new() };
    let mut exhausted = false;
    // After a failure nothing more is started; results are given up to the failure, which then ends the map.
    let mut failing = false;

    loop {
        while !exhausted && !failing && flights.unfinished() < sizes.window() {
            if stop() {
                return Err(TaskError::Cancelled);
            }
            let count = sizes.next();
            let batch: Vec<I> = items.by_ref().take(count).collect();
            exhausted = batch.len() < count;
            if batch.is_empty() {
                break;
            }
            sizes.taken(batch.len());
            flights.send(job, entry, batch, None, &mut sizes);
        }

        if failing {
            if flights.unfinished() == 0 {
                let error = flights.first_failure(job).unwrap_or(TaskError::Cancelled);
                take(Err(error));
                return Ok(());
            }
        } else if flights.give(job, take) == Then::Stop {
            return Ok(());
        }
        if flights.queue.is_empty() && exhausted {
            return Ok(());
        }

        let mut stopped = false;
        engine.wait_until(|| {
            engine.collect_done();
            stopped = stop();
            stopped || flights.any_arrived()
        });
        if stopped {
            return Err(TaskError::Cancelled);
        }
        if flights.land(job, entry, &mut sizes) && stop_at_failure && !failing {
            failing = true;
            flights.cancel_waiting();
        }
    }
}

/// A message in flight, or landed.
struct Flight<I> {
    ticket: Option<Arc<Ticket>>,
    items: Vec<I>,
    outcome: Option<Outcome>,
}

/// The messages of a map, in the order of their items.
struct Flights<'e, I> {
    engine: &'e Arc<Engine>,
    queue: VecDeque<Flight<I>>,
}

impl<I> Flights<'_, I> {
    fn unfinished(&self) -> usize {
        self.queue.iter().filter(|flight| flight.outcome.is_none()).count()
    }

    /// Sends items, as the last of the queue or at a position of it.
    fn send<R>(&mut self, job: &Job<I, R>, entry: u64, items: Vec<I>, position: Option<usize>, sizes: &mut Sizes) {
        let sent = self.try_send(job, entry, &items, sizes);
        let flight = match sent {
            Ok(ticket) => Flight { ticket: Some(ticket), items, outcome: None },
            Err(Unsent::Alone(error)) => Flight { ticket: None, items, outcome: Some(Outcome::error(error)) },
            // One of several cannot be encoded, or they do not fit together: one by one it shows which.
            Err(Unsent::Together) => {
                let position = position.unwrap_or(self.queue.len());
                for (offset, item) in items.into_iter().enumerate() {
                    self.send(job, entry, vec![item], Some(position + offset), sizes);
                }
                return;
            }
        };
        match position {
            Some(position) => self.queue.insert(position, flight),
            None => self.queue.push_back(flight),
        }
    }

    fn try_send<R>(&self, job: &Job<I, R>, entry: u64, items: &[I], sizes: &mut Sizes) -> Result<Arc<Ticket>, Unsent> {
        let unsent = |error| if items.len() > 1 { Unsent::Together } else { Unsent::Alone(error) };
        let arena = self.engine.arena().map_err(|error| unsent(error.into_task_error()))?;
        let guess = if items.len() > 1 { sizes.arguments(items.len()) } else { 0 };
        let encoded = Message::encode(arena, entry, items.len() as u32, guess, |writer| {
            let before = writer.len();
            for item in items {
                (job.send)(item, writer)?;
            }
            sizes.saw_arguments(items.len(), writer.len() - before);
            Ok(())
        });
        let mut message = encoded.map_err(|refused| unsent(refused.into_task_error(job.function)))?;
        message.timed = true;
        self.engine.submit(message).map_err(Unsent::Alone)
    }

    fn any_arrived(&self) -> bool {
        let arrived = |flight: &Flight<I>| flight.ticket.as_ref().is_some_and(|ticket| ticket.is_finished());
        self.queue.iter().any(arrived) || self.queue.front().is_some_and(|flight| flight.outcome.is_some())
    }

    /// Takes the outcomes that have arrived, and sends again what their workers had not started. True if an item failed.
    fn land<R>(&mut self, job: &Job<I, R>, entry: u64, sizes: &mut Sizes) -> bool {
        let mut failed = false;
        let mut position = 0;
        while position < self.queue.len() {
            let flight = &mut self.queue[position];
            position += 1;
            let Some(ticket) = flight.ticket.take_if(|ticket| ticket.is_finished()) else { continue };
            let mut outcome = ticket.take_outcome().unwrap_or_default();
            let done = outcome.done as usize;
            if done == 0 && outcome.error.is_none() {
                outcome.error = Some(no_result(job.function));
            }
            sizes.saw_results(done, outcome.results.as_slice().len(), outcome.nanoseconds);
            failed |= outcome.failed || outcome.error.is_some();
            let ended = done + usize::from(outcome.error.is_some());
            // A pool that is closed, or cannot start workers, answers for all items at once.
            let for_all = matches!(
                outcome.error,
                Some(TaskError::Cancelled | TaskError::PoolClosed | TaskError::Spawn(_))
            );
            let rest = flight.items.split_off(ended.min(flight.items.len()));
            flight.outcome = Some(outcome);
            if rest.is_empty() {
                continue;
            }
            if for_all {
                let errors = rest.into_iter().map(|item| Flight {
                    ticket: None,
                    items: vec![item],
                    outcome: Some(Outcome::error(TaskError::Cancelled)),
                });
                for (offset, flight) in errors.enumerate() {
                    self.queue.insert(position + offset, flight);
                }
            } else {
                self.send(job, entry, rest, Some(position), sizes);
            }
        }
        failed
    }

    /// Gives the results that have landed, in order, as far as there is no gap.
    fn give<R>(&mut self, job: &Job<I, R>, take: &mut dyn FnMut(Result<R, TaskError>) -> Then) -> Then {
        while let Some(flight) = self.queue.pop_front_if(|flight| flight.outcome.is_some()) {
            let Flight { mut items, outcome, .. } = flight;
            let outcome = outcome.unwrap_or_default();
            let mut results = Results::new(job.function, &outcome);
            for item in &mut items {
                let take_back =
                    |returned: &mut Returned<'_>| job.take_back.map_or(Ok(()), |take_back| take_back(item, returned));
                let Some(result) = results.next(job.receive, take_back) else { break };
                if take(result) == Then::Stop {
                    return Then::Stop;
                }
            }
            if let Some(error) = outcome.error {
                if take(Err(error.of(job.function))) == Then::Stop {
                    return Then::Stop;
                }
            }
        }
        Then::GoOn
    }

    /// The first failure, in the order of the items, that is not merely the cancellation that followed another.
    fn first_failure<R>(&mut self, job: &Job<I, R>) -> Option<TaskError> {
        let mut first = None;
        self.give(job, &mut |result| match result {
            Ok(_) | Err(TaskError::Cancelled) => Then::GoOn,
            Err(error) => {
                first = Some(error);
                Then::Stop
            }
        });
        first
    }

    /// Cancels what no worker has claimed, behind the first failure or not: the map ends at the failure anyway.
    fn cancel_waiting(&mut self) {
        for flight in &self.queue {
            if let Some(ticket) = &flight.ticket {
                self.engine.cancel(ticket);
            }
        }
    }
}

impl<I> Drop for Flights<'_, I> {
    /// Nothing of a map goes on after it: what has started is waited for.
    fn drop(&mut self) {
        self.cancel_waiting();
        for ticket in self.queue.iter().filter_map(|flight| flight.ticket.as_ref()) {
            drop(self.engine.wait(ticket, None::<Instant>));
        }
    }
}

/// Why a message was not sent.
enum Unsent {
    /// This one item is at fault.
    Alone(TaskError),
    /// One of several items is.
    Together,
}

/// How many items the next message holds.
struct Sizes {
    workers: usize,
    fixed: Option<usize>,
    /// Items that are still to come, if the iterator knows.
    left: Option<usize>,
    /// Of one item: nanoseconds, bytes of arguments, bytes of results. 0 until one has come back.
    nanoseconds: f64,
    argument_bytes: usize,
    result_bytes: usize,
    last: usize,
}

impl Sizes {
    fn new(workers: usize, fixed: Option<usize>, hint: (usize, Option<usize>)) -> Self {
        let left = (hint.1 == Some(hint.0)).then_some(hint.0);
        Self { workers, fixed, left, nanoseconds: 0.0, argument_bytes: 0, result_bytes: 0, last: 1 }
    }

    fn next(&mut self) -> usize {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        if self.nanoseconds == 0.0 {
            return 1;
        }
        let by_time = (TARGET.as_nanos() as f64 / self.nanoseconds) as usize;
        let by_arguments = MOST_ARGUMENTS / self.argument_bytes.max(1);
        let by_results = MOST_RESULTS / self.result_bytes.max(1);
        // Towards the end the messages get smaller, so that the workers end together.
        let by_balance = self.left.map_or(usize::MAX, |left| left.div_ceil(2 * self.workers));
        let count = by_time.min(by_arguments).min(by_results).min(by_balance).min(self.last * 64);
        self.last = count.clamp(1, u32::MAX as usize);
        self.last
    }

    fn taken(&mut self, count: usize) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(count);
        }
    }

    /// How many messages may be in flight.
    fn window(&self) -> usize {
        let message = self.nanoseconds * self.fixed.unwrap_or(self.last) as f64;
        // Many if they are short: then the way to the worker and back takes longer than the work.
        if self.nanoseconds > 0.0 && message < 50_000.0 { 512 } else { 3 * self.workers + 2 }
    }

    /// About how many bytes the arguments of so many items take.
    fn arguments(&self, count: usize) -> usize {
        (self.argument_bytes * count + count / 8 * self.argument_bytes).max(4096)
    }

    fn saw_arguments(&mut self, count: usize, bytes: usize) {
        self.argument_bytes = bytes.div_ceil(count);
    }

    fn saw_results(&mut self, count: usize, bytes: usize, nanoseconds: u64) {
        if count == 0 {
            return;
        }
        self.result_bytes = bytes.div_ceil(count);
        let each = (nanoseconds as f64 / count as f64).max(1.0);
        // The first items of all run in cold caches: later ones count more.
        self.nanoseconds = if self.nanoseconds == 0.0 || count > 1 && self.last == 1 {
            each
        } else {
            0.5 * (self.nanoseconds + each)
        };
    }
}
