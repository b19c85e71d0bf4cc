//! Results as they come: `imap`, `imap_unordered`, `stream`.

use std::fmt;
use std::iter::{Fuse, FusedIterator};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::error::TaskError;
use crate::function::{IntoOwned, OwnedFn};
use crate::observe::progress::Meter;
use crate::wait::notify::Signal;
use crate::{panics, remote, thread};

/// The most items of a message: those on their way are held in memory.
const MOST_AT_ONCE: usize = 1024;

/// How long the items of a message may take to come.
const PATIENCE: Duration = Duration::from_micros(300);

/// An item that takes so long to come is slow.
const SLOW: Duration = Duration::from_micros(10);

/// Where the items run.
pub(crate) enum Ahead<A, R> {
    /// Nowhere: each item gets one of these errors.
    Nowhere(Box<dyn Iterator<Item = TaskError> + Send>),
    /// Right here, when their results are wanted.
    Here(fn(A) -> Result<R, TaskError>),
    Thread(thread::ahead::Ahead<A, R>),
    Remote(remote::ahead::Ahead<A, R>),
}

/// Results, and the items that are still to come.
struct Results<F: OwnedFn, I> {
    items: Fuse<I>,
    /// Items that were taken and not sent.
    pulled: Vec<F::Owned>,
    exhausted: bool,
    /// Whether items come so slowly that it is they who are waited for.
    slow: bool,
    ahead: Ahead<F::Owned, F::Output>,
    buffer: std::vec::IntoIter<(usize, Result<F::Output, TaskError>)>,
    /// How many items were run here.
    here: usize,
    meter: Meter,
}

type Numbered<R> = (usize, Result<R, TaskError>);

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> Results<F, I> {
    fn new(items: I, ahead: Ahead<F::Owned, F::Output>, meter: Meter) -> Self {
        let (pulled, buffer) = (Vec::new(), Vec::new().into_iter());
        Self { items: items.fuse(), pulled, exhausted: false, slow: false, ahead, buffer, here: 0, meter }
    }

    /// Sends items as far as there is room for them. Items that come slowly are sent as they come, and only until there is a
    /// result: nobody who has something to work on waits for them.
    fn fill(&mut self) {
        while !self.exhausted {
            let room = match &mut self.ahead {
                Ahead::Thread(ahead) => ahead.room(),
                Ahead::Remote(ahead) => ahead.room(),
                Ahead::Nowhere(_) | Ahead::Here(_) => return,
            };
            if room == 0 {
                return;
            }
            self.pull(room.min(MOST_AT_ONCE));
            if self.pulled.is_empty() {
                return;
            }
            let batch = std::mem::take(&mut self.pulled);
            match &mut self.ahead {
                Ahead::Thread(ahead) => ahead.send(batch),
                Ahead::Remote(ahead) => ahead.send(batch),
                Ahead::Nowhere(_) | Ahead::Here(_) => {}
            }
            if self.slow && self.has_ended() {
                return;
            }
        }
    }

    /// Takes items from their source, as many as are wanted or as come in a short time.
    fn pull(&mut self, wanted: usize) {
        let begun = Instant::now();
        let mut count = 0;
        // Should the source panic, what it has given is still there.
        while self.pulled.len() < wanted {
            let Some(item) = self.items.next() else {
                self.exhausted = true;
                break;
            };
            self.pulled.push(item.into_owned());
            count += 1;
            if (self.slow || count == 1 || count % 16 == 0) && begun.elapsed() > PATIENCE {
                break;
            }
        }
        self.slow = begun.elapsed() > SLOW * count;
    }

    /// The next result that is there. `Ready(None)` when there will be no more.
    fn look(&mut self) -> Poll<Option<Numbered<F::Output>>> {
        let result = self.look_for_result();
        if let Poll::Ready(Some(_)) = result {
            self.meter.add(1);
        }
        result
    }

    fn look_for_result(&mut self) -> Poll<Option<Numbered<F::Output>>> {
        if let Some(result) = self.buffer.next() {
            return Poll::Ready(Some(result));
        }
        loop {
            let mut results = Vec::new();
            match &mut self.ahead {
                Ahead::Nowhere(errors) => {
                    let result = self.items.next().map(|_| Err(errors.next().unwrap_or(TaskError::Cancelled)));
                    return Poll::Ready(result.map(|result| self.number(result)));
                }
                Ahead::Here(run) => {
                    let result = self.items.next().map(IntoOwned::into_owned).map(*run);
                    return Poll::Ready(result.map(|result| self.number(result)));
                }
                Ahead::Thread(ahead) => ahead.take(&mut results),
                Ahead::Remote(ahead) => ahead.take(&mut results),
            }
            self.buffer = results.into_iter();
            // Before anybody works on what is there: so the workers go on meanwhile.
            if !self.slow || self.buffer.len() == 0 {
                self.fill();
            }
            if let Some(result) = self.buffer.next() {
                return Poll::Ready(Some(result));
            }
            if self.exhausted && self.is_empty() {
                return Poll::Ready(None);
            }
            // What could not even be sent has ended, and nobody says so.
            if !self.has_landed() {
                return Poll::Pending;
            }
        }
    }

    /// Whether there is a result, after a look at what has ended.
    fn has_ended(&mut self) -> bool {
        if let Ahead::Remote(ahead) = &mut self.ahead {
            ahead.collect();
        }
        self.has_landed()
    }

    fn has_landed(&self) -> bool {
        match &self.ahead {
            Ahead::Thread(ahead) => ahead.has_landed(),
            Ahead::Remote(ahead) => ahead.has_landed(),
            Ahead::Nowhere(_) | Ahead::Here(_) => false,
        }
    }

    fn is_empty(&self) -> bool {
        match &self.ahead {
            Ahead::Thread(ahead) => ahead.is_empty(),
            Ahead::Remote(ahead) => ahead.is_empty(),
            Ahead::Nowhere(_) | Ahead::Here(_) => true,
        }
    }

    fn number(&mut self, result: Result<F::Output, TaskError>) -> Numbered<F::Output> {
        self.here += 1;
        (self.here - 1, result)
    }

    fn next(&mut self) -> Option<Numbered<F::Output>> {
        loop {
            if let Poll::Ready(result) = self.look() {
                return result;
            }
            match &self.ahead {
                Ahead::Thread(ahead) => ahead.wait(),
                Ahead::Remote(ahead) => ahead.wait(),
                Ahead::Nowhere(_) | Ahead::Here(_) => {}
            }
        }
    }

    /// From now on `signal` is raised when there is more to see.
    fn raise(&mut self, signal: &Arc<Signal>) {
        match &mut self.ahead {
            Ahead::Thread(ahead) => ahead.raise(Arc::clone(signal)),
            Ahead::Remote(ahead) => ahead.raise(Arc::clone(signal)),
            Ahead::Nowhere(_) | Ahead::Here(_) => {}
        }
    }
}

/// What an item became, in the order of the items: from `f::imap(items)`, Python's `Pool.imap`.
///
/// It is lazy: items are taken a little ahead of the results that are taken, so that they may have no end, and memory does not grow.
/// They are taken on the thread that asks for a result: a source of items that waits for a result of an earlier one waits for ever.
/// When it is dropped, what has not started is cancelled. If its pool is shut down, the items that are left get an error each.
#[must_use = "items are run when their results are asked for"]
pub struct Imap<F: OwnedFn, I> {
    results: Results<F, I>,
}

/// What each item became, as they end, with the item's number: from `f::imap_unordered(items)`, Python's `Pool.imap_unordered`.
///
/// Lazy as [`Imap`]; when it is dropped, what has not started is cancelled.
#[must_use = "items are run when their results are asked for"]
pub struct ImapUnordered<F: OwnedFn, I> {
    results: Results<F, I>,
}

/// What each item became, in the order of the items, as a stream: from `f::stream(items)`.
///
/// Lazy as [`Imap`], under any executor: items are taken only as results are. When it is dropped, what has not started is cancelled.
#[must_use = "items are run when their results are asked for"]
pub struct TaskStream<F: OwnedFn, I> {
    results: Results<F, I>,
    signal: Arc<Signal>,
}

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> Imap<F, I> {
    pub(crate) fn new(items: I, ahead: Ahead<F::Owned, F::Output>, meter: Meter) -> Self {
        Self { results: Results::new(items, ahead, meter) }
    }
}

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> ImapUnordered<F, I> {
    pub(crate) fn new(items: I, ahead: Ahead<F::Owned, F::Output>, meter: Meter) -> Self {
        Self { results: Results::new(items, ahead, meter) }
    }
}

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> TaskStream<F, I> {
    pub(crate) fn new(items: I, ahead: Ahead<F::Owned, F::Output>, meter: Meter) -> Self {
        let (mut results, signal) = (Results::new(items, ahead, meter), Arc::default());
        results.raise(&signal);
        Self { results, signal }
    }
}

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> Iterator for Imap<F, I> {
    type Item = Result<F::Output, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.results.next().map(|(_, result)| result)
    }
}

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> Iterator for ImapUnordered<F, I> {
    type Item = (usize, Result<F::Output, TaskError>);

    fn next(&mut self) -> Option<Self::Item> {
        self.results.next()
    }
}

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> FusedIterator for Imap<F, I> {}
impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> FusedIterator for ImapUnordered<F, I> {}

/// Nothing of it is ever pinned.
impl<F: OwnedFn, I> Unpin for TaskStream<F, I> {}

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> futures_core::Stream
    for TaskStream<F, I>
{
    type Item = Result<F::Output, TaskError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.signal.set(context.waker());
        self.results.look().map(|result| result.map(|(_, result)| result))
    }
}

macro_rules! debug {
    ($($type:ident),*) => {$(
        impl<F: OwnedFn, I> fmt::Debug for $type<F, I> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).field("function", &F::spec().name).finish_non_exhaustive()
            }
        }
    )*};
}
debug!(Imap, ImapUnordered, TaskStream);

/// Runs an item in place, as a task would run it.
pub(crate) fn run_here<F: OwnedFn>(item: F::Owned) -> Result<F::Output, TaskError> {
    panics::catch(|| F::run_owned(item)).map_err(|caught| caught.into_error(F::spec().name))
}
