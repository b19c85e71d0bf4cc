//! Many items: packed into messages whose size adapts to how long an item takes.
//!
//! Two or more messages for each worker are in flight, so that none waits for the program. A message may come back before its
//! end: a result did not fit, an item failed, or the worker died. Results of items that were done are good; what had not started
//! is sent again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::admission::{Admission, Inside};
use super::engine::Engine;
use super::image;
use super::message::{Body, Loan, Message, Refused, Retry, Scratch, Snapshot};
use super::results::Results;
use super::sizes::Sizes;
use super::ticket::{Outcome, Ticket};
use crate::codec::Writer;
use crate::error::{PoolError, TaskError};
use crate::function::Remote;
use crate::options::CallOptions;
use crate::shared::Arena;

/// Runs one item and waits for its result.
pub(crate) fn call<I, R>(
    engine: &Arc<Engine>,
    remote: &Remote<I, R>,
    item: I,
    options: CallOptions,
) -> Result<R, TaskError> {
    let mut item = Some(item);
    let mut left = options.retries.unwrap_or(0);
    let admitted = if left > 0 { Some(engine.admit(false)?) } else { None };
    let mut before: Option<Snapshot> = None;
    loop {
        // The item is here, and encoded anew for each try: nothing need be kept, but what lies in shared memory.
        let options = CallOptions { retries: None, ..options };
        let mut snapshot = None;
        let wanted = (left > 0 && before.is_none()).then_some(&mut snapshot);
        let ticket = submit_part(engine, remote, &mut item, options, admitted.as_ref(), wanted)?;
        before = before.or(snapshot);
        let mut outcome = engine.wait(&ticket, None).unwrap_or_default();
        let Some(item) = &mut item else { return output(remote, outcome) };
        let mut value = Vec::new();
        let error = Results::new(remote, &outcome).read(std::slice::from_mut(item), &mut value);
        let error = match (value.pop(), error.or_else(|| outcome.take_error())) {
            (Some(value), None) => return Ok(value),
            (_, Some(error)) => error,
            (None, None) => Results::<I, R>::missing(remote.function),
        };
        let Some(before) = before.as_ref().filter(|_| left > 0 && error.may_be_retried()) else {
            return Err(error.of(remote.function));
        };
        // SAFETY: the caller's borrows are ours, and the task has ended, by which no worker uses its memory.
        unsafe { before.restore() };
        left -= 1;
        engine.count_retry();
    }
}

/// Hands one item to the workers.
pub(crate) fn submit<I, R>(
    engine: &Arc<Engine>,
    remote: &Remote<I, R>,
    item: I,
    options: CallOptions,
) -> Result<Arc<Ticket>, TaskError> {
    submit_part(engine, remote, &mut Some(item), options, None, None)
}

/// `item`: taken if it must be gone by now. `snapshot`: set to what the task may change in shared memory, if it can be tried again.
fn submit_part<I, R>(
    engine: &Arc<Engine>,
    remote: &Remote<I, R>,
    item: &mut Option<I>,
    options: CallOptions,
    admitted: Option<&Admission>,
    snapshot: Option<&mut Option<Snapshot>>,
) -> Result<Arc<Ticket>, TaskError> {
    let entry = image::offset_of(remote.serve).map_err(TaskError::Spawn)?;
    let arena = engine.arena().map_err(PoolError::into_task_error)?;
    let refused = |refused: Refused| refused.into_task_error(remote.function);
    let mut scratch = Scratch::new();
    let (body, mut loan) = encode(arena, remote, item.as_slice(), &mut scratch, 0, &mut 0).map_err(refused)?;
    if let Some(loan) = loan.as_deref_mut().filter(|loan| loan.is_promised()) {
        *item = None;
        loan.settle().map_err(|error| refused(error.into()))?;
    }
    if let Some(snapshot) = snapshot {
        *snapshot = loan.as_ref().map_or_else(|| Some(Snapshot::default()), |loan| loan.snapshot());
    }
    let limit = options.timeout;
    let retry = options.retries.and_then(|retries| Retry::new(retries, entry, limit, &body, loan.as_deref()));
    engine.submit(Message { entry, items: 1, timed: false, limit, retry, body, loan }, admitted)
}

/// Encodes items, and says how many `bytes` they take. An item is to be dropped before the message is sent if its loan is promised.
fn encode<'b, I, R>(
    arena: &Arc<Arena>,
    remote: &Remote<I, R>,
    items: &[I],
    scratch: &'b mut Scratch,
    guess: usize,
    bytes: &mut usize,
) -> Result<(Body<'b>, Option<Box<Loan>>), Refused> {
    let mut write = |writer: &mut Writer<'_>| {
        (remote.send)(items, writer)?;
        *bytes = writer.len();
        Ok(())
    };
    let (body, loan) = Body::encode(arena, scratch, guess, &mut write)?;
    match loan {
        // What was changed is to be copied into what the item refers to.
        Some(loan) if remote.takes_back && loan.is_promised() => {
            loan.unload();
            drop(body);
            Body::encode_copies(arena, guess, &mut write)
        }
        loan => Ok((body, loan)),
    }
}

/// Reads the result of a message of one item whose arguments are gone.
pub(crate) fn output<I, R>(remote: &Remote<I, R>, mut outcome: Outcome) -> Result<R, TaskError> {
    let value = Results::new(remote, &outcome).read_output();
    value.unwrap_or_else(|| {
        let error = outcome.take_error().unwrap_or_else(|| Results::<I, R>::missing(remote.function));
        Err(error.of(remote.function))
    })
}

/// Where a map puts its results, in order.
pub(crate) enum Target<'t, R> {
    /// Up to the first failure.
    Values(&'t mut Vec<R>),
    /// All, each with its own failure.
    Results(&'t mut Vec<Result<R, TaskError>>),
}

/// What a map is told from outside, and tells.
#[derive(Default)]
pub(crate) struct Control<'c> {
    pub(crate) options: CallOptions,
    pub(crate) stop: Option<&'c dyn Fn() -> bool>,
    /// The pool has accepted it before.
    pub(crate) admitted: bool,
    /// Counts items that have ended.
    pub(crate) done: Option<&'c AtomicUsize>,
}

impl Control<'_> {
    fn stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop())
    }
}

/// Runs all items. With [`Target::Values`], nothing more is started once an item is known to have failed; when what runs has
/// ended, the first failure is the result.
pub(crate) fn map<I, R>(
    engine: &Arc<Engine>,
    remote: &Remote<I, R>,
    items: impl Iterator<Item = I>,
    control: &Control<'_>,
    mut target: Target<'_, R>,
) -> Result<(), TaskError> {
    let entry = image::offset_of(remote.serve).map_err(TaskError::Spawn)?;
    engine.arena().map_err(PoolError::into_task_error)?;
    let admitted = engine.admit(control.admitted)?;
    let _inside = Inside::new(engine);
    let mut items = items.fuse();
    let mut sizes = Sizes::new(engine.workers(), control.options.chunk, items.size_hint());
    let mut flights =
        Flights { engine, remote, entry, options: control.options, admitted: &admitted, queue: VecDeque::new() };
    let stop_at_failure = matches!(target, Target::Values(_));
    let mut exhausted = false;
    let mut failing = false;

    loop {
        if failing {
            if flights.unfinished() == 0 {
                return Err(flights.first_failure().unwrap_or(TaskError::Cancelled));
            }
        } else {
            flights.give(&mut target, control)?;
        }
        while !exhausted && !failing && flights.unfinished() < sizes.window() && !flights.front_has_landed() {
            if control.stopped() {
                return Err(TaskError::Cancelled);
            }
            let count = sizes.next();
            let batch: Vec<I> = items.by_ref().take(count).collect();
            exhausted = batch.len() < count;
            if !batch.is_empty() {
                sizes.taken(batch.len());
                flights.send(batch, None, &mut sizes, 0);
            }
        }
        if flights.queue.is_empty() {
            // Nothing was left to send, or nothing ever was.
            return Ok(());
        }
        if !failing && flights.front_has_landed() {
            // It could not even be sent.
            continue;
        }

        let mut stopped = false;
        engine.wait_until(|| {
            engine.collect_done();
            stopped = control.stopped();
            stopped || flights.any_arrived()
        });
        if stopped {
            return Err(TaskError::Cancelled);
        }
        if flights.land(&mut sizes, stop_at_failure, failing) && stop_at_failure && !failing {
            failing = true;
            flights.cancel_waiting();
        }
    }
}

/// A message in flight, or landed.
struct Flight<I> {
    ticket: Option<Arc<Ticket>>,
    /// Its items; none if the only one had to be gone when it was sent, or was never sent.
    items: Vec<I>,
    /// How many items it is for.
    count: usize,
    outcome: Option<Outcome>,
    /// How often its first item was tried before.
    tries: u32,
    /// What it may change in shared memory, if it can be tried again.
    before: Option<Snapshot>,
}

impl<I> Flight<I> {
    /// An item that has failed.
    fn failed(error: TaskError) -> Self {
        Self { ticket: None, items: Vec::new(), count: 1, outcome: Some(Outcome::error(error)), tries: 0, before: None }
    }
}

/// The messages of a map, in the order of their items.
struct Flights<'e, I, R> {
    engine: &'e Arc<Engine>,
    remote: &'e Remote<I, R>,
    entry: u64,
    options: CallOptions,
    admitted: &'e Admission,
    queue: VecDeque<Flight<I>>,
}

/// Why a message was not sent.
enum Unsent {
    /// This one item is at fault.
    Alone(TaskError),
    /// One of several items is.
    Together,
}

impl<I, R> Flights<'_, I, R> {
    fn unfinished(&self) -> usize {
        self.queue.iter().filter(|flight| flight.outcome.is_none()).count()
    }

    /// Sends items, as the last of the queue or at a position of it.
    fn send(&mut self, mut items: Vec<I>, position: Option<usize>, sizes: &mut Sizes, tries: u32) {
        let count = items.len();
        let flight = match self.try_send(&mut items, sizes) {
            Ok((ticket, before)) => Flight { ticket: Some(ticket), items, count, outcome: None, tries, before },
            Err(Unsent::Alone(error)) => {
                let at = position.unwrap_or(self.queue.len());
                let mut error = Some(error);
                for offset in 0..count {
                    let error = error.take().unwrap_or(TaskError::Cancelled);
                    self.queue.insert(at + offset, Flight::failed(error));
                }
                return;
            }
            // One of several cannot be encoded, or they do not fit together: one by one it shows which. Or they must not travel
            // together.
            Err(Unsent::Together) => {
                let position = position.unwrap_or(self.queue.len());
                for (offset, item) in items.into_iter().enumerate() {
                    self.send(vec![item], Some(position + offset), sizes, 0);
                }
                return;
            }
        };
        match position {
            Some(position) => self.queue.insert(position, flight),
            None => self.queue.push_back(flight),
        }
    }

    /// `items`: cleared if they must be gone by now.
    fn try_send(&self, items: &mut Vec<I>, sizes: &mut Sizes) -> Result<(Arc<Ticket>, Option<Snapshot>), Unsent> {
        let unsent = |error| if items.len() > 1 { Unsent::Together } else { Unsent::Alone(error) };
        let arena = self.engine.arena().map_err(|error| unsent(error.into_task_error()))?;
        let guess = if items.len() > 1 { sizes.arguments(items.len()) } else { 0 };
        let mut scratch = Scratch::new();
        let mut bytes = 0;
        let body = encode(arena, self.remote, items, &mut scratch, guess, &mut bytes);
        let (body, mut loan) = body.map_err(|refused| unsent(refused.into_task_error(self.remote.function)))?;
        let may_retry = self.options.retries.is_some_and(|retries| retries > 0);
        // Which owner belongs to which item, and which part to which, would have to be known when some of them are sent again.
        let alone = |loan: &mut Box<Loan>| loan.has_owners() || (may_retry && loan.is_exclusive());
        if items.len() > 1
            && let Some(loan) = loan.take_if(alone)
        {
            loan.unload();
            sizes.send_alone();
            return Err(Unsent::Together);
        }
        let before = match &loan {
            _ if !may_retry => None,
            None => Some(Snapshot::default()),
            Some(loan) => loan.snapshot(),
        };
        sizes.saw_arguments(items.len(), bytes);
        let count = items.len() as u32;
        if let Some(loan) = loan.as_deref_mut().filter(|loan| loan.is_promised()) {
            // It is a single item.
            items.clear();
            let settled = loan.settle().map_err(|error| Refused::from(error).into_task_error(self.remote.function));
            settled.map_err(Unsent::Alone)?;
        }
        let limit = self.options.timeout;
        let message = Message { entry: self.entry, items: count, timed: true, limit, retry: None, body, loan };
        self.engine.submit(message, Some(self.admitted)).map(|ticket| (ticket, before)).map_err(Unsent::Alone)
    }

    fn any_arrived(&self) -> bool {
        let arrived = |flight: &Flight<I>| flight.ticket.as_ref().is_some_and(|ticket| ticket.is_finished());
        self.queue.iter().any(arrived)
    }

    fn front_has_landed(&self) -> bool {
        self.queue.front().is_some_and(|flight| flight.outcome.is_some())
    }

    /// Takes the outcomes that have arrived, and sends again what their workers had not started. True if an item failed.
    /// `failing`: one had failed before, and nothing more is to be started.
    fn land(&mut self, sizes: &mut Sizes, stop_at_failure: bool, failing: bool) -> bool {
        let mut failed = failing;
        let mut position = 0;
        while position < self.queue.len() {
            let flight = &mut self.queue[position];
            position += 1;
            failed |= flight.outcome.as_ref().is_some_and(|outcome| outcome.failed || outcome.has_error());
            let Some(ticket) = flight.ticket.take_if(|ticket| ticket.is_finished()) else { continue };
            let mut outcome = ticket.take_outcome().unwrap_or_default();
            let done = outcome.done as usize;
            // A worker may leave items to the next one, but only after it has run some.
            if done == 0 && !outcome.has_error() {
                outcome.rare().error = Some(Results::<I, R>::missing(self.remote.function));
            }
            sizes.saw_results(done, outcome.results.as_slice().len(), outcome.nanoseconds);
            let tries = if done == 0 { flight.tries } else { 0 };
            let again = !(failed && stop_at_failure)
                && tries < self.options.retries.unwrap_or(0)
                && done < flight.items.len()
                && flight.before.is_some()
                && outcome.rare.as_ref().and_then(|rare| rare.error.as_ref()).is_some_and(TaskError::may_be_retried);
            if again {
                outcome.take_error();
                if let Some(before) = flight.before.take().filter(|_| done == 0) {
                    // SAFETY: the items' borrows are ours, and the message has ended, by which no worker uses their memory.
                    unsafe { before.restore() };
                }
                let mut rest = flight.items.split_off(done);
                flight.count = done;
                let after = rest.split_off(1);
                flight.outcome = Some(outcome);
                self.engine.count_retry();
                self.send(rest, Some(position), sizes, tries + 1);
                if !after.is_empty() {
                    self.send(after, Some(position + 1), sizes, 0);
                }
                continue;
            }
            failed |= outcome.failed || outcome.has_error();
            let ended = done + usize::from(outcome.has_error());
            // A pool that is closed, or cannot start workers, answers for all items at once.
            let error = outcome.rare.as_ref().and_then(|rare| rare.error.as_ref());
            let for_all = matches!(error, Some(TaskError::Cancelled | TaskError::PoolClosed | TaskError::Spawn(_)));
            let rest = flight.items.split_off(ended.min(flight.items.len()));
            flight.outcome = Some(outcome);
            if rest.is_empty() {
                continue;
            }
            flight.count = ended;
            if for_all || (failed && stop_at_failure) {
                for offset in 0..rest.len() {
                    self.queue.insert(position + offset, Flight::failed(TaskError::Cancelled));
                }
            } else {
                self.send(rest, Some(position), sizes, 0);
            }
        }
        failed
    }

    /// Gives the results that have landed, in order, as far as there is no gap. For [`Target::Values`] the first failure ends it.
    fn give(&mut self, target: &mut Target<'_, R>, control: &Control<'_>) -> Result<(), TaskError> {
        while self.front_has_landed() {
            let Some(Flight { mut items, count: ended, outcome, .. }) = self.queue.pop_front() else { break };
            let mut outcome = outcome.unwrap_or_default();
            let before = match target {
                Target::Values(_) => 0,
                Target::Results(each) => each.len(),
            };
            let mut left = items.as_mut_slice();
            let mut results = Results::new(self.remote, &outcome);
            if left.is_empty()
                && let Some(value) = results.read_output()
            {
                match target {
                    Target::Values(values) => values.push(value?),
                    Target::Results(each) => each.push(value),
                }
            }
            while !left.is_empty() {
                let (count, failure) = match target {
                    Target::Values(values) => {
                        let before = values.len();
                        let failure = results.read(left, values);
                        (values.len() - before, failure)
                    }
                    Target::Results(each) => {
                        let mut values = Vec::new();
                        let failure = results.read(left, &mut values);
                        let count = values.len();
                        each.extend(values.into_iter().map(Ok));
                        (count, failure)
                    }
                };
                let Some(failure) = failure else { break };
                match target {
                    Target::Values(_) => return Err(failure),
                    Target::Results(each) => each.push(Err(failure)),
                }
                left = &mut left[(count + 1).min(ended)..];
            }
            if let Some(error) = outcome.take_error() {
                let error = error.of(self.remote.function);
                match target {
                    Target::Values(_) => return Err(error),
                    Target::Results(each) => each.push(Err(error)),
                }
            }
            if let Target::Results(each) = target {
                // A worker that damaged its results may have left fewer than it said.
                let missing = || Err(Results::<I, R>::missing(self.remote.function));
                each.resize_with(before + ended, missing);
            }
            if let Some(done) = control.done {
                done.fetch_add(ended, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    /// The first failure, in the order of the items, that is not merely the cancellation that followed another.
    fn first_failure(&mut self) -> Option<TaskError> {
        while !self.queue.is_empty() {
            match self.give(&mut Target::Values(&mut Vec::new()), &Control::default()) {
                Ok(()) | Err(TaskError::Cancelled) => {}
                Err(error) => return Some(error),
            }
        }
        None
    }

    /// Cancels what no worker has claimed.
    fn cancel_waiting(&mut self) {
        for ticket in self.queue.iter().filter_map(|flight| flight.ticket.as_ref()) {
            self.engine.cancel(ticket);
        }
    }
}

impl<I, R> Drop for Flights<'_, I, R> {
    /// Nothing of a map goes on after it: what has started is waited for.
    fn drop(&mut self) {
        self.cancel_waiting();
        for ticket in self.queue.iter().filter_map(|flight| flight.ticket.as_ref()) {
            drop(self.engine.wait(ticket, None));
        }
    }
}
