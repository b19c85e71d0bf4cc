//! The verbs that do not wait, or not for all: they take owned arguments.

use std::fmt;

use super::function::OwnedFn;
use super::route::NoRoom;
use super::stream::{Imap, ImapUnordered, TaskStream};
use super::table::Tables;
use super::verbs::Call;
use crate::function::IntoOwned;
use crate::function::erased::{ErasedValue, ItemsOf};
use crate::task::{MapTask, Spawned, Task};

/// Why a task was not submitted, with its item.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrySubmitError<Item> {
    /// As many tasks are outstanding as the pool's `queue` allows.
    #[error("the pool has as many outstanding tasks as its `queue` allows")]
    Full(Item),
    /// The pool is shut down.
    #[error("the pool is shut down")]
    Closed(Item),
}

impl<Item> TrySubmitError<Item> {
    /// Returns the item.
    pub fn into_inner(self) -> Item {
        match self {
            Self::Full(item) | Self::Closed(item) => item,
        }
    }
}

impl<Item> fmt::Debug for TrySubmitError<Item> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Full(_)) { "Full" } else { "Closed" })
    }
}

impl<F: OwnedFn> Call<'_, F> {
    /// Submits one item and returns at once, unless the pool's `queue` is full. References are passed in their owned form: `String` for `&str`, `Vec<T>` for `&[T]`.
    ///
    /// Tasks that have not ended when `main` returns are lost: join them, or shut the pool down before.
    #[doc(alias("apply_async"))]
    pub fn submit<A>(&self, item: A) -> Task<F::Output>
    where
        A: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        self.submit_owned(item.into_owned())
    }

    #[doc(hidden)]
    pub fn submit_owned(&self, item: F::Owned) -> Task<F::Output> {
        let handle = self.route().submit(Tables::<F>::owned(), ErasedValue::new(item));
        // SAFETY: the task gives an output of this function.
        unsafe { Task::new(handle) }
    }

    /// Of a caller that awaits it at once: as a plain call it takes no place in the pool's queue, and never blocks.
    pub(super) fn submit_awaited(&self, item: F::Owned) -> Task<F::Output> {
        let handle = self.route().submit_inside(Tables::<F>::owned(), ErasedValue::new(item), None);
        // SAFETY: the task gives an output of this function.
        unsafe { Task::new(handle) }
    }

    /// Like [`submit`](Call::submit), but does not wait when the pool has as many tasks as its `queue` allows.
    ///
    /// ```
    /// use parallel_runtime::{ThreadPool, TrySubmitError, parallel};
    ///
    /// #[parallel]
    /// fn nap(milliseconds: u64) {
    ///     std::thread::sleep(std::time::Duration::from_millis(milliseconds));
    /// }
    ///
    /// let pool = ThreadPool::new(1).queue(1);
    /// let task = nap::on(&pool).try_submit(100).unwrap();
    /// assert_eq!(nap::on(&pool).try_submit(7).unwrap_err(), TrySubmitError::Full(7));
    /// task.join().unwrap();
    /// pool.shutdown();
    /// assert_eq!(nap::on(&pool).try_submit(7).unwrap_err(), TrySubmitError::Closed(7));
    /// ```
    ///
    /// # Errors
    ///
    /// The item, if there is no room, or if the pool is shut down.
    pub fn try_submit<A>(&self, item: A) -> Result<Task<F::Output>, TrySubmitError<A>>
    where
        A: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        self.try_submit_by(item, IntoOwned::into_owned)
    }

    #[doc(hidden)]
    pub fn try_submit_owned(&self, item: F::Owned) -> Result<Task<F::Output>, TrySubmitError<F::Owned>> {
        self.try_submit_by(item, |item| item)
    }

    fn try_submit_by<A>(
        &self,
        item: A,
        into_owned: impl FnOnce(A) -> F::Owned,
    ) -> Result<Task<F::Output>, TrySubmitError<A>> {
        let route = self.route();
        let room = match route.try_enter() {
            Err(NoRoom::Full) => return Err(TrySubmitError::Full(item)),
            Err(NoRoom::Closed) => return Err(TrySubmitError::Closed(item)),
            Ok(room) => room,
        };
        let handle = route.submit_inside(Tables::<F>::owned(), ErasedValue::new(into_owned(item)), room);
        // SAFETY: the task gives an output of this function.
        Ok(unsafe { Task::new(handle) })
    }

    /// Starts running all items in the background and returns at once.
    pub fn map_async<I>(&self, items: I) -> MapTask<F::Output>
    where
        I: IntoIterator,
        I::Item: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        let mut items = ItemsOf::new(items.into_iter().map(IntoOwned::into_owned));
        let state = self.route().map_async(Tables::<F>::owned(), &mut items);
        // SAFETY: the map gives outputs of this function.
        unsafe { MapTask::new(state) }
    }

    /// [`map_async`](Call::map_async) by Python's name for functions of several parameters.
    pub fn starmap_async<I>(&self, items: I) -> MapTask<F::Output>
    where
        I: IntoIterator,
        I::Item: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        self.map_async(items)
    }

    /// Returns an iterator over each item's result or error, in the order of the items, as they come: Python's `Pool.imap`.
    ///
    /// It is lazy: items are taken a bounded way ahead of the results, so `items` may be infinite. Dropping the iterator cancels what has not started.
    ///
    /// ```
    /// use parallel_runtime::parallel;
    ///
    /// #[parallel(mode = "process", pool = 2)]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let large = square::imap(0..).map(Result::unwrap).find(|square| *square > 1000);
    /// assert_eq!(large, Some(1024));
    /// ```
    pub fn imap<I>(&self, items: I) -> Imap<F, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        Imap::new(self.route(), items.into_iter())
    }

    /// Like [`imap`](Call::imap), but each result comes as soon as it is there, with the number of its item: Python's `Pool.imap_unordered`.
    pub fn imap_unordered<I>(&self, items: I) -> ImapUnordered<F, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        ImapUnordered::new(self.route(), items.into_iter())
    }

    /// Like [`imap`](Call::imap), as a [`Stream`](futures_core::Stream) for any executor.
    pub fn stream<I>(&self, items: I) -> TaskStream<F, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        TaskStream::new(self.route(), items.into_iter())
    }

    /// Runs one item on a thread or in a process of its own, outside all pools.
    pub fn spawn<A>(&self, item: A) -> Spawned<F::Output>
    where
        A: IntoOwned<F::Parameters, Owned = F::Owned>,
    {
        self.spawn_owned(item.into_owned())
    }

    #[doc(hidden)]
    pub fn spawn_owned(&self, item: F::Owned) -> Spawned<F::Output> {
        let spawned = self.route().spawn(Tables::<F>::owned(), ErasedValue::new(item));
        // SAFETY: the task gives an output of this function.
        unsafe { Spawned::new(spawned) }
    }
}
