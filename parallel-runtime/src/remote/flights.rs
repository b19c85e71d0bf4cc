//! The messages of a map, from the packing of their items to their results.

use std::collections::VecDeque;
use std::sync::Arc;

use super::carrier::{Admitted, Carrier};
use super::map::{Place, encode};
use super::message::{About, Loan, Message, Refused, Scratch, Snapshot};
use super::results::Results;
use super::sizes::Sizes;
use super::ticket::{Outcome, Ticket};
#[cfg(feature = "dask")]
use crate::dask::letter::{Letter, Terms};
use crate::error::TaskError;
use crate::function;
use crate::function::Remote;
use crate::options::CallOptions;
use crate::process;
use crate::shared::handles;
use crate::wait::notify::{Signal, Watcher};

/// A message in flight, or landed.
pub(crate) struct Flight<I> {
    ticket: Option<Arc<Ticket>>,
    /// Its items; none if the only one had to be gone when it was sent, or was never sent.
    items: Vec<I>,
    /// The number of its first item, and how many it is for.
    first: usize,
    count: usize,
    outcome: Option<Outcome>,
    /// How often its first item was tried before.
    tries: u32,
    /// What it may change in shared memory, if it can be tried again.
    before: Option<Snapshot>,
}

impl<I> Flight<I> {
    /// An item that has failed.
    fn failed(first: usize, error: TaskError) -> Self {
        let outcome = Some(Outcome::error(error));
        Self { ticket: None, items: Vec::new(), first, count: 1, outcome, tries: 0, before: None }
    }
}

/// What becomes of the other items, and of what has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// When an item has failed, no more are started. Items may hold borrows: so what has started is waited for, whatever happens.
    StopsAtFailure,
    /// All are run. They may hold borrows, too.
    GoesOn,
    /// All are run, and hold no borrows: nobody waits for those whose results are not wanted any more.
    Streams,
}

/// The messages of a map, in the order of their items.
pub(crate) struct Flights<I, R> {
    pub(crate) carrier: Carrier,
    pub(crate) remote: Remote<I, R>,
    entry: u64,
    options: CallOptions,
    /// The pool runs all of them, even if it is shut down meanwhile.
    admitted: Option<Admitted>,
    pub(crate) queue: VecDeque<Flight<I>>,
    pub(crate) sizes: Sizes,
    /// How many items there have been.
    taken: usize,
    /// Messages that have not landed.
    unfinished: usize,
    /// How many items have ended.
    pub(crate) ended: usize,
    manner: Manner,
    /// Who is told of each message that ends.
    signal: Option<Arc<Signal>>,
}

/// Why a message was not sent.
enum Unsent {
    /// This one item is at fault.
    Alone(TaskError),
    /// One of several items is.
    Together,
}

impl<I, R> Flights<I, R> {
    /// `admitted`: see [`Flights`].
    pub(crate) fn new(
        carrier: &Carrier,
        remote: Remote<I, R>,
        options: CallOptions,
        sizes: Sizes,
        admitted: Option<Admitted>,
        manner: Manner,
    ) -> Result<Self, TaskError> {
        let entry = function::entry_of(remote.serve).map_err(TaskError::Spawn)?;
        carrier.prepare()?;
        Ok(Self {
            carrier: carrier.clone(),
            remote,
            entry,
            options,
            admitted,
            queue: VecDeque::new(),
            sizes,
            taken: 0,
            unfinished: 0,
            ended: 0,
            manner,
            signal: None,
        })
    }

    /// From now on `signal` is raised when a message ends; nobody else need collect results.
    pub(crate) fn raise(&mut self, signal: Arc<Signal>) {
        self.signal = Some(signal);
    }

    /// Sends the next items.
    pub(crate) fn send(&mut self, items: Vec<I>) {
        let first = self.taken;
        self.taken += items.len();
        self.sizes.taken(items.len());
        self.send_at(items, first, None, 0);
    }

    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Sends items, as the last of the queue or at a position of it.
    fn send_at(&mut self, mut items: Vec<I>, first: usize, position: Option<usize>, tries: u32) {
        let count = items.len();
        let flight = match self.try_send(&mut items) {
            Ok((ticket, before)) => {
                self.unfinished += 1;
                Flight { ticket: Some(ticket), items, first, count, outcome: None, tries, before }
            }
            Err(Unsent::Alone(error)) => {
                let at = position.unwrap_or(self.queue.len());
                let mut error = Some(error);
                self.ended += count;
                for offset in 0..count {
                    let error = error.take().unwrap_or(TaskError::Cancelled);
                    self.queue.insert(at + offset, Flight::failed(first + offset, error));
                }
                return;
            }
            // One of several cannot be encoded, or they do not fit together: one by one it shows which. Or they must not travel
            // together.
            Err(Unsent::Together) => {
                let position = position.unwrap_or(self.queue.len());
                for (offset, item) in items.into_iter().enumerate() {
                    self.send_at(vec![item], first + offset, Some(position + offset), 0);
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
    fn try_send(&mut self, items: &mut Vec<I>) -> Result<(Arc<Ticket>, Option<Snapshot>), Unsent> {
        let (ticket, before) = match self.carrier.clone() {
            Carrier::Process(engine) => self.board(&engine, items)?,
            #[cfg(feature = "dask")]
            Carrier::Cluster(engine) => self.post(&engine, items)?,
        };
        if let Some(signal) = &self.signal
            && let Err(watcher) = self.carrier.watch(&ticket, Watcher::Signal(Arc::clone(signal)), true)
        {
            watcher.fire();
        }
        Ok((ticket, before))
    }

    /// Sends them to another machine.
    #[cfg(feature = "dask")]
    fn post(
        &mut self,
        engine: &Arc<crate::dask::Engine>,
        items: &[I],
    ) -> Result<(Arc<Ticket>, Option<Snapshot>), Unsent> {
        let unsent = |error| if items.len() > 1 { Unsent::Together } else { Unsent::Alone(error) };
        let letter = Letter::encode(engine.id, &self.remote, items, self.sizes.arguments(items.len()));
        let letter = letter.map_err(|error| unsent(Refused::from(error).into_task_error(self.remote.function)))?;
        self.sizes.saw_arguments(items.len(), letter.len());
        self.sizes.set_workers(engine.workers());
        let terms = Terms { options: self.options, eager: true, stops: self.manner == Manner::StopsAtFailure };
        let ticket = engine.submit(terms, letter, self.admitted.is_some()).map_err(Unsent::Alone)?;
        Ok((ticket, Some(Snapshot::default())))
    }

    /// Puts them on the board of the workers of this machine.
    fn board(
        &mut self,
        engine: &Arc<process::Engine>,
        items: &mut Vec<I>,
    ) -> Result<(Arc<Ticket>, Option<Snapshot>), Unsent> {
        let unsent = |error| if items.len() > 1 { Unsent::Together } else { Unsent::Alone(error) };
        let arena = engine.arena().map_err(|error| unsent(error.into_task_error()))?;
        let guess = if items.len() > 1 { self.sizes.arguments(items.len()) } else { 0 };
        let mut scratch = Scratch::new();
        let mut bytes = 0;
        let body = encode(arena, &self.remote, items, &mut scratch, guess, &mut bytes);
        let (body, mut loan) = body.map_err(|refused| unsent(refused.into_task_error(self.remote.function)))?;
        let may_retry = self.options.retries.is_some_and(|retries| retries > 0);
        // Which owner belongs to which item, and which part to which, would have to be known when some of them are sent again.
        let alone = |loan: &mut Box<Loan>| loan.has_owners() || (may_retry && loan.is_exclusive());
        if items.len() > 1
            && let Some(loan) = loan.take_if(alone)
        {
            loan.unload();
            self.sizes.send_alone();
            return Err(Unsent::Together);
        }
        let before = match &loan {
            _ if !may_retry => None,
            None => Some(Snapshot::default()),
            Some(loan) => loan.snapshot(),
        };
        self.sizes.saw_arguments(items.len(), bytes);
        let count = items.len() as u32;
        if let Some(loan) = loan.as_deref_mut().filter(|loan| loan.is_promised()) {
            // It is a single item.
            items.clear();
            let settled = loan.settle().map_err(|error| Refused::from(error).into_task_error(self.remote.function));
            settled.map_err(Unsent::Alone)?;
        }
        let limit = self.options.timeout;
        let about = About { function: self.remote.function, shared: handles::shared_bytes() };
        let (entry, is_async) = (self.entry, self.remote.is_async);
        let (items, seen, timed, retry) = (count, None, true, None);
        let message = Message { entry, items, seen, timed, is_async, limit, retry, body, loan };
        let admitted = self.admitted.as_ref().and_then(Admitted::process);
        let ticket = engine.submit(message, about, admitted).map_err(Unsent::Alone)?;
        Ok((ticket, before))
    }

    pub(crate) fn any_arrived(&self) -> bool {
        let arrived = |flight: &Flight<I>| flight.ticket.as_ref().is_some_and(|ticket| ticket.is_finished());
        self.queue.iter().any(arrived)
    }

    pub(crate) fn front_has_landed(&self) -> bool {
        self.queue.front().is_some_and(|flight| flight.outcome.is_some())
    }

    /// Takes the outcomes that have arrived, and sends again what their workers had not started. True if an item failed.
    /// `failing`: one had failed before, and nothing more is to be started.
    pub(crate) fn land(&mut self, stop_at_failure: bool, failing: bool) -> bool {
        let mut failed = failing;
        let mut position = 0;
        while position < self.queue.len() {
            let flight = &mut self.queue[position];
            position += 1;
            failed |= flight.outcome.as_ref().is_some_and(|outcome| outcome.failed || outcome.has_error());
            let Some(ticket) = flight.ticket.take_if(|ticket| ticket.is_finished()) else { continue };
            self.unfinished -= 1;
            let mut outcome = ticket.take_outcome().unwrap_or_default();
            let done = outcome.done as usize;
            // A worker may leave items to the next one, but only after it has run some.
            if done == 0 && !outcome.has_error() {
                outcome.rare().error = Some(Results::<I, R>::missing(self.remote.function));
            }
            #[cfg(feature = "dask")]
            if flight.items.len() > 1 && outcome.rare.as_ref().is_some_and(|rare| rare.apart) {
                let (items, first) = (std::mem::take(&mut flight.items), flight.first);
                position -= 1;
                self.queue.remove(position);
                for (offset, item) in items.into_iter().enumerate() {
                    self.send_at(vec![item], first + offset, Some(position + offset), 0);
                }
                continue;
            }
            self.sizes.saw_results(done, outcome.results.as_slice().len(), outcome.nanoseconds);
            let tries = if done == 0 { flight.tries } else { 0 };
            let again = !(failed && stop_at_failure)
                && tries < self.options.retries.unwrap_or(0)
                && done < flight.items.len()
                && flight.before.is_some()
                && outcome.rare.as_ref().and_then(|rare| rare.error.as_ref()).is_some_and(TaskError::may_be_retried);
            if again {
                self.ended += done;
                outcome.take_error();
                if let Some(before) = flight.before.take().filter(|_| done == 0) {
                    // SAFETY: the items' borrows are ours, and the message has ended, by which no worker uses their memory.
                    unsafe { before.restore() };
                }
                let mut rest = flight.items.split_off(done);
                let first = flight.first + done;
                flight.count = done;
                let after = rest.split_off(1);
                flight.outcome = Some(outcome);
                self.carrier.count_retry();
                self.send_at(rest, first, Some(position), tries + 1);
                if !after.is_empty() {
                    self.send_at(after, first + 1, Some(position + 1), 0);
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
            self.ended += flight.count - rest.len();
            if rest.is_empty() {
                continue;
            }
            let first = flight.first + ended;
            flight.count = ended;
            if for_all || (failed && stop_at_failure) {
                self.ended += rest.len();
                for offset in 0..rest.len() {
                    self.queue.insert(position + offset, Flight::failed(first + offset, TaskError::Cancelled));
                }
            } else {
                self.send_at(rest, first, Some(position), 0);
            }
        }
        failed
    }

    /// Gives the results that have landed, in order, as far as there is no gap. For [`Place::Values`] the first failure ends it.
    pub(crate) fn give(&mut self, target: &mut Place<'_, R>) -> Result<(), TaskError> {
        while self.front_has_landed() {
            let Some(flight) = self.queue.pop_front() else { break };
            self.read(flight, target)?;
        }
        Ok(())
    }

    /// Gives the results of one message that has landed, each with the number of its item: of the first or, if `any`, of whichever.
    pub(crate) fn give_one(&mut self, any: bool, each: &mut Vec<(usize, Result<R, TaskError>)>) {
        let most = if any { self.queue.len() } else { 1 };
        let landed = self.queue.iter().take(most).position(|flight| flight.outcome.is_some());
        let Some(flight) = landed.and_then(|landed| self.queue.remove(landed)) else { return };
        let (first, mut results) = (flight.first, Vec::with_capacity(flight.count));
        let read = self.read(flight, &mut Place::Results(&mut results));
        each.extend(
            results.into_iter().chain(read.err().map(Err)).enumerate().map(|(at, result)| (first + at, result)),
        );
    }

    pub(crate) fn any_has_landed(&self) -> bool {
        self.queue.iter().any(|flight| flight.outcome.is_some())
    }

    /// Reads the results of a message.
    fn read(&self, flight: Flight<I>, target: &mut Place<'_, R>) -> Result<(), TaskError> {
        let Flight { mut items, count: ended, outcome, .. } = flight;
        let mut outcome = outcome.unwrap_or_default();
        let before = match target {
            Place::Values(_) => 0,
            Place::Results(each) => each.len(),
        };
        let mut left = items.as_mut_slice();
        let mut results = Results::new(&self.remote, &outcome);
        if left.is_empty()
            && let Some(value) = results.read_output()
        {
            match target {
                Place::Values(values) => values.push(value?),
                Place::Results(each) => each.push(value),
            }
        }
        while !left.is_empty() {
            let (count, failure) = match target {
                Place::Values(values) => {
                    let before = values.len();
                    let failure = results.read(left, values);
                    (values.len() - before, failure)
                }
                Place::Results(each) => {
                    let mut values = Vec::new();
                    let failure = results.read(left, &mut values);
                    let count = values.len();
                    each.extend(values.into_iter().map(Ok));
                    (count, failure)
                }
            };
            let Some(failure) = failure else { break };
            match target {
                Place::Values(_) => return Err(failure),
                Place::Results(each) => each.push(Err(failure)),
            }
            left = &mut left[(count + 1).min(ended)..];
        }
        if let Some(error) = outcome.take_error() {
            let error = error.of(self.remote.function);
            match target {
                Place::Values(_) => return Err(error),
                Place::Results(each) => each.push(Err(error)),
            }
        }
        if let Place::Results(each) = target {
            // A worker that damaged its results may have left fewer than it said.
            let missing = || Err(Results::<I, R>::missing(self.remote.function));
            each.resize_with(before + ended, missing);
        }
        Ok(())
    }

    /// The first failure, in the order of the items, that is not merely the cancellation that followed another.
    pub(crate) fn first_failure(&mut self) -> Option<TaskError> {
        while !self.queue.is_empty() {
            match self.give(&mut Place::Values(&mut Vec::new())) {
                Ok(()) | Err(TaskError::Cancelled) => {}
                Err(error) => return Some(error),
            }
        }
        None
    }

    /// Cancels what no worker has claimed.
    pub(crate) fn cancel_waiting(&mut self) {
        self.carrier.cancel_some(self.queue.iter().filter_map(|flight| flight.ticket.as_ref()));
    }
}

impl<I, R> Drop for Flights<I, R> {
    /// Nothing of a map goes on after it that may use what is borrowed: what has started is waited for.
    fn drop(&mut self) {
        self.cancel_waiting();
        for ticket in self.queue.iter().filter_map(|flight| flight.ticket.as_ref()) {
            if self.manner == Manner::Streams {
                self.carrier.abandon(ticket);
            } else {
                drop(self.carrier.wait(ticket, None));
            }
        }
    }
}
