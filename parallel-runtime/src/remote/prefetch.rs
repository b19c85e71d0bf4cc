//! Items in other processes, a little ahead of the thread that takes their results.

use std::sync::Arc;

use super::batch_queue::{BatchQueue, Manner};
use super::transport::Transport;
use crate::backend::batch_policy::{BatchPolicy, FUTURES_AHEAD};
use crate::backend::{Prefetch, Results};
use crate::error::TaskError;
use crate::function::erased::ErasedVec;
use crate::function::table::FunctionTable;
use crate::options::CallOptions;
use crate::wait::notify::Signal;

/// Items in worker processes, and results that nothing has taken.
pub(super) struct RemotePrefetch {
    batches: BatchQueue<'static>,
    /// Whether results come in the order of the items.
    ordered: bool,
}

impl RemotePrefetch {
    pub(super) fn new(
        transport: &Arc<dyn Transport>,
        function: &'static FunctionTable,
        options: CallOptions,
        hint: (usize, Option<usize>),
        ordered: bool,
    ) -> Result<Self, TaskError> {
        let workers = transport.workers();
        let futures = (function.is_async(), FUTURES_AHEAD * workers);
        let policy = BatchPolicy::of(transport.granularity(), futures, workers, options.chunk, hint);
        let batches = BatchQueue::new(transport, function, options, policy, false, Manner::Streams)?;
        Ok(Self { batches, ordered })
    }
}

impl Prefetch for RemotePrefetch {
    fn room(&mut self) -> usize {
        let window = self.batches.policy.window();
        // Behind an item that takes long others may have ended.
        let full = self.batches.unfinished() >= window || self.batches.len() >= 2 * window;
        if full || self.has_arrived() { 0 } else { self.batches.policy.next() }
    }

    fn send(&mut self, items: ErasedVec<'static>) {
        self.batches.send(items);
    }

    fn has_arrived(&self) -> bool {
        if self.ordered { self.batches.front_has_arrived() } else { self.batches.any_has_arrived() }
    }

    fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    fn collect(&mut self) {
        self.batches.transport.collect_done();
        self.batches.collect(false, false);
    }

    fn take(&mut self) -> Option<(usize, Results<'static>)> {
        self.collect();
        // Not all that there is: what is given at once is held in memory.
        self.batches.give_one(!self.ordered)
    }

    fn wait(&self) {
        if self.has_arrived() {
            return;
        }
        let transport = &self.batches.transport;
        transport.wait_until(None, &mut || {
            transport.collect_done();
            self.batches.any_finished()
        });
    }

    fn raise(&mut self, signal: Arc<Signal>) {
        self.batches.raise(signal);
    }
}
