//! Many items: packed into messages whose size adapts to how long an item takes.
//!
//! Two or more messages for each worker are in flight, so that none waits for the program. A message may come back before its
//! end: a result did not fit, an item failed, or the worker died. Results of items that were done are good; what had not started
//! is sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::carrier::{Admitted, Carrier};
use super::flights::{Flights, Manner};
use super::message::{About, Body, Loan, Message, Refused, Retry, Scratch, Snapshot};
use super::results::Results;
use super::sizes::{FUTURES_OF_A_MAP, Sizes};
use super::ticket::{Outcome, Ticket};
use crate::codec::Writer;
#[cfg(feature = "dask")]
use crate::dask::letter::{Letter, Terms};
use crate::error::{PoolError, TaskError};
use crate::function;
use crate::function::Remote;
use crate::observe::progress::Meter;
use crate::options::CallOptions;
use crate::shared::Arena;
use crate::shared::handles;

/// Runs one item and waits for its result.
pub(crate) fn call<I, R>(
    carrier: &Carrier,
    remote: &Remote<I, R>,
    item: I,
    options: CallOptions,
) -> Result<R, TaskError> {
    let mut item = Some(item);
    let mut left = options.retries.unwrap_or(0);
    let admitted = if left > 0 { Some(carrier.admit(false)?) } else { None };
    let mut before: Option<Snapshot> = None;
    loop {
        // The item is here, and encoded anew for each try: nothing need be kept, but what lies in shared memory.
        let options = CallOptions { retries: None, ..options };
        let mut snapshot = None;
        let wanted = (left > 0 && before.is_none()).then_some(&mut snapshot);
        let ticket = submit_part(carrier, remote, &mut item, options, admitted.as_ref(), wanted)?;
        before = before.or(snapshot);
        let outcome = carrier.wait(&ticket, None).unwrap_or_default();
        let Some(item) = &mut item else { return output(remote, outcome) };
        let error = match read(remote, item, outcome) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let Some(before) = before.as_ref().filter(|_| left > 0 && error.may_be_retried()) else {
            return Err(error.of(remote.function));
        };
        // SAFETY: the caller's borrows are ours, and the task has ended, by which no worker uses its memory.
        unsafe { before.restore() };
        left -= 1;
        carrier.count_retry();
    }
}

/// Reads the result of a message of one item, and copies what was changed back into it.
fn read<I, R>(remote: &Remote<I, R>, item: &mut I, mut outcome: Outcome) -> Result<R, TaskError> {
    let mut value = Vec::new();
    let error = Results::new(remote, &outcome).read(std::slice::from_mut(item), &mut value);
    match (value.pop(), error.or_else(|| outcome.take_error())) {
        (Some(value), None) => Ok(value),
        (_, Some(error)) => Err(error),
        (None, None) => Err(Results::<I, R>::missing(remote.function)),
    }
}

/// The same, if the item is still there.
pub(crate) fn read_one<I, R>(remote: &Remote<I, R>, item: Option<I>, outcome: Outcome) -> Result<R, TaskError> {
    match item {
        Some(mut item) => read(remote, &mut item, outcome).map_err(|error| error.of(remote.function)),
        None => output(remote, outcome),
    }
}

/// Hands one item to the workers, and keeps it if it need not be gone by now.
pub(crate) fn submit_lent<I, R>(
    carrier: &Carrier,
    remote: &Remote<I, R>,
    item: &mut Option<I>,
    options: CallOptions,
) -> Result<Arc<Ticket>, TaskError> {
    submit_part(carrier, remote, item, options, None, None)
}

/// Hands one item to the workers.
pub(crate) fn submit<I, R>(
    carrier: &Carrier,
    remote: &Remote<I, R>,
    item: I,
    options: CallOptions,
) -> Result<Arc<Ticket>, TaskError> {
    submit_part(carrier, remote, &mut Some(item), options, None, None)
}

/// `item`: taken if it must be gone by now. `snapshot`: set to what the task may change in shared memory, if it can be tried again.
fn submit_part<I, R>(
    carrier: &Carrier,
    remote: &Remote<I, R>,
    item: &mut Option<I>,
    options: CallOptions,
    admitted: Option<&Admitted>,
    snapshot: Option<&mut Option<Snapshot>>,
) -> Result<Arc<Ticket>, TaskError> {
    let refused = |refused: Refused| refused.into_task_error(remote.function);
    #[cfg_attr(not(feature = "dask"), expect(clippy::infallible_destructuring_match, reason = "there is another"))]
    let engine = match carrier {
        Carrier::Process(engine) => engine,
        #[cfg(feature = "dask")]
        Carrier::Cluster(engine) => {
            if let Some(snapshot) = snapshot {
                // The arguments are sent as they are for each try.
                *snapshot = Some(Snapshot::default());
            }
            let letter =
                Letter::encode(engine.id, remote, item.as_slice(), 0).map_err(|error| refused(error.into()))?;
            return engine.submit(Terms { options, eager: false, stops: true }, letter, admitted.is_some());
        }
    };
    let entry = function::entry_of(remote.serve).map_err(TaskError::Spawn)?;
    let arena = engine.arena().map_err(PoolError::into_task_error)?;
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
    let is_async = remote.is_async;
    let about = About { function: remote.function, shared: handles::shared_bytes() };
    let again = |retries| Retry::new(retries, (entry, is_async), limit, &body, loan.as_deref());
    let retry = options.retries.and_then(again);
    let (items, seen, timed) = (1, None, false);
    let message = Message { entry, items, seen, timed, is_async, limit, retry, body, loan };
    engine.submit(message, about, admitted.and_then(Admitted::process))
}

/// Encodes items, and says how many `bytes` they take. An item is to be dropped before the message is sent if its loan is promised.
pub(crate) fn encode<'b, I, R>(
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
pub(crate) enum Place<'t, R> {
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
    /// Shows how many have.
    pub(crate) meter: Option<&'c Meter>,
}

impl Control<'_> {
    fn stopped(&self) -> bool {
        self.stop.is_some_and(|stop| stop())
    }

    /// So many items have ended by now, and so many had when this was last told.
    fn tell(&self, told: &mut usize, ended: usize) {
        let more = ended - std::mem::replace(told, ended);
        if more == 0 {
            return;
        }
        if let Some(done) = self.done {
            done.fetch_add(more, Ordering::Relaxed);
        }
        if let Some(meter) = self.meter {
            meter.add(more);
        }
    }
}

/// Runs all items. With [`Place::Values`], nothing more is started once an item is known to have failed; when what runs has
/// ended, the first failure is the result.
pub(crate) fn map<I, R>(
    carrier: &Carrier,
    remote: &Remote<I, R>,
    items: impl Iterator<Item = I>,
    control: &Control<'_>,
    mut target: Place<'_, R>,
) -> Result<(), TaskError> {
    let mut items = items.fuse();
    carrier.prepare()?;
    let admitted = Some(carrier.admit(control.admitted)?);
    let futures = (remote.is_async, FUTURES_OF_A_MAP);
    let sizes = Sizes::of(carrier.grain(), futures, carrier.workers(), control.options.chunk, items.size_hint());
    let stop_at_failure = matches!(target, Place::Values(_));
    let manner = if stop_at_failure { Manner::StopsAtFailure } else { Manner::GoesOn };
    let mut flights = Flights::new(carrier, *remote, control.options, sizes, admitted, manner)?;
    let _inside = carrier.inside();
    let mut exhausted = false;
    let mut failing = false;
    let mut told = 0;

    loop {
        if failing {
            if flights.unfinished() == 0 {
                return Err(flights.first_failure().unwrap_or(TaskError::Cancelled));
            }
        } else {
            flights.give(&mut target)?;
        }
        while !exhausted && !failing && flights.unfinished() < flights.sizes.window() && !flights.front_has_landed() {
            if control.stopped() {
                return Err(TaskError::Cancelled);
            }
            let count = flights.sizes.next();
            let batch: Vec<I> = items.by_ref().take(count).collect();
            exhausted = batch.len() < count;
            if !batch.is_empty() {
                flights.send(batch);
            }
        }
        control.tell(&mut told, flights.ended);
        if flights.queue.is_empty() {
            // Nothing was left to send, or nothing ever was.
            return Ok(());
        }
        if !failing && flights.front_has_landed() {
            // It could not even be sent.
            continue;
        }

        let mut stopped = false;
        carrier.wait_until(|| {
            carrier.collect_done();
            stopped = control.stopped();
            stopped || flights.any_arrived()
        });
        if stopped {
            return Err(TaskError::Cancelled);
        }
        if flights.land(stop_at_failure, failing) && stop_at_failure && !failing {
            failing = true;
            flights.cancel_waiting();
        }
    }
}
