//! Results as they come: the part of `imap`, `imap_unordered` and `stream` that knows no types.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::backend::results::EachResult;
use crate::backend::{Prefetch, Results};
use crate::function::erased::Items;
use crate::function::table::FunctionTable;
use crate::observe::progress::Meter;
use crate::wait::notify::Signal;

/// The most items of a batch: those on their way are held in memory.
const MOST_AT_ONCE: usize = 1024;

/// How long the items of a batch may take to come.
const PATIENCE: Duration = Duration::from_micros(300);

/// An item that takes so long to come is slow.
const SLOW: Duration = Duration::from_micros(10);

/// How often the clock is looked at while items come fast.
const EVERY: usize = 16;

/// Results, and the items that are still to come.
pub(crate) struct Stream {
    prefetch: Box<dyn Prefetch>,
    exhausted: bool,
    /// The source of items has panicked, which is for the thread that asks for a result after all those of the items before.
    panicked: Option<Box<dyn Any + Send>>,
    /// Whether items come so slowly that it is they who are waited for.
    slow: bool,
    /// Results that are there, and the number of the next.
    buffer: EachResult<'static>,
    next: usize,
    meter: Meter,
}

impl Stream {
    pub(crate) fn new(function: &'static FunctionTable, prefetch: Box<dyn Prefetch>, meter: Meter) -> Self {
        let buffer = Results::new(function.output).into_each();
        Self { prefetch, exhausted: false, panicked: None, slow: false, buffer, next: 0, meter }
    }

    /// From now on `signal` is raised when there is more to see.
    pub(crate) fn raise(&mut self, signal: &Arc<Signal>) {
        self.prefetch.raise(Arc::clone(signal));
    }

    /// Sends items as far as there is room for them. Items that come slowly are sent as they come, and only until there is a
    /// result: no thread that has something to work on waits for them.
    fn fill(&mut self, items: &mut dyn Items<'static>) {
        while !self.exhausted && self.panicked.is_none() {
            let room = self.prefetch.room();
            if room == 0 {
                return;
            }
            // What it gave before is sent.
            self.panicked = catch_unwind(AssertUnwindSafe(|| self.pull(items, room.min(MOST_AT_ONCE)))).err();
            let batch = items.take_pulled();
            if batch.is_empty() {
                return;
            }
            self.prefetch.send(batch);
            if self.slow {
                self.prefetch.collect();
                if self.prefetch.has_arrived() {
                    return;
                }
            }
        }
    }

    /// Takes items from their source, as many as are wanted or as come in a short time.
    fn pull(&mut self, items: &mut dyn Items<'static>, wanted: usize) {
        let begun = Instant::now();
        let before = items.pulled();
        let every = if self.slow { 1 } else { EVERY };
        let more = items.pull(wanted, every, &mut |_| begun.elapsed() <= PATIENCE);
        self.exhausted = !more;
        self.slow = begun.elapsed() > SLOW * (items.pulled() - before) as u32;
    }

    /// Whether there is a result to take by [`take`](Stream::take): its item's number. `Ready(None)` when there will be no more.
    pub(crate) fn look(&mut self, items: &mut dyn Items<'static>) -> Poll<Option<usize>> {
        loop {
            if self.buffer.len() > 0 {
                self.next += 1;
                self.meter.add_failed(usize::from(self.buffer.next_has_failed()));
                self.meter.add(1);
                return Poll::Ready(Some(self.next - 1));
            }
            if let Some((first, results)) = self.prefetch.take() {
                (self.next, self.buffer) = (first, results.into_each());
            }
            // Before the caller works on what is there, so that the workers go on meanwhile.
            if self.buffer.len() == 0 || !(self.slow || self.prefetch.is_lazy()) {
                self.fill(items);
            }
            if self.buffer.len() > 0 {
                continue;
            }
            if self.prefetch.is_empty() {
                if let Some(payload) = self.panicked.take() {
                    // It may go on afterwards.
                    resume_unwind(payload);
                }
                if self.exhausted {
                    return Poll::Ready(None);
                }
            }
            // What could not even be sent has ended, and no thread says so.
            if !self.prefetch.has_arrived() {
                return Poll::Pending;
            }
        }
    }

    /// The same, after waiting.
    pub(crate) fn wait(&mut self, items: &mut dyn Items<'static>) -> Option<usize> {
        loop {
            if let Poll::Ready(result) = self.look(items) {
                return result;
            }
            self.prefetch.wait();
        }
    }

    /// The results that are there.
    pub(crate) fn take(&mut self) -> &mut EachResult<'static> {
        &mut self.buffer
    }
}
