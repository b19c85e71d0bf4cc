//! `SharedList`.
//!
//! The root is a block that holds how many elements there are, and the offsets of their nodes. A push and a pop become true by the store
//! to that number, a replacement by the store to the element's place. An insertion or removal in the middle, and a growth, make
//! another block beside the old one, which becomes true by the store to the root.

use std::fmt;
use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::container::{Container, Open, handle};
use super::contents::{Node, Packed, Taken, announce, pack, pack_and_keep, retract, unpack};
use super::heap::{BLOCK_HEAD, damaged};
use super::words::set;
use crate::error::TaskError;
use crate::shared::handle_table::Origin;
use crate::shared::or_panic::or_panic;
use crate::shared::tables::Kind;

/// A list that every process sees and may change: Python's `multiprocessing.Manager().list()`, without a process that keeps it.
///
/// Elements are of any type that implements serde's `Serialize` and `Deserialize`; they are copied in and out. A clone is another
/// handle of the same list; it may be passed to tasks, inside any argument.
///
/// ```
/// use parallel_runtime::{SharedList, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn report(log: SharedList<String>, number: u32) {
///     log.push(format!("{number} is done"));
/// }
///
/// let log = SharedList::new();
/// report::map((0..3).map(|number| (log.clone(), number)));
/// assert_eq!(log.len(), 3);
/// assert!(log.to_vec().contains(&"2 is done".to_owned()));
/// ```
///
/// # What holds
///
/// As for [`SharedDict`](crate::SharedDict): each method is one step for all processes, which happens or does not if a process dies in it;
/// elements may hold handles.
///
/// # Panics
///
/// All methods that write panic if shared memory is short, with the text of [`TaskError::OutOfSharedMemory`], and if an element does not
/// serialise.
#[doc(alias("Manager", "list", "ShareableList"))]
pub struct SharedList<T> {
    container: Container,
    _contents: PhantomData<fn(T) -> T>,
}

handle!(SharedList<T>, List);

/// Places of the first block.
const FIRST: u64 = 14;

#[derive(Clone, Copy)]
struct Places {
    block: u64,
    room: u64,
}

impl Places {
    fn of(open: &Open<'_>) -> Option<Self> {
        let block = open.head.root.load(Ordering::Acquire);
        (block != 0).then(|| Self { block, room: open.heap.room(block) / 8 - 1 })
    }

    fn new(open: &Open<'_>, room: u64) -> Result<Self, TaskError> {
        let block = open.heap.allocate(8 + room * 8)?;
        open.heap.store(block + BLOCK_HEAD, 0);
        Ok(Self { block, room: open.heap.room(block) / 8 - 1 })
    }

    fn len(self, open: &Open<'_>) -> u64 {
        let len = open.heap.load(self.block + BLOCK_HEAD);
        if len > self.room {
            damaged();
        }
        len
    }

    fn set_len(self, open: &Open<'_>, len: u64) {
        open.heap.store(self.block + BLOCK_HEAD, len);
    }

    fn at(self, index: u64) -> u64 {
        self.block + BLOCK_HEAD + 8 + index * 8
    }

    fn node(self, open: &Open<'_>, index: u64) -> Node {
        Node(open.heap.load(self.at(index)))
    }

    fn nodes(self, open: &Open<'_>) -> impl Iterator<Item = Node> {
        (0..self.len(open)).map(move |index| self.node(open, index))
    }

    /// Takes the place of the root, and of what was there.
    fn replace(self, open: &Open<'_>, old: Option<Self>) {
        set(&open.head.root, self.block);
        if let Some(old) = old {
            open.heap.free(old.block);
        }
    }
}

/// All nodes.
pub(super) fn nodes(open: &Open<'_>) -> Vec<Node> {
    Places::of(open).into_iter().flat_map(|places| places.nodes(open)).collect()
}

pub(super) fn mend(open: &Open<'_>) {
    let places = Places::of(open).map(|places| places.block);
    open.heap.rebuild(places.into_iter().chain(nodes(open).iter().map(|node| node.0)).collect());
}

fn len(open: &Open<'_>) -> u64 {
    Places::of(open).map_or(0, |places| places.len(open))
}

/// Puts an element before another, or at the end.
fn put(open: &Open<'_>, index: u64, value: &Packed) -> Result<(), TaskError> {
    let node = Node::new(open.heap, 0, &Packed::default(), value)?;
    let old = Places::of(open);
    let len = len(open);
    if let Some(places) = old.filter(|places| index == len && len < places.room) {
        open.heap.store(places.at(len), node.0);
        places.set_len(open, len + 1);
        return Ok(());
    }
    let places = Places::new(open, if len < FIRST { FIRST } else { len + len / 2 });
    let places = places.inspect_err(|_| open.heap.free(node.0))?;
    for (to, from) in (0..=len).map(|to| (to, if to < index { Some(to) } else { to.checked_sub(1) })) {
        let moved = if to == index { node } else { old.zip(from).map_or(node, |(old, from)| old.node(open, from)) };
        open.heap.store(places.at(to), moved.0);
    }
    places.set_len(open, len + 1);
    places.replace(open, old);
    Ok(())
}

impl<T> SharedList<T> {
    /// An empty list.
    ///
    /// # Panics
    ///
    /// If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn new() -> Self {
        or_panic(Self::try_new())
    }

    /// [`new`](SharedList::new), with an error if shared memory is short.
    pub fn try_new() -> Result<Self, TaskError> {
        Ok(Self { container: Container::new(Kind::List)?, _contents: PhantomData })
    }

    /// Returns the number of elements.
    #[track_caller]
    pub fn len(&self) -> usize {
        len(&self.open()) as usize
    }

    /// Returns whether there are none.
    #[track_caller]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all elements.
    #[track_caller]
    pub fn clear(&self) {
        let open = self.open();
        let Some(places) = Places::of(&open) else { return };
        let nodes: Vec<Node> = places.nodes(&open).collect();
        let taken: Vec<Taken> = nodes.iter().map(|node| node.value(open.heap)).collect();
        places.set_len(&open, 0);
        // Its memory is in few pieces again.
        mend(&open);
        drop(open);
        taken.iter().for_each(|taken| retract(&self.container.handle, &taken.handles));
    }

    #[inline]
    #[track_caller]
    fn open(&self) -> Open<'_> {
        self.container.open(mend)
    }
}

/// # Panics
///
/// Always.
#[cold]
#[track_caller]
fn out_of_range(index: usize, len: u64) -> ! {
    panic!("index out of range: the length is {len} and the index is {index}")
}

impl<T: Serialize + DeserializeOwned> SharedList<T> {
    /// Adds an element at the end.
    #[track_caller]
    pub fn push(&self, value: T) {
        let value = pack(value);
        announce(&self.container.handle, &[&value]);
        let open = self.open();
        let put = put(&open, len(&open), &value);
        drop(open);
        self.check(put, &value);
    }

    /// Puts an element before the one at `index`, or at the end.
    ///
    /// # Panics
    ///
    /// If `index` is beyond the end.
    #[track_caller]
    pub fn insert(&self, index: usize, value: T) {
        let value = pack(value);
        announce(&self.container.handle, &[&value]);
        let open = self.open();
        let len = len(&open);
        let put = if index as u64 <= len { Some(put(&open, index as u64, &value)) } else { None };
        drop(open);
        match put {
            Some(put) => self.check(put, &value),
            None => {
                retract(&self.container.handle, value.handles());
                out_of_range(index, len);
            }
        }
    }

    #[track_caller]
    fn check(&self, put: Result<(), TaskError>, value: &Packed) {
        if put.is_err() {
            retract(&self.container.handle, value.handles());
        }
        or_panic(put);
    }

    /// Removes the last element, if there is one.
    #[track_caller]
    pub fn pop(&self) -> Option<T> {
        let open = self.open();
        let places = Places::of(&open)?;
        let last = places.len(&open).checked_sub(1)?;
        let node = places.node(&open, last);
        let taken = node.value(open.heap);
        places.set_len(&open, last);
        open.heap.free(node.0);
        drop(open);
        Some(self.taken(&taken))
    }

    /// Removes the element at `index`; those behind it move up.
    ///
    /// # Panics
    ///
    /// If `index` is out of range.
    #[track_caller]
    pub fn remove(&self, index: usize) -> T {
        let open = self.open();
        let (old, len) = (Places::of(&open), len(&open));
        let Some(old) = old.filter(|_| (index as u64) < len) else {
            drop(open);
            out_of_range(index, len)
        };
        let node = old.node(&open, index as u64);
        let taken = node.value(open.heap);
        let places = or_panic(Places::new(&open, (len - 1).max(FIRST)));
        for (to, from) in (0..len).filter(|from| *from != index as u64).enumerate() {
            open.heap.store(places.at(to as u64), old.node(&open, from).0);
        }
        places.set_len(&open, len - 1);
        places.replace(&open, Some(old));
        open.heap.free(node.0);
        drop(open);
        self.taken(&taken)
    }

    /// A copy of the element at `index`, if there is one.
    #[track_caller]
    pub fn get(&self, index: usize) -> Option<T> {
        let open = self.open();
        let places = Places::of(&open).filter(|places| (index as u64) < places.len(&open))?;
        let copy = places.node(&open, index as u64).value(open.heap);
        drop(open);
        Some(unpack(&copy.bytes, Origin::Copied))
    }

    /// Sets the element at `index`. Gives the one from before.
    ///
    /// # Panics
    ///
    /// If `index` is out of range.
    #[track_caller]
    pub fn set(&self, index: usize, value: T) -> T {
        let value = pack(value);
        announce(&self.container.handle, &[&value]);
        let open = self.open();
        let len = len(&open);
        let result = Places::of(&open)
            .filter(|_| (index as u64) < len)
            .map(|places| replace(&open, places, index as u64, &value));
        drop(open);
        match result {
            Some(Ok(taken)) => self.taken(&taken),
            failed => {
                retract(&self.container.handle, value.handles());
                match failed {
                    Some(Err(error)) => or_panic(Err(error)),
                    _ => out_of_range(index, len),
                }
            }
        }
    }

    /// Changes the element at `index` in one step: nothing else reads or writes the list meanwhile. Returns what `change` returns.
    ///
    /// # Panics
    ///
    /// If `index` is out of range. If `change` panics: the element stays what it was. If `change` uses this same list.
    #[track_caller]
    pub fn update<R>(&self, index: usize, change: impl FnOnce(&mut T) -> R) -> R {
        let open = self.container.open_for_user(None, mend).expect("there is no deadline");
        let len = len(&open);
        let Some(places) = Places::of(&open).filter(|_| (index as u64) < len) else {
            drop(open);
            out_of_range(index, len)
        };
        let mut value: T = unpack(&places.node(&open, index as u64).value(open.heap).bytes, Origin::Copied);
        let result = change(&mut value);
        // What is left of it ends after the lock.
        let (value, _kept) = pack_and_keep(value);
        announce(&self.container.handle, &[&value]);
        let replaced = replace(&open, places, index as u64, &value);
        drop(open);
        match replaced {
            Ok(taken) => retract(&self.container.handle, &taken.handles),
            Err(error) => self.check(Err(error), &value),
        }
        result
    }

    /// Copies of all elements, of one moment.
    #[track_caller]
    pub fn to_vec(&self) -> Vec<T> {
        let open = self.open();
        let nodes = Places::of(&open).into_iter().flat_map(|places| places.nodes(&open));
        let copies: Vec<Taken> = nodes.map(|node| node.value(open.heap)).collect();
        drop(open);
        copies.iter().map(|copy| unpack(&copy.bytes, Origin::Copied)).collect()
    }

    /// Decodes what was taken out.
    #[track_caller]
    fn taken(&self, taken: &Taken) -> T {
        // `taken` keeps the objects until they are decoded.
        retract(&self.container.handle, &taken.handles);
        unpack(&taken.bytes, Origin::Taken)
    }
}

fn replace(open: &Open<'_>, places: Places, index: u64, value: &Packed) -> Result<Taken, TaskError> {
    let new = Node::new(open.heap, 0, &Packed::default(), value)?;
    let old = places.node(open, index);
    let taken = old.value(open.heap);
    open.heap.store(places.at(index), new.0);
    open.heap.free(old.0);
    Ok(taken)
}

impl<T> Default for SharedList<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Serialize + DeserializeOwned> Extend<T> for SharedList<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, elements: I) {
        elements.into_iter().for_each(|element| self.push(element));
    }
}

impl<T: Serialize + DeserializeOwned, const N: usize> From<[T; N]> for SharedList<T> {
    fn from(elements: [T; N]) -> Self {
        elements.into_iter().collect()
    }
}

impl<T: Serialize + DeserializeOwned> From<Vec<T>> for SharedList<T> {
    fn from(elements: Vec<T>) -> Self {
        elements.into_iter().collect()
    }
}

impl<T: Serialize + DeserializeOwned> FromIterator<T> for SharedList<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut list = Self::new();
        list.extend(elements);
        list
    }
}

impl<T: Serialize + DeserializeOwned + fmt::Debug> fmt::Debug for SharedList<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.to_vec()).finish()
    }
}

#[cfg(test)]
impl<T> SharedList<T> {
    pub(super) fn container_for_tests(&self) -> &Container {
        &self.container
    }
}
