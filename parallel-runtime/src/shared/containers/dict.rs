//! `SharedDict`: see [`table`](super::table) for what is in its memory.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::container::{Container, Open, handle};
use super::contents::{Node, Packed, Taken, announce, pack, pack_and_keep, pack_key, pack_lookup, retract, unpack};
use super::table::{LEN, Place, SEED, Table, find, mend, number, put, take_out};
use super::words::set;
use crate::error::TaskError;
use crate::shared::handle_table::Origin;
use crate::shared::or_panic::or_panic;
use crate::shared::tables::Kind;

/// A dictionary that every process sees and may change: Python's `multiprocessing.Manager().dict()`, without a process that keeps it.
///
/// Keys and values are any types that implement serde's `Serialize` and `Deserialize`; they are copied in and out. A clone is
/// another handle of the same dictionary; it may be passed to tasks, inside any argument.
///
/// ```
/// use parallel_runtime::{SharedDict, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn measure(lengths: SharedDict<String, usize>, word: String) {
///     let length = word.len();
///     lengths.insert(word, length);
/// }
///
/// let lengths = SharedDict::new();
/// measure::map(["ant", "giraffe"].map(|word| (lengths.clone(), word.to_owned())));
/// assert_eq!(lengths.get("giraffe"), Some(7));
/// assert_eq!(lengths.len(), 2);
/// ```
///
/// # What holds
///
/// * Each of the methods is one step for all processes. If a process dies in any of them, it has happened or it has not, and the
///   dictionary can be used at once.
/// * Two keys are the same if serde writes them the same way: as with `HashMap` for all ordinary keys, but not for one that has a
///   `HashMap` inside, whose order varies.
/// * Values may hold handles: a `SharedSlice`, another `SharedDict`. They keep what they stand for as long as they are in here. A
///   `SharedVec`, which has one owner, can be put in and [taken out](SharedDict::remove), but not read.
/// * Memory of what is removed is used again here, and given back when the last handle is dropped.
///
/// # Panics
///
/// All methods that write panic if shared memory is short, with the text of [`TaskError::OutOfSharedMemory`], and if a key or value does not
/// serialise.
#[doc(alias("Manager", "dict"))]
pub struct SharedDict<K, V> {
    container: Container,
    #[expect(clippy::type_complexity, reason = "keys and values go in and come out")]
    _contents: PhantomData<fn(K, V) -> (K, V)>,
}

handle!(SharedDict<K, V>, Dict);

impl<K, V> SharedDict<K, V> {
    /// An empty dictionary.
    ///
    /// # Panics
    ///
    /// If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn new() -> Self {
        or_panic(Self::try_new())
    }

    /// [`new`](SharedDict::new), with an error if shared memory is short.
    pub fn try_new() -> Result<Self, TaskError> {
        let container = Container::new(Kind::Dict)?;
        // Keys from outside must not be able to share one place.
        let seed = RandomState::new().hash_one(std::process::id());
        container.head().numbers[SEED].store(seed, Ordering::Relaxed);
        Ok(Self { container, _contents: PhantomData })
    }

    /// Returns the number of elements.
    #[track_caller]
    pub fn len(&self) -> usize {
        number(&self.open(), LEN) as usize
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
        let Some(table) = Table::of(&open) else { return };
        let nodes: Vec<Node> = table.nodes(&open).collect();
        let taken: Vec<Taken> = nodes.iter().map(|node| node.value(open.heap)).collect();
        set(&open.head.root, 0);
        // Its memory is one piece again.
        mend(&open);
        drop(open);
        taken.iter().for_each(|taken| retract(&self.container.handle, &taken.handles));
    }

    #[inline]
    #[track_caller]
    fn open(&self) -> Open<'_> {
        self.container.open(mend)
    }

    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.container.head().numbers[SEED].load(Ordering::Relaxed).hash(&mut hasher);
        hasher.write(key);
        hasher.finish()
    }

    /// Copies of what the nodes hold, of one moment.
    #[track_caller]
    fn copies(&self, copy: fn(Node, super::heap::Heap<'_>) -> Taken) -> Vec<Taken> {
        let open = self.open();
        let nodes = Table::of(&open).into_iter().flat_map(|table| table.nodes(&open));
        nodes.map(|node| copy(node, open.heap)).collect()
    }
}

impl<K: Serialize, V: Serialize + DeserializeOwned> SharedDict<K, V> {
    /// Sets the value of a key. Gives the one that it had.
    #[track_caller]
    pub fn insert(&self, key: K, value: V) -> Option<V> {
        let (key, value) = (pack_key(key), pack(value));
        let hash = self.hash(key.as_slice());
        announce(&self.container.handle, &[&key, &value]);
        let put = put(&self.open(), hash, &key, &value);
        if put.is_err() {
            retract(&self.container.handle, key.handles());
            retract(&self.container.handle, value.handles());
        }
        or_panic(put).map(|taken| self.taken(&taken))
    }

    /// A copy of the value of a key.
    ///
    /// A key is found by what it serialises to: so `Q` must serialise as `K` does, as `str` does for `String`. A slice does not for
    /// an array, which has no length in front.
    #[track_caller]
    pub fn get<Q: Serialize + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let key = pack_lookup(key);
        let hash = self.hash(key.as_slice());
        let open = self.open();
        let Place::Of(_, node) = find(&open, hash, key.as_slice()) else { return None };
        let copy = node.value(open.heap);
        drop(open);
        Some(unpack(&copy.bytes, Origin::Copied))
    }

    /// Whether there is a value for a key.
    #[track_caller]
    pub fn contains_key<Q: Serialize + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        let key = pack_lookup(key);
        let hash = self.hash(key.as_slice());
        matches!(find(&self.open(), hash, key.as_slice()), Place::Of(..))
    }

    /// Removes a key. Gives the value that it had.
    #[track_caller]
    pub fn remove<Q: Serialize + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let key = pack_lookup(key);
        let hash = self.hash(key.as_slice());
        let open = self.open();
        let Place::Of(at, node) = find(&open, hash, key.as_slice()) else { return None };
        let taken = take_out(&open, at, node);
        drop(open);
        Some(self.taken(&taken))
    }

    /// Changes the value of a key in one step: nothing else reads or writes the dictionary meanwhile. Gives what `change` gives, and
    /// `None` if there is no such key.
    ///
    /// # Panics
    ///
    /// If `change` does: the value stays what it was. If `change` uses this same dictionary.
    #[track_caller]
    pub fn update<Q, R>(&self, key: &Q, change: impl FnOnce(&mut V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let packed = pack_lookup(key);
        self.change(packed, |value| value.map(|mut value| (change(&mut value), value)))
    }

    /// Changes the value of a key in one step, after setting it to `default` if there is none. Returns what `change` returns.
    ///
    /// ```
    /// use parallel_runtime::SharedDict;
    ///
    /// let words = SharedDict::new();
    /// for word in ["a", "b", "a"] {
    ///     words.update_or_insert(word.to_owned(), 0, |times| *times += 1);
    /// }
    /// assert_eq!(words.get("a"), Some(2));
    /// ```
    ///
    /// # Panics
    ///
    /// If `change` does: the dictionary stays what it was. If `change` uses this same dictionary.
    #[track_caller]
    pub fn update_or_insert<R>(&self, key: K, default: V, change: impl FnOnce(&mut V) -> R) -> R {
        let changed = self.change(pack_key(key), |value| {
            let mut value = value.unwrap_or(default);
            Some((change(&mut value), value))
        });
        changed.expect("there is a value to change")
    }

    #[track_caller]
    fn change<R>(&self, key: Packed, change: impl FnOnce(Option<V>) -> Option<(R, V)>) -> Option<R> {
        let hash = self.hash(key.as_slice());
        let open = self.container.open_for_user(None, mend).expect("there is no deadline");
        let before = match find(&open, hash, key.as_slice()) {
            Place::Of(_, node) => Some(unpack(&node.value(open.heap).bytes, Origin::Copied)),
            _ => None,
        };
        let (result, value) = change(before)?;
        // What is left of it ends after the lock.
        let (value, _kept) = pack_and_keep(value);
        announce(&self.container.handle, &[&key, &value]);
        let put = put(&open, hash, &key, &value);
        drop(open);
        let old = match &put {
            Ok(taken) => taken.iter().flat_map(|taken| taken.handles.clone()).collect(),
            Err(_) => [key.handles(), value.handles()].concat(),
        };
        retract(&self.container.handle, &old);
        or_panic(put.map(drop));
        Some(result)
    }

    /// Decodes what was taken out.
    #[track_caller]
    fn taken(&self, taken: &Taken) -> V {
        // `taken` keeps the objects until they are decoded.
        retract(&self.container.handle, &taken.handles);
        unpack(&taken.bytes, Origin::Taken)
    }

    /// Copies of all values, of one moment, in no particular order.
    #[track_caller]
    pub fn values(&self) -> Vec<V> {
        self.copies(Node::value).iter().map(|copy| unpack(&copy.bytes, Origin::Copied)).collect()
    }
}

impl<K: DeserializeOwned, V> SharedDict<K, V> {
    /// Copies of all keys, of one moment, in no particular order.
    #[track_caller]
    pub fn keys(&self) -> Vec<K> {
        self.copies(Node::key).iter().map(|copy| unpack(&copy.bytes, Origin::Copied)).collect()
    }
}

impl<K: DeserializeOwned + Eq + Hash, V: DeserializeOwned> SharedDict<K, V> {
    /// A copy of the whole dictionary, of one moment.
    #[track_caller]
    pub fn to_map(&self) -> HashMap<K, V> {
        let open = self.open();
        let nodes = Table::of(&open).into_iter().flat_map(|table| table.nodes(&open));
        let copies: Vec<(Taken, Taken)> = nodes.map(|node| (node.key(open.heap), node.value(open.heap))).collect();
        drop(open);
        let decoded = copies
            .iter()
            .map(|(key, value)| (unpack(&key.bytes, Origin::Copied), unpack(&value.bytes, Origin::Copied)));
        decoded.collect()
    }
}

impl<K, V> Default for SharedDict<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Serialize, V: Serialize + DeserializeOwned> Extend<(K, V)> for SharedDict<K, V> {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, elements: I) {
        for (key, value) in elements {
            self.insert(key, value);
        }
    }
}

impl<K: Serialize, V: Serialize + DeserializeOwned, const N: usize> From<[(K, V); N]> for SharedDict<K, V> {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

impl<K: Serialize, V: Serialize + DeserializeOwned> FromIterator<(K, V)> for SharedDict<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(elements: I) -> Self {
        let mut dict = Self::new();
        dict.extend(elements);
        dict
    }
}

impl<K, V> fmt::Debug for SharedDict<K, V>
where
    K: DeserializeOwned + Eq + Hash + fmt::Debug,
    V: DeserializeOwned + fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.to_map()).finish()
    }
}

#[cfg(test)]
impl<K, V> SharedDict<K, V> {
    pub(super) fn container_for_tests(&self) -> &Container {
        &self.container
    }
}
