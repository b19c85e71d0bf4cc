//! The batches of a map, from the packing of their items to their results.

use std::collections::VecDeque;
use std::sync::Arc;

use super::message::Snapshot;
use super::outcome::Outcome;
use super::references::SharedReferences;
use super::result_reader::{ResultReader, missing};
use super::task_state::TaskRef;
use super::transport::{Batch, NotSubmitted, Retries, Submitted, Transport};
use crate::backend::Results;
use crate::backend::batch_policy::BatchPolicy;
use crate::error::TaskError;
use crate::function::erased::ErasedVec;
use crate::function::table::FunctionTable;
use crate::options::CallOptions;
use crate::panics;
use crate::wait::notify::{Signal, Watcher};

/// A batch that is under way, or has come back.
struct Queued<'a> {
    task: Option<TaskRef>,
    /// Its items; none if the only one had to be gone when it was sent, or was never sent.
    items: ErasedVec<'a>,
    /// The number of its first item, and how many it is for.
    first: usize,
    count: usize,
    outcome: Option<Outcome>,
    /// How often its first item was tried before.
    tries: u32,
    /// What it may change in shared memory, if it can be tried again.
    before: Option<Snapshot>,
}

/// What becomes of the other items, and of what has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// When an item has failed, no more are started. Items may hold borrows: so what has started is always waited for.
    StopsAtFailure,
    /// All are run. They may hold borrows, too.
    GoesOn,
    /// All are run, and hold no borrows: no thread waits for those whose results are not wanted any more.
    Streams,
}

/// The batches of a map, in the order of their items.
pub(super) struct BatchQueue<'a> {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) function: &'static FunctionTable,
    options: CallOptions,
    /// The pool runs all of them, even if it is shut down meanwhile.
    accepted: bool,
    queue: VecDeque<Queued<'a>>,
    pub(super) policy: BatchPolicy,
    /// How many items there have been.
    taken: usize,
    /// Batches that have not come back.
    unfinished: usize,
    /// How many items have ended.
    pub(super) ended: usize,
    manner: Manner,
    /// Raised for each batch that ends.
    signal: Option<Arc<Signal>>,
    /// What is known of references in the items.
    references: SharedReferences,
}

/// Why a batch was not sent.
enum Unsent {
    /// This one item is at fault.
    Alone(TaskError),
    /// One of several items is, or they must not travel together.
    Together,
}

impl<'a> BatchQueue<'a> {
    /// `accepted`: see [`BatchQueue`].
    pub(super) fn new(
        transport: &Arc<dyn Transport>,
        function: &'static FunctionTable,
        options: CallOptions,
        policy: BatchPolicy,
        accepted: bool,
        manner: Manner,
    ) -> Result<Self, TaskError> {
        // Once for all of them: the function may lie where workers do not find it.
        function.remote().entry().map_err(TaskError::Spawn)?;
        transport.prepare()?;
        Ok(Self {
            transport: Arc::clone(transport),
            function,
            options,
            accepted,
            queue: VecDeque::new(),
            policy,
            taken: 0,
            unfinished: 0,
            ended: 0,
            manner,
            signal: None,
            references: SharedReferences::default(),
        })
    }

    /// From now on `signal` is raised when a batch ends; nothing else need collect results.
    pub(super) fn raise(&mut self, signal: Arc<Signal>) {
        self.signal = Some(signal);
    }

    /// Sends the next items.
    pub(super) fn send(&mut self, items: ErasedVec<'a>) {
        let first = self.taken;
        self.taken += items.len();
        self.policy.taken(items.len());
        self.send_at(items, first, None, 0);
    }

    /// Batches that have not come back.
    pub(super) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Batches whose results nothing has taken.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn batch(&self, items: ErasedVec<'a>, first: usize, count: usize) -> Queued<'a> {
        Queued { task: None, items, first, count, outcome: None, tries: 0, before: None }
    }

    /// An item that has failed.
    fn failed(&self, first: usize, error: TaskError) -> Queued<'a> {
        let batch = self.batch(ErasedVec::new(self.function.item), first, 1);
        Queued { outcome: Some(Outcome::error(error)), ..batch }
    }

    /// Sends items, as the last of the queue or at a position of it.
    fn send_at(&mut self, mut items: ErasedVec<'a>, first: usize, position: Option<usize>, tries: u32) {
        let count = items.len();
        let batch = match self.try_send(&mut items) {
            Ok((task, before)) => {
                self.unfinished += 1;
                Queued { task: Some(task), tries, before, ..self.batch(items, first, count) }
            }
            Err(Unsent::Alone(error)) => {
                let at = position.unwrap_or(self.queue.len());
                let mut error = Some(error);
                self.ended += count;
                for offset in 0..count {
                    let error = error.take().unwrap_or(TaskError::Cancelled);
                    let failed = self.failed(first + offset, error);
                    self.queue.insert(at + offset, failed);
                }
                return;
            }
            // One of several cannot be encoded, or they do not fit together: one by one it shows which. Or they must not travel
            // together.
            Err(Unsent::Together) => {
                let position = position.unwrap_or(self.queue.len());
                self.send_each(items, first, position);
                return;
            }
        };
        match position {
            Some(position) => self.queue.insert(position, batch),
            None => self.queue.push_back(batch),
        }
    }

    /// Sends each item alone, from a position of the queue on.
    fn send_each(&mut self, items: ErasedVec<'a>, first: usize, position: usize) {
        for (offset, item) in items.into_each().enumerate() {
            self.send_at(item, first + offset, Some(position + offset), 0);
        }
    }

    /// `items`: cleared if they must be gone by now.
    fn try_send(&mut self, items: &mut ErasedVec<'a>) -> Result<(TaskRef, Option<Snapshot>), Unsent> {
        let count = items.len();
        let batch = Batch {
            function: self.function,
            items,
            options: self.options,
            retries: Retries::Caller,
            guess: if count > 1 { self.policy.arguments(count) } else { 0 },
            timed: true,
            eager: true,
            packable: false,
            stops: self.manner == Manner::StopsAtFailure,
            accepted: self.accepted,
            owner: None,
            references: Some(&mut self.references),
        };
        let Submitted { task, before, bytes } = match self.transport.submit(batch) {
            Ok(submitted) => submitted,
            Err(NotSubmitted::Items(_)) if count > 1 => return Err(Unsent::Together),
            Err(NotSubmitted::Items(error) | NotSubmitted::Engine(error)) => return Err(Unsent::Alone(error)),
            Err(NotSubmitted::Together) => {
                self.policy.send_alone();
                return Err(Unsent::Together);
            }
        };
        self.policy.saw_arguments(count, bytes);
        self.policy.set_workers(self.transport.workers());
        if let Some(signal) = &self.signal
            && let Err(watcher) = self.transport.watch(&task, Watcher::Signal(Arc::clone(signal)), true)
        {
            watcher.fire();
        }
        Ok((task, before))
    }

    /// Whether a batch has come back that nothing has looked at.
    pub(super) fn any_finished(&self) -> bool {
        let finished = |batch: &Queued<'a>| batch.task.as_ref().is_some_and(|task| task.is_finished());
        self.queue.iter().any(finished)
    }

    /// Whether the results of the first items can be taken.
    pub(super) fn front_has_arrived(&self) -> bool {
        self.queue.front().is_some_and(|batch| batch.outcome.is_some())
    }

    /// Whether the results of some items can be taken.
    pub(super) fn any_has_arrived(&self) -> bool {
        self.queue.iter().any(|batch| batch.outcome.is_some())
    }

    /// Takes the outcomes of batches that have come back, and sends again what their workers had not started. True if an item failed.
    /// `failing`: one had failed before, and nothing more is to be started.
    pub(super) fn collect(&mut self, stop_at_failure: bool, failing: bool) -> bool {
        let mut failed = failing;
        let mut position = 0;
        while position < self.queue.len() {
            let batch = &mut self.queue[position];
            position += 1;
            failed |= batch.outcome.as_ref().is_some_and(|outcome| outcome.failed || outcome.has_error());
            let Some(task) = batch.task.take_if(|task| task.is_finished()) else { continue };
            self.unfinished -= 1;
            let mut outcome = task.take_outcome().unwrap_or_default();
            let done = outcome.done as usize;
            // A worker may leave items to the next one, but only after it has run some.
            if done == 0 && !outcome.has_error() {
                outcome.rare().error = Some(missing(self.function.name));
            }
            if batch.items.len() > 1 && outcome.rare.as_ref().is_some_and(|rare| rare.apart) {
                let items = std::mem::replace(&mut batch.items, ErasedVec::new(self.function.item));
                let first = batch.first;
                position -= 1;
                self.queue.remove(position);
                self.send_each(items, first, position);
                continue;
            }
            self.policy.saw_results(done, outcome.results.as_slice().len(), outcome.nanoseconds);
            let tries = if done == 0 { batch.tries } else { 0 };
            let again = !(failed && stop_at_failure)
                && tries < self.options.retries.unwrap_or(0)
                && done < batch.items.len()
                && batch.before.is_some()
                && outcome.rare.as_ref().and_then(|rare| rare.error.as_ref()).is_some_and(TaskError::may_be_retried);
            if again {
                self.ended += done;
                outcome.discard_unsaved();
                outcome.take_error();
                if let Some(before) = batch.before.take().filter(|_| done == 0) {
                    // SAFETY: the items' borrows are ours, and the message has ended, by which no worker uses their memory.
                    unsafe { before.restore() };
                }
                let mut rest = batch.items.split_off(done);
                let first = batch.first + done;
                batch.count = done;
                let after = rest.split_off(1);
                batch.outcome = Some(outcome);
                self.transport.count_retry();
                self.send_at(rest, first, Some(position), tries + 1);
                if !after.is_empty() {
                    self.send_at(after, first + 1, Some(position + 1), 0);
                }
                continue;
            }
            if tries > 0
                && let Some(error) = outcome.take_error()
            {
                outcome.rare().error = Some(error.after_tries(tries + 1));
            }
            failed |= outcome.failed || outcome.has_error();
            let ended = done + usize::from(outcome.has_error());
            // A pool that is closed, or cannot start workers, answers for all items at once.
            let error = outcome.rare.as_ref().and_then(|rare| rare.error.as_ref());
            let for_all = matches!(error, Some(TaskError::Cancelled | TaskError::PoolClosed | TaskError::Spawn(_)));
            let rest = batch.items.split_off(ended.min(batch.items.len()));
            batch.outcome = Some(outcome);
            self.ended += batch.count - rest.len();
            if rest.is_empty() {
                continue;
            }
            let first = batch.first + ended;
            batch.count = ended;
            if for_all || (failed && stop_at_failure) {
                self.ended += rest.len();
                for offset in 0..rest.len() {
                    let cancelled = self.failed(first + offset, TaskError::Cancelled);
                    self.queue.insert(position + offset, cancelled);
                }
            } else {
                self.send_at(rest, first, Some(position), 0);
            }
        }
        failed
    }

    /// Gives the results that have arrived, in order, as far as there is no gap. The first failure ends it, unless the map goes on.
    pub(super) fn give(&mut self, results: &mut Results<'a>) -> Result<(), TaskError> {
        while self.front_has_arrived() {
            let Some(batch) = self.queue.pop_front() else { break };
            self.read(batch, results, self.manner != Manner::StopsAtFailure)?;
        }
        Ok(())
    }

    /// Gives the results of one batch, and the number of its first item: of the first batch or, if `any`, of one that has arrived.
    pub(super) fn give_one(&mut self, any: bool) -> Option<(usize, Results<'a>)> {
        let most = if any { self.queue.len() } else { 1 };
        let arrived = self.queue.iter().take(most).position(|batch| batch.outcome.is_some());
        let batch = arrived.and_then(|arrived| self.queue.remove(arrived))?;
        let (first, mut results) = (batch.first, Results::new(self.function.output));
        if let Err(error) = self.read(batch, &mut results, true) {
            results.fail(error);
        }
        Some((first, results))
    }

    /// Reads the results of a batch. `goes_on`: a failure is the result of its item; otherwise it ends it.
    fn read(&self, batch: Queued<'a>, results: &mut Results<'a>, goes_on: bool) -> Result<(), TaskError> {
        let Queued { items, count: ended, outcome, .. } = batch;
        let mut outcome = outcome.unwrap_or_default();
        let before = results.len();
        if goes_on {
            let (values, failures) = results.lens();
            let mut read = || self.read_together(&items, ended, &outcome, results, true);
            if panics::catch(&mut read).is_err() {
                // A `Deserialize` of the user's: once more, one by one.
                results.truncate(values, failures);
                self.read_each(&items, &outcome, results);
            }
        } else {
            self.read_together(&items, ended, &outcome, results, false)?;
        }
        if let Some(error) = outcome.take_error() {
            let error = error.of(self.function.name);
            if !goes_on {
                return Err(error);
            }
            results.fail(error);
        }
        if goes_on {
            // A worker that damaged its results may have left fewer than it said.
            while results.len() < before + ended {
                results.fail(missing(self.function.name));
            }
        }
        Ok(())
    }

    fn read_together(
        &self,
        items: &ErasedVec<'a>,
        ended: usize,
        outcome: &Outcome,
        results: &mut Results<'a>,
        goes_on: bool,
    ) -> Result<(), TaskError> {
        let mut reader = ResultReader::new(self.function, outcome);
        if items.is_empty() && outcome.done > 0 {
            // The only item is gone.
            // SAFETY: there are no items; the vector is one of the function's outputs.
            let (_, failure) = unsafe { reader.read_into(std::ptr::null_mut(), 1, &mut results.values) };
            if let Some(failure) = failure {
                if !goes_on {
                    return Err(failure);
                }
                results.fail(failure);
            }
        }
        let mut next = 0;
        while next < items.len() {
            let left = items.len() - next;
            // SAFETY: so many items lie there, which are ours; the vector is one of the function's outputs.
            let (read, failure) = unsafe { reader.read_into(items.at(next), left, &mut results.values) };
            let Some(failure) = failure else { break };
            if !goes_on {
                return Err(failure);
            }
            results.fail(failure);
            next = (next + read + 1).min(ended.max(next + 1));
        }
        Ok(())
    }

    /// The same, where reading one of them panics.
    fn read_each(&self, items: &ErasedVec<'a>, outcome: &Outcome, results: &mut Results<'a>) {
        let mut reader = ResultReader::new(self.function, outcome);
        for item in 0..(outcome.done as usize).min(items.len().max(1)) {
            let place = if items.is_empty() { std::ptr::null_mut() } else { items.at(item) };
            let end = reader.end_of_next();
            // SAFETY: the item lies there, if there is one, and is ours; the vector is one of the function's outputs.
            match panics::catch(|| unsafe { reader.read_into(place, 1, &mut results.values) }) {
                Ok((_, Some(failure))) => results.fail(failure),
                Ok((0, None)) => return,
                Ok(_) => {}
                Err(caught) => {
                    let reason = format!("its `Deserialize` panicked: {}", panics::message(&*caught.payload));
                    panics::discard(|| drop(caught));
                    results.fail(TaskError::Decode { function: self.function.name, what: "result", reason });
                    reader.skip_to(end);
                }
            }
        }
    }

    /// The first failure, in the order of the items, that is not merely the cancellation that followed another.
    pub(super) fn first_failure(&mut self) -> Option<TaskError> {
        while !self.queue.is_empty() {
            match self.give(&mut Results::new(self.function.output)) {
                Ok(()) | Err(TaskError::Cancelled) => {}
                Err(error) => return Some(error),
            }
        }
        None
    }

    /// Cancels what no worker has claimed.
    pub(super) fn cancel_waiting(&mut self) {
        self.transport.cancel_some(&mut self.queue.iter().filter_map(|batch| batch.task.as_ref()));
    }
}

impl Drop for BatchQueue<'_> {
    /// Nothing of a map goes on after it that may use what is borrowed: what has started is waited for.
    fn drop(&mut self) {
        self.cancel_waiting();
        for task in self.queue.iter().filter_map(|batch| batch.task.as_ref()) {
            if self.manner == Manner::Streams {
                self.transport.abandon(task);
            } else {
                drop(self.transport.wait(task, None));
            }
        }
    }
}
