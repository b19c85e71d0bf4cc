//! Results as they come: `imap`, `imap_unordered`, `stream`.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::function::OwnedFn;
use super::route::Route;
use super::table::Tables;
use crate::error::TaskError;
use crate::function::IntoOwned;
use crate::function::erased::ItemsOf;
use crate::task::stream::Stream;
use crate::wait::notify::Signal;

/// The owned forms of items.
struct Owned<F, I> {
    items: I,
    _function: PhantomData<fn() -> F>,
}

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> Iterator for Owned<F, I> {
    type Item = F::Owned;

    fn next(&mut self) -> Option<F::Owned> {
        self.items.next().map(IntoOwned::into_owned)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.items.size_hint()
    }
}

/// Results, and the items that are still to come.
struct Streamed<F: OwnedFn, I> {
    stream: Stream,
    items: ItemsOf<'static, Owned<F, I>>,
}

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> Streamed<F, I> {
    fn new(route: Route<'_>, items: I, ordered: bool) -> Self {
        let (function, hint) = (Tables::<F>::owned(), items.size_hint());
        let stream = Stream::new(function, route.prefetch(function, hint, ordered), route.meter(function, hint));
        Self { stream, items: ItemsOf::new(Owned { items, _function: PhantomData }) }
    }

    fn result(&mut self) -> Option<Result<F::Output, TaskError>> {
        // SAFETY: the stream gives outputs of this function.
        unsafe { self.stream.take().next() }
    }

    fn next(&mut self) -> Option<(usize, Result<F::Output, TaskError>)> {
        let index = self.stream.wait(&mut self.items)?;
        self.result().map(|result| (index, result))
    }
}

/// The results of the items, in their order: from `f::imap(items)`, Python's `Pool.imap`.
///
/// It is lazy: items are taken a bounded way ahead of the results, so that they may be infinite. They are taken on the thread that asks for a result: a
/// source of items that waits for the result of an earlier item deadlocks. Dropping it cancels what has not started. If its pool is shut down, the
/// remaining items get an error each.
#[must_use = "items are run when their results are asked for"]
pub struct Imap<F: OwnedFn, I> {
    results: Streamed<F, I>,
}

/// The results of the items as they end, with the item's number: from `f::imap_unordered(items)`, Python's `Pool.imap_unordered`. Lazy like [`Imap`];
/// dropping it cancels what has not started.
#[must_use = "items are run when their results are asked for"]
pub struct ImapUnordered<F: OwnedFn, I> {
    results: Streamed<F, I>,
}

/// The results of the items, in their order, as a stream: from `f::stream(items)`. Lazy like [`Imap`], under any executor. Dropping it cancels what has
/// not started.
#[must_use = "items are run when their results are asked for"]
pub struct TaskStream<F: OwnedFn, I> {
    results: Streamed<F, I>,
    signal: Arc<Signal>,
}

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> Imap<F, I> {
    pub(super) fn new(route: Route<'_>, items: I) -> Self {
        Self { results: Streamed::new(route, items, true) }
    }
}

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> ImapUnordered<F, I> {
    pub(super) fn new(route: Route<'_>, items: I) -> Self {
        Self { results: Streamed::new(route, items, false) }
    }
}

impl<F: OwnedFn, I: Iterator<Item: IntoOwned<F::Parameters, Owned = F::Owned>>> TaskStream<F, I> {
    pub(super) fn new(route: Route<'_>, items: I) -> Self {
        let (mut results, signal) = (Streamed::new(route, items, true), Arc::default());
        results.stream.raise(&signal);
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
        let Streamed { stream, items, .. } = &mut self.results;
        match stream.look(items) {
            Poll::Ready(Some(_)) => Poll::Ready(self.results.result()),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

macro_rules! debug {
    ($($type:ident),*) => {$(
        impl<F: OwnedFn, I> fmt::Debug for $type<F, I> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($type)).field("function", &F::NAME).finish_non_exhaustive()
            }
        }
    )*};
}
debug!(Imap, ImapUnordered, TaskStream);
