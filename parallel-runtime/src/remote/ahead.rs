//! Results as they come: items are sent a little ahead of whoever takes the results.

use std::sync::Arc;

use super::carrier::Carrier;
use super::flights::{Flights, Manner};
use super::sizes::{FUTURES_AHEAD, Sizes};
use crate::error::TaskError;
use crate::function::Remote;
use crate::options::CallOptions;
use crate::wait::notify::Signal;

/// Items in worker processes, and results that nobody has taken.
pub(crate) struct Ahead<I, R> {
    flights: Flights<I, R>,
    /// Whether results come in the order of the items.
    ordered: bool,
}

impl<I, R> Ahead<I, R> {
    pub(crate) fn new(
        carrier: &Carrier,
        remote: Remote<I, R>,
        options: CallOptions,
        hint: (usize, Option<usize>),
        ordered: bool,
    ) -> Result<Self, TaskError> {
        let workers = carrier.workers();
        let sizes =
            Sizes::of(carrier.grain(), (remote.is_async, FUTURES_AHEAD * workers), workers, options.chunk, hint);
        let flights = Flights::new(carrier, remote, options, sizes, None, Manner::Streams)?;
        Ok(Self { flights, ordered })
    }

    /// How many items may be sent now; 0 if there are enough on their way.
    pub(crate) fn room(&mut self) -> usize {
        let window = self.flights.sizes.window();
        // Behind an item that takes long others may have ended.
        let full = self.flights.unfinished() >= window || self.flights.queue.len() >= 2 * window;
        if full || self.has_landed() { 0 } else { self.flights.sizes.next() }
    }

    pub(crate) fn send(&mut self, items: Vec<I>) {
        self.flights.send(items);
    }

    /// Whether there is something to take.
    pub(crate) fn has_landed(&self) -> bool {
        if self.ordered { self.flights.front_has_landed() } else { self.flights.any_has_landed() }
    }

    /// Whether nothing is on its way, and no result left.
    pub(crate) fn is_empty(&self) -> bool {
        self.flights.queue.is_empty()
    }

    /// Looks what has ended.
    pub(crate) fn collect(&mut self) {
        self.flights.carrier.collect_done();
        self.flights.land(false, false);
    }

    /// Takes results, each with the number of its item.
    pub(crate) fn take(&mut self, results: &mut Vec<(usize, Result<R, TaskError>)>) {
        self.collect();
        // Not all that there is: what is given at once is held in memory.
        self.flights.give_one(!self.ordered, results);
    }

    /// Waits until something has ended.
    pub(crate) fn wait(&self) {
        if self.has_landed() {
            return;
        }
        self.flights.carrier.wait_until(|| {
            self.flights.carrier.collect_done();
            self.flights.any_arrived()
        });
    }

    /// From now on `signal` is raised when something ends.
    pub(crate) fn raise(&mut self, signal: Arc<Signal>) {
        self.flights.raise(signal);
    }
}
