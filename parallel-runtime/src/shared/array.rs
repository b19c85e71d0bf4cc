//! `SharedArray`.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::broken::Poisoned;
use super::cells::{Cells, Locked};
use super::or_panic::or_panic;
use super::raw::SharedElement;
use super::statics::{self, Object, SharedObject};
use super::tables::Kind;
use crate::error::TaskError;

/// A fixed number of elements that every process sees and may change: Python's `multiprocessing.Array`.
///
/// `T` is plain data: see [`SharedElement`]. A clone is another handle of the same elements; it may be passed to tasks, inside any argument. Where parts are worked on
/// independently, a [`SharedVec`](crate::SharedVec) is faster and needs no lock.
///
/// ```
/// use parallel_runtime::{SharedArray, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn note(seen: SharedArray<u32>, digit: usize) {
///     seen.update(digit, |times| *times += 1);
/// }
///
/// let seen = SharedArray::new(10);
/// note::map([3, 1, 4, 1, 5].map(|digit| (seen.clone(), digit)));
/// assert_eq!(seen.get(1), 2);
/// assert_eq!(seen.lock().unwrap().iter().sum::<u32>(), 5);
/// ```
///
/// # What holds
///
/// * `get`, `set` and `update` are one step for all processes. If a process dies in one of them, or a closure panics, the
///   element is the one from before or the one after; and the array can be used at once.
/// * [`lock`](SharedArray::lock) returns all elements in place, for any number of steps. If a process dies, or panics, while it
///   holds the lock, they may be half changed: the next `lock` says [`Poisoned`], until
///   [`clear_poison`](SharedArray::clear_poison). The other methods work.
/// * A thread that locks it twice panics.
#[doc(alias("Array"))]
pub struct SharedArray<T> {
    cells: Cells<T>,
}

impl<T: Send> SharedArray<T> {
    const HAS_SIZE: () = assert!(size_of::<T>() != 0, "a `SharedArray` has elements of some size");

    /// `len` elements, all zero.
    ///
    /// # Panics
    ///
    /// If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn new(len: usize) -> Self
    where
        T: SharedElement,
    {
        or_panic(Self::try_new(len))
    }

    /// [`new`](SharedArray::new), with an error if shared memory is short.
    pub fn try_new(len: usize) -> Result<Self, TaskError>
    where
        T: SharedElement,
    {
        let () = Self::HAS_SIZE;
        Ok(Self { cells: Cells::new(len)? })
    }

    /// A copy of a slice.
    ///
    /// # Panics
    ///
    /// If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn from_slice(elements: &[T]) -> Self
    where
        T: SharedElement,
    {
        or_panic(Self::try_from_slice(elements))
    }

    /// [`from_slice`](SharedArray::from_slice), with an error if shared memory is short.
    pub fn try_from_slice(elements: &[T]) -> Result<Self, TaskError>
    where
        T: SharedElement,
    {
        let array = Self::try_new(elements.len())?;
        array.guard().copy_from_slice(elements);
        Ok(array)
    }
}

impl<T: Pod + Send> SharedArray<T> {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Returns whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An element.
    ///
    /// # Panics
    ///
    /// If `index` is out of range, as with `[T]`.
    #[inline]
    #[track_caller]
    pub fn get(&self, index: usize) -> T {
        self.cells.check(index);
        let element = self.cells.briefly().read(index);
        // SAFETY: the bytes were copied from shared memory, so they are initialised, and any bytes are a value of `T`.
        unsafe { element.assume_init() }
    }

    /// Sets an element.
    ///
    /// # Panics
    ///
    /// If `index` is out of range, as with `[T]`.
    #[inline]
    #[track_caller]
    pub fn set(&self, index: usize, value: T) {
        self.cells.check(index);
        self.cells.briefly().write(index, value);
    }

    /// Changes an element in one step. Returns what `change` returns.
    ///
    /// # Panics
    ///
    /// If `index` is out of range, as with `[T]`. If `change` panics: the element stays what it was, and the lock is poisoned. If
    /// `change` uses this same array.
    #[inline]
    #[track_caller]
    pub fn update<R>(&self, index: usize, change: impl FnOnce(&mut T) -> R) -> R {
        self.cells.check(index);
        let mut locked = self.cells.for_user(None).expect("there is no deadline");
        // SAFETY: as in `get`.
        let mut value = unsafe { locked.read(index).assume_init() };
        let result = change(&mut value);
        locked.write(index, value);
        result
    }

    /// Takes the lock, and returns all elements in place: nothing else reads or writes them until the guard is dropped. A part of
    /// them may be passed to a task, which works on it in place.
    ///
    /// # Errors
    ///
    /// [`Poisoned`] if a process died, or panicked, while it held the lock.
    ///
    /// # Panics
    ///
    /// If this thread holds the lock already.
    #[track_caller]
    pub fn lock(&self) -> Result<SharedArrayGuard<'_, T>, Poisoned> {
        let guard = self.guard();
        if self.is_poisoned() { Err(Poisoned) } else { Ok(guard) }
    }

    #[track_caller]
    fn guard(&self) -> SharedArrayGuard<'_, T> {
        let locked = self.cells.for_user(None).expect("there is no deadline");
        SharedArrayGuard { cells: &self.cells, _locked: locked, _elements: PhantomData }
    }

    /// A copy of all elements, of one moment.
    #[track_caller]
    pub fn to_vec(&self) -> Vec<T> {
        self.guard().to_vec()
    }

    /// Returns whether a process died, or panicked, while it held the lock.
    pub fn is_poisoned(&self) -> bool {
        self.cells.is_poisoned()
    }

    /// Declares the elements to be sound after all.
    pub fn clear_poison(&self) {
        self.cells.clear_poison();
    }
}

/// The lock of a [`SharedArray`]. It derefs to the elements, `[T]`, where they are.
///
/// As with a `MutexGuard`, it can be shared with other threads if its elements can:
///
/// ```compile_fail,E0277
/// use std::cell::Cell;
/// use std::marker::PhantomData;
///
/// use parallel_runtime::SharedArrayGuard;
///
/// #[derive(Clone, Copy)]
/// struct NotSync(PhantomData<Cell<u8>>);
///
/// fn sync<T: Sync>() {}
/// sync::<SharedArrayGuard<'static, NotSync>>();
/// ```
pub struct SharedArrayGuard<'a, T> {
    cells: &'a Cells<T>,
    _locked: Locked<'a, T>,
    _elements: PhantomData<&'a mut [T]>,
}

impl<T: Pod> Deref for SharedArrayGuard<'_, T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the elements lie in the object, aligned; any bytes are values; the lock keeps other writers away.
        unsafe { std::slice::from_raw_parts(self.cells.start(), self.cells.len()) }
    }
}

impl<T: Pod> DerefMut for SharedArrayGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; the lock keeps everybody else away.
        unsafe { std::slice::from_raw_parts_mut(self.cells.start(), self.cells.len()) }
    }
}

impl<T> Clone for SharedArray<T> {
    fn clone(&self) -> Self {
        Self { cells: self.cells.clone() }
    }
}

impl<T: Pod + Send + fmt::Debug> fmt::Debug for SharedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedArray").field(&self.to_vec()).finish()
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for SharedArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: Pod + Send> From<&[T]> for SharedArray<T> {
    fn from(elements: &[T]) -> Self {
        Self::from_slice(elements)
    }
}

impl<T: Pod + Send> From<Vec<T>> for SharedArray<T> {
    fn from(elements: Vec<T>) -> Self {
        Self::from_slice(&elements)
    }
}

impl<T: Pod + Send, const N: usize> From<[T; N]> for SharedArray<T> {
    fn from(elements: [T; N]) -> Self {
        Self::from_slice(&elements)
    }
}

impl<T> Serialize for SharedArray<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.cells.encode(serializer)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedArray<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cells::decode(deserializer).map(|cells| Self { cells })
    }
}

impl<T: Pod> SharedObject for SharedArray<T> {
    const MARK: u64 = statics::mark(Kind::Cells, 0);
    fn to_object(&self) -> Object {
        Object(self.cells.handle().clone())
    }
    fn from_object(object: Object) -> Self {
        Self { cells: Cells::all(object.0).expect("the object of a static is as large as the static says") }
    }
}
