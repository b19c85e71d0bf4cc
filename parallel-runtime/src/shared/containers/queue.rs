//! `SharedQueue`.
//!
//! The root is a block of places, a ring. Numbers say how many elements have ever been pushed and popped; the element of number `n` is
//! at place `n` modulo the places. A push becomes true by the store to the first number, a pop by the store to the second.
//!
//! A queue without a bound has as many places as its block has room for. When they are full it goes on in a block twice as large, to which the
//! elements' places are copied; it has moved when the root is stored, by one store. A process that dies before that leaves a block that nothing
//! refers to.
//!
//! A waiting thread sleeps on a word that each push, or each pop, changes; its lowest bit says that a thread sleeps. It is changed under the lock,
//! and a process that dies before it has woken the sleepers delays them by [`LOOK`](crate::shared::lock::LOOK), after which they look
//! for themselves.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::container::{Container, Open, handle};
use super::contents::{Node, Packed, announce, pack_and_keep, retract, unpack};
use super::heap::{BLOCK_HEAD, damaged};
use super::words::set;
use crate::error::TaskError;
use crate::shared::handle_table::Origin;
use crate::shared::lock::{back_off, sleep};
use crate::shared::or_panic::or_panic;
use crate::shared::tables::Kind;
use crate::sys::futex;

/// A queue that every process may push to and pop from: Python's `multiprocessing.Queue`.
///
/// Any number of processes and threads push, any number pops; each element comes out once, in the order in which they went in.
/// Elements are of any type that implements serde's `Serialize` and `Deserialize`. A clone is another handle of the same queue; it
/// may be passed to tasks, inside any argument.
///
/// ```
/// use parallel_runtime::{SharedQueue, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn squares(numbers: SharedQueue<u64>, results: SharedQueue<u64>) {
///     while let Ok(number) = numbers.pop() {
///         results.push(number * number).unwrap();
///     }
/// }
///
/// let (numbers, results) = (SharedQueue::bounded(10), SharedQueue::bounded(100));
/// let workers = squares::map_async((0..2).map(|_| (numbers.clone(), results.clone())));
/// for number in 1..=50 {
///     numbers.push(number).unwrap();
/// }
/// numbers.close(); // what is in it still comes out
/// workers.join().unwrap();
/// results.close();
/// assert_eq!(std::iter::from_fn(|| results.pop().ok()).sum::<u64>(), 42_925);
/// ```
///
/// # What holds
///
/// * Each of the methods is one step for all processes. If a process dies in any of them, it has happened or it has not. An
///   element that was popped by a process which then died is gone with it.
/// * Elements may hold handles, a `SharedVec` too: so large data moves from worker to worker without being copied.
///
/// # Panics
///
/// Pushing panics if shared memory is short, with the text of [`TaskError::OutOfSharedMemory`], and if the element does not serialise.
#[doc(alias("Queue", "JoinableQueue", "SimpleQueue"))]
pub struct SharedQueue<T> {
    container: Container,
    _contents: PhantomData<fn(T) -> T>,
}

handle!(SharedQueue<T>, Queue);

/// The queue was closed. For a push, the element comes back.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is closed")]
pub struct Closed<T = ()>(pub T);

impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed")
    }
}

/// Why an element was not pushed; it comes back.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TryPushError<T> {
    /// The queue is full.
    #[error("the queue is full")]
    Full(T),
    /// The queue was closed.
    #[error("the queue is closed")]
    Closed(T),
}

impl<T> fmt::Debug for TryPushError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Full(_)) { "Full" } else { "Closed" })
    }
}

const PUSHED: usize = 0;
const POPPED: usize = 1;
const CLOSED: usize = 2;
/// What sleepers on a push, and on a pop, sleep on.
const PUSHES: usize = 3;
const POPS: usize = 4;
/// How many elements it holds at most.
const BOUND: usize = 5;

/// Of a queue that has no bound.
const UNBOUNDED: u64 = u64::MAX;

/// The places that it begins with.
const FIRST_PLACES: u64 = 16;

/// A thread sleeps on the word.
const SLEEPER: u64 = 1;

fn number<'o>(open: &'o Open<'_>, which: usize) -> &'o AtomicU64 {
    &open.head.numbers[which]
}

fn load(open: &Open<'_>, which: usize) -> u64 {
    number(open, which).load(Ordering::Relaxed)
}

/// How many places a block has.
fn places(open: &Open<'_>, root: u64) -> u64 {
    let (bound, most) = (load(open, BOUND), open.heap.room(root) / 8);
    let places = if bound == UNBOUNDED { most } else { bound };
    if places == 0 || places > most {
        damaged();
    }
    places
}

/// The place of an element in a block.
fn place(open: &Open<'_>, root: u64, element: u64) -> u64 {
    root + BLOCK_HEAD + element % places(open, root) * 8
}

/// The element of a number.
fn at(open: &Open<'_>, element: u64) -> u64 {
    place(open, open.head.root.load(Ordering::Acquire), element)
}

/// Goes on with twice as many places.
fn grow(open: &Open<'_>) -> Result<(), TaskError> {
    let before = open.head.root.load(Ordering::Acquire);
    let root = open.heap.allocate(2 * places(open, before) * 8)?;
    let first = load(open, POPPED);
    for element in (0..len(open)).map(|step| first.wrapping_add(step)) {
        open.heap.store(place(open, root, element), open.heap.load(place(open, before, element)));
    }
    set(&open.head.root, root);
    open.heap.free(before);
    Ok(())
}

fn len(open: &Open<'_>) -> u64 {
    let len = load(open, PUSHED).wrapping_sub(load(open, POPPED));
    if len > places(open, open.head.root.load(Ordering::Acquire)) {
        damaged();
    }
    len
}

/// All nodes.
pub(super) fn nodes(open: &Open<'_>) -> Vec<Node> {
    let first = load(open, POPPED);
    (0..len(open)).map(|step| Node(open.heap.load(at(open, first.wrapping_add(step))))).collect()
}

pub(super) fn mend(open: &Open<'_>) {
    let root = open.head.root.load(Ordering::Acquire);
    open.heap.rebuild(std::iter::once(root).chain(nodes(open).iter().map(|node| node.0)).collect());
}

/// Changes a word that others may sleep on. True if one does.
fn note(open: &Open<'_>, which: usize) -> bool {
    let word = load(open, which);
    set(number(open, which), (word & !SLEEPER).wrapping_add(2));
    word & SLEEPER != 0
}

/// What there is to wait for.
#[derive(Clone, Copy)]
enum Wait {
    Element,
    Room,
}

impl<T> SharedQueue<T> {
    /// An empty queue that holds `bound` elements at most.
    ///
    /// # Panics
    ///
    /// If `bound` is 0. If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn bounded(bound: usize) -> Self {
        or_panic(Self::try_bounded(bound))
    }

    /// [`bounded`](SharedQueue::bounded), with an error if shared memory is short.
    ///
    /// # Panics
    ///
    /// If `bound` is 0.
    #[track_caller]
    pub fn try_bounded(bound: usize) -> Result<Self, TaskError> {
        assert!(bound > 0, "a queue holds one element at least");
        Self::make(bound as u64, bound as u64)
    }

    /// An empty queue that grows with what is pushed: a push never waits. What is produced faster than it is consumed takes ever more shared memory;
    /// a [`bounded`](SharedQueue::bounded) queue makes the producer wait.
    ///
    /// ```
    /// use parallel_runtime::SharedQueue;
    ///
    /// let queue = SharedQueue::unbounded();
    /// (0..1000).for_each(|number| queue.push(number).unwrap());
    /// assert_eq!((queue.len(), queue.pop()), (1000, Ok(0)));
    /// ```
    ///
    /// # Panics
    ///
    /// If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn unbounded() -> Self {
        or_panic(Self::try_unbounded())
    }

    /// [`unbounded`](SharedQueue::unbounded), with an error if shared memory is short.
    pub fn try_unbounded() -> Result<Self, TaskError> {
        Self::make(UNBOUNDED, FIRST_PLACES)
    }

    fn make(bound: u64, places: u64) -> Result<Self, TaskError> {
        let container = Container::new(Kind::Queue)?;
        {
            let open = container.open(|_| ());
            let bytes = places.checked_mul(8);
            let bytes = bytes.ok_or(TaskError::OutOfSharedMemory { requested: u64::MAX, available: 0 })?;
            let root = open.heap.allocate(bytes)?;
            set(&open.head.root, root);
            set(number(&open, BOUND), bound);
        }
        Ok(Self { container, _contents: PhantomData })
    }

    #[inline]
    #[track_caller]
    fn open(&self) -> Open<'_> {
        self.container.open(mend)
    }

    /// How many elements are in it.
    #[track_caller]
    pub fn len(&self) -> usize {
        len(&self.open()) as usize
    }

    /// Whether it is empty.
    #[track_caller]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many elements it can hold; `usize::MAX` if it has no bound.
    #[track_caller]
    pub fn capacity(&self) -> usize {
        usize::try_from(load(&self.open(), BOUND)).unwrap_or(usize::MAX)
    }

    /// Closes it: nothing more goes in, and what is in it still comes out. The process that waits is told.
    #[track_caller]
    pub fn close(&self) {
        let open = self.open();
        set(number(&open, CLOSED), 1);
        note(&open, PUSHES);
        note(&open, POPS);
        drop(open);
        self.wake(PUSHES);
        self.wake(POPS);
    }

    /// Whether it was closed.
    #[track_caller]
    pub fn is_closed(&self) -> bool {
        load(&self.open(), CLOSED) != 0
    }

    #[track_caller]
    fn wake(&self, which: usize) {
        futex::wake_all(futex::low_half(&self.container.head().numbers[which]));
    }

    /// Whether there is nothing to wait for: a hint, without the lock.
    #[track_caller]
    fn is_over(&self, wait: Wait) -> bool {
        let number = |which: usize| self.container.head().numbers[which].load(Ordering::Relaxed);
        let len = number(PUSHED).wrapping_sub(number(POPPED));
        number(CLOSED) != 0
            || match wait {
                Wait::Element => len != 0,
                Wait::Room => len < number(BOUND),
            }
    }

    /// Waits for an element or for room. False if `deadline` has passed.
    #[cold]
    #[track_caller]
    fn wait(&self, wait: Wait, deadline: Option<Instant>) -> bool {
        if back_off(|| self.is_over(wait)) {
            return true;
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return false;
        }
        let which = if matches!(wait, Wait::Element) { PUSHES } else { POPS };
        let open = self.open();
        if self.is_over(wait) {
            return true;
        }
        let seen = load(&open, which) | SLEEPER;
        set(number(&open, which), seen);
        drop(open);
        sleep(futex::low_half(&self.container.head().numbers[which]), seen as u32, deadline);
        true
    }
}

enum Pushed {
    Done,
    Full,
    Closed,
}

impl<T: Serialize + DeserializeOwned> SharedQueue<T> {
    #[track_caller]
    fn push_packed(&self, value: &Packed) -> Result<Pushed, TaskError> {
        let open = self.open();
        if load(&open, CLOSED) != 0 {
            return Ok(Pushed::Closed);
        }
        if len(&open) == load(&open, BOUND) {
            return Ok(Pushed::Full);
        }
        if len(&open) == places(&open, open.head.root.load(Ordering::Acquire)) {
            grow(&open)?;
        }
        let node = Node::new(open.heap, 0, &Packed::default(), value)?;
        let pushed = load(&open, PUSHED);
        open.heap.store(at(&open, pushed), node.0);
        set(number(&open, PUSHED), pushed.wrapping_add(1));
        let wake = note(&open, PUSHES);
        drop(open);
        if wake {
            self.wake(PUSHES);
        }
        Ok(Pushed::Done)
    }

    #[track_caller]
    fn push_until(&self, value: T, wait: impl Fn() -> bool) -> Result<(), TryPushError<T>> {
        let (packed, value) = pack_and_keep(value);
        announce(&self.container.handle, &[&packed]);
        loop {
            let failed = match self.push_packed(&packed) {
                Ok(Pushed::Done) => return Ok(()),
                Ok(Pushed::Full) if wait() => continue,
                Ok(Pushed::Full) => Ok(TryPushError::Full as fn(T) -> TryPushError<T>),
                Ok(Pushed::Closed) => Ok(TryPushError::Closed as fn(T) -> TryPushError<T>),
                Err(error) => Err(error),
            };
            retract(&self.container.handle, packed.handles());
            let failed = or_panic(failed);
            return Err(failed(value.unwrap_or_else(|| packed.unpack())));
        }
    }

    /// Adds an element; waits while the queue is full.
    ///
    /// # Errors
    ///
    /// [`Closed`], with the element, if the queue was closed.
    #[track_caller]
    pub fn push(&self, value: T) -> Result<(), Closed<T>> {
        self.push_until(value, || self.wait(Wait::Room, None)).map_err(|error| match error {
            TryPushError::Full(value) | TryPushError::Closed(value) => Closed(value),
        })
    }

    /// Adds an element if there is room.
    ///
    /// # Errors
    ///
    /// The element, if the queue is full or was closed.
    #[track_caller]
    pub fn try_push(&self, value: T) -> Result<(), TryPushError<T>> {
        self.push_until(value, || false)
    }

    /// Adds an element; waits while the queue is full, but not longer than `limit`.
    ///
    /// # Errors
    ///
    /// The element, if the queue is still full then, or was closed.
    #[track_caller]
    pub fn push_timeout(&self, value: T, limit: Duration) -> Result<(), TryPushError<T>> {
        let deadline = Instant::now().checked_add(limit);
        self.push_until(value, || self.wait(Wait::Room, deadline))
    }

    /// Takes the oldest element; waits while the queue is empty.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the queue is empty and was closed.
    #[track_caller]
    pub fn pop(&self) -> Result<T, Closed> {
        loop {
            if let Some(value) = self.try_pop()? {
                return Ok(value);
            }
            self.wait(Wait::Element, None);
        }
    }

    /// Takes the oldest element; `None` if the queue is empty.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the queue is empty and was closed.
    #[track_caller]
    pub fn try_pop(&self) -> Result<Option<T>, Closed> {
        let open = self.open();
        if len(&open) == 0 {
            return if load(&open, CLOSED) != 0 { Err(Closed(())) } else { Ok(None) };
        }
        let popped = load(&open, POPPED);
        let node = Node(open.heap.load(at(&open, popped)));
        let taken = node.value(open.heap);
        set(number(&open, POPPED), popped.wrapping_add(1));
        open.heap.free(node.0);
        let wake = note(&open, POPS);
        drop(open);
        if wake {
            self.wake(POPS);
        }
        // `taken` keeps the objects until they are decoded.
        retract(&self.container.handle, &taken.handles);
        Ok(Some(unpack(&taken.bytes, Origin::Taken)))
    }

    /// Takes the oldest element; waits while the queue is empty, but not longer than `limit`. `None` if it is still empty then.
    ///
    /// # Errors
    ///
    /// [`Closed`] if the queue is empty and was closed.
    #[track_caller]
    pub fn pop_timeout(&self, limit: Duration) -> Result<Option<T>, Closed> {
        let deadline = Instant::now().checked_add(limit);
        loop {
            if let Some(value) = self.try_pop()? {
                return Ok(Some(value));
            }
            if !self.wait(Wait::Element, deadline) {
                return Ok(None);
            }
        }
    }
}

impl<T: Serialize + DeserializeOwned> SharedQueue<T> {
    /// Gives elements as they come: waits while the queue is empty, and ends when it is closed and empty.
    ///
    /// ```
    /// use parallel_runtime::{SharedQueue, parallel};
    ///
    /// #[parallel(mode = "process")]
    /// fn produce(queue: SharedQueue<u32>) {
    ///     (0..5).for_each(|number| queue.push(number).unwrap());
    ///     queue.close();
    /// }
    ///
    /// let queue = SharedQueue::bounded(2);
    /// let producer = produce::submit(queue.clone());
    /// assert_eq!(queue.iter().sum::<u32>(), 10);
    /// producer.join().unwrap();
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.pop().ok())
    }

    /// Takes what is there, and does not wait for more.
    ///
    /// ```
    /// use parallel_runtime::SharedQueue;
    ///
    /// let queue = SharedQueue::unbounded();
    /// (1..=3).for_each(|number| queue.push(number).unwrap());
    /// assert_eq!(queue.drain().collect::<Vec<_>>(), [1, 2, 3]);
    /// assert!(queue.is_empty());
    /// ```
    pub fn drain(&self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.try_pop().ok().flatten())
    }
}

impl<T> fmt::Debug for SharedQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (len, closed) = (self.len(), self.is_closed());
        f.debug_struct("SharedQueue").field("len", &len).field("closed", &closed).finish_non_exhaustive()
    }
}

#[cfg(test)]
impl<T> SharedQueue<T> {
    pub(super) fn container_for_tests(&self) -> &Container {
        &self.container
    }
}
