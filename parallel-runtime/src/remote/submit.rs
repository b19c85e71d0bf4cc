//! The way of items from their caller to an engine: the only one.

use std::sync::Arc;

use super::message::{About, EncodedArguments, Loan, Message, Refused, Retry, Scratch, Snapshot};
use super::outcome::Outcome;
use super::result_reader;
use super::transport::{Batch, NotSubmitted, Ownership, Retries, Submitted, Transport};
use crate::backend::Failed;
use crate::codec::Writer;
use crate::error::TaskError;
use crate::function::table::{Piece, Written};
use crate::options::CallOptions;
use crate::shared::Arena;

/// An encoded batch.
pub(crate) struct Encoded<'b, 's> {
    pub(crate) message: Message<'b>,
    pub(crate) about: About,
    pub(crate) owner: Option<Ownership<'s>>,
    pub(crate) before: Option<Snapshot>,
    pub(crate) bytes: usize,
}

/// Encodes items for workers of this machine: into the scratch, or into shared memory. Items that own what goes with them are dropped.
#[inline]
pub(crate) fn encode<'b, 's>(
    arena: &Arc<Arena>,
    batch: Batch<'s>,
    scratch: &'b mut Scratch,
) -> Result<Encoded<'b, 's>, NotSubmitted> {
    let Batch { function, items, options, retries, guess, timed, packable, owner, references, .. } = batch;
    let remote = function.remote();
    let refused = |refused: Refused| NotSubmitted::Items(refused.into_task_error(function.name));
    let entry = remote.entry().map_err(|error| NotSubmitted::Engine(TaskError::Spawn(error)))?;
    let (first, count) = items.places();
    let mut bytes = 0;
    let mut write = |writer: &mut Writer<'_>| {
        // SAFETY: `count` items of the function lie there, which their submitter keeps meanwhile.
        unsafe { (remote.send)(first, count, writer) }?;
        bytes = writer.len();
        Ok(())
    };
    let EncodedArguments { body, mut loan, shared } =
        match EncodedArguments::new(arena, scratch, guess, references, &mut write).map_err(refused)? {
            // What was changed is to be copied into what the item refers to.
            EncodedArguments { body, loan: Some(loan), .. } if remote.takes_back && loan.is_promised() => {
                loan.unload();
                drop(body);
                EncodedArguments::of_copies(arena, guess, &mut write).map_err(refused)?
            }
            encoded => encoded,
        };
    let may_retry = options.retries.is_some_and(|retries| retries > 0);
    let caller_retries = retries == Retries::Caller && may_retry;
    // Which owner belongs to which item, and which part to which, would have to be known when some of them are sent again.
    let alone = |loan: &mut Box<Loan>| loan.has_owners() || (caller_retries && loan.is_exclusive());
    if count > 1
        && let Some(loan) = loan.take_if(alone)
    {
        loan.unload();
        return Err(NotSubmitted::Together);
    }
    if let Some(loan) = loan.as_deref_mut().filter(|loan| loan.is_promised()) {
        // It is a single item.
        items.let_go();
        loan.settle().map_err(|error| refused(error.into()))?;
    }
    let before = match &loan {
        _ if !caller_retries => None,
        None => Some(Snapshot::default()),
        Some(loan) => loan.snapshot(),
    };
    let (limit, is_async) = (options.timeout, function.is_async());
    let again = |retries| Retry::new(retries, (entry, is_async), limit, &body, loan.as_deref());
    let retry = options.retries.filter(|_| retries == Retries::Engine).and_then(again);
    let about = About { function: function.name, shared, packable, keep: function.keep };
    let owner = owner.map(|transport| Ownership { transport, function });
    let (items, seen) = (count as u32, None);
    let message = Message { entry, items, seen, timed, is_async, limit, retry, recording: None, body, loan };
    Ok(Encoded { message, about, owner, before, bytes })
}

/// Runs one item and waits for its result.
pub(super) fn call(transport: &dyn Transport, mut one: Piece<'_>, options: CallOptions) -> Result<Written, Failed> {
    let function = one.table();
    let mut left = options.retries.unwrap_or(0);
    let accepted = if left > 0 { Some(transport.accept(false)?) } else { None };
    let mut before: Option<Snapshot> = None;
    loop {
        // The item is here, and encoded anew for each try: nothing need be kept, but what lies in shared memory.
        let first = left > 0 && before.is_none();
        let batch = Batch {
            function,
            items: &mut one,
            options: CallOptions { retries: first.then_some(left), ..options },
            retries: Retries::Caller,
            guess: 0,
            timed: false,
            eager: false,
            packable: false,
            stops: true,
            accepted: accepted.is_some(),
            owner: None,
            references: None,
        };
        let Submitted { task, before: snapshot, .. } = transport.submit(batch).map_err(NotSubmitted::into_error)?;
        before = before.or(snapshot);
        let mut outcome = transport.wait(&task, None).unwrap_or_default();
        if left > 0 && before.is_some() && one.has_item() {
            outcome.discard_unsaved();
        }
        let error = match result_reader::read_call(&mut one, outcome) {
            Ok(()) => return one.finish().ok_or(Failed::Error(TaskError::Cancelled)),
            Err(error) => error,
        };
        let again = left > 0 && error.may_be_retried() && one.has_item();
        let Some(before) = before.as_ref().filter(|_| again) else {
            let tries = options.retries.unwrap_or(0) - left + 1;
            return Err(Failed::Error(error.of(function.name).after_tries(tries)));
        };
        // SAFETY: the caller's borrows are ours, and the task has ended, by which no worker uses its memory.
        unsafe { before.restore() };
        left -= 1;
        transport.count_retry();
    }
}

impl NotSubmitted {
    pub(crate) fn into_error(self) -> TaskError {
        match self {
            Self::Items(error) | Self::Engine(error) => error,
            Self::Together => unreachable!("a single item travels alone"),
        }
    }
}

/// Waits for a task that no handle is for.
pub(super) fn wait(transport: &dyn Transport, task: &super::task_state::TaskRef) -> Outcome {
    transport.wait(task, None).unwrap_or_default()
}
