//! Elements of plain data behind a lock: what `SharedValue` and `SharedArray` are made of.
//!
//! ```text
//! lock | journal: 0, or the number of an element plus 1 | that element's new value | the elements
//! ```
//!
//! An element of up to eight bytes is written by one store. A larger one is written to the journal first, then the journal's number is
//! set, then the element is written, then the number is set back to 0. The process that takes the lock from a dead holder finds the number set if
//! the element may be half written, and writes it from the journal: so an element always has its old value or its
//! new one. Only the holder of the lock writes any of it.

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Instant;

use serde::{Deserializer, Serializer, de};

use super::handle::Handle;
use super::local_handles;
use super::lock::{Holding, Lock, Taken};
use super::serial;
use super::space::Space;
use super::tables::Kind;
use crate::error::TaskError;

#[repr(C)]
struct Head {
    lock: Lock,
    journal: AtomicU64,
}

/// A handle of elements.
pub(super) struct Cells<T> {
    handle: Arc<Handle>,
    head: NonNull<Head>,
    len: usize,
    _elements: PhantomData<T>,
}

// SAFETY: it is a handle of memory that any process may use; the elements are only reached under the lock.
unsafe impl<T: Send> Send for Cells<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Cells<T> {}

impl<T> Clone for Cells<T> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle), ..*self }
    }
}

impl<T> Cells<T> {
    const JOURNAL_AT: usize = size_of::<Head>().next_multiple_of(align_of::<T>());
    const ELEMENTS_AT: usize = (Self::JOURNAL_AT + size_of::<T>()).next_multiple_of(align_of::<T>());

    /// Bytes of an object with one element.
    pub(super) const SIZE_OF_ONE: usize = Self::ELEMENTS_AT + size_of::<T>();

    /// Whether one store writes an element.
    const IN_ONE_STEP: bool =
        matches!(size_of::<T>(), 0 | 1 | 2 | 4 | 8) && (size_of::<T>() == 0 || align_of::<T>() == size_of::<T>());

    /// Room for `len` elements, all bytes zero.
    pub(super) fn new(len: usize) -> Result<Self, TaskError> {
        let bytes = len.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_add(Self::ELEMENTS_AT));
        let bytes = bytes.ok_or(TaskError::OutOfSharedMemory { requested: u64::MAX, available: 0 })?;
        let alignment = align_of::<T>().max(align_of::<Head>()) as u64;
        let (handle, zeroed) = local_handles::create(bytes as u64, alignment, Kind::Cells)?;
        let cells = Self::of(handle, len).expect("it was made for them");
        if !zeroed {
            // SAFETY: the object is `bytes` long, and nothing else knows of it yet.
            unsafe { ptr::write_bytes(cells.head.as_ptr().cast::<u8>(), 0, bytes) };
        }
        Ok(cells)
    }

    /// The elements of an object, if it holds so many.
    fn of(handle: Arc<Handle>, len: usize) -> Option<Self> {
        let reference = handle.reference();
        let bytes = len.checked_mul(size_of::<T>())?.checked_add(Self::ELEMENTS_AT)? as u64;
        if bytes > reference.len {
            return None;
        }
        let head = Space::existing()?.at(reference.offset, bytes)?;
        let aligned = head.addr().get().is_multiple_of(align_of::<T>().max(align_of::<Head>()));
        aligned.then_some(Self { handle, head: head.cast(), len, _elements: PhantomData })
    }

    /// All elements of an object.
    pub(super) fn all(handle: Arc<Handle>) -> Option<Self> {
        let bytes = usize::try_from(handle.reference().len).ok()?.checked_sub(Self::ELEMENTS_AT)?;
        let len = bytes.checked_div(size_of::<T>()).unwrap_or(1);
        Self::of(handle, len)
    }

    pub(super) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn head(&self) -> &Head {
        // SAFETY: the object holds a `Head` at its start, aligned, mapped as long as `held`; it is atomics, valid with any bytes.
        unsafe { self.head.as_ref() }
    }

    fn lock(&self) -> &Lock {
        &self.head().lock
    }

    #[cfg(test)]
    pub(super) fn lock_for_tests(&self) -> &Lock {
        self.lock()
    }

    pub(super) fn is_poisoned(&self) -> bool {
        self.lock().is_poisoned(Self::space())
    }

    pub(super) fn clear_poison(&self) {
        if self.lock().is_orphaned(Self::space()) {
            // The process that took it next would poison it again.
            drop(self.briefly());
        }
        self.lock().clear_poison();
    }

    fn at(&self, offset: usize) -> *mut T {
        // SAFETY: the offsets that are asked for lie inside the object: `of` has checked where the last element ends.
        unsafe { self.head.as_ptr().cast::<u8>().add(offset) }.cast()
    }

    /// # Panics
    ///
    /// If there is no such element.
    #[inline(always)]
    #[track_caller]
    fn element(&self, index: usize) -> *mut T {
        assert!(index < self.len, "index out of range: the length is {} and the index is {index}", self.len);
        self.at(Self::ELEMENTS_AT + index * size_of::<T>())
    }

    pub(super) fn start(&self) -> *mut T {
        self.at(Self::ELEMENTS_AT)
    }

    /// # Panics
    ///
    /// If there is no such element.
    #[inline(always)]
    #[track_caller]
    pub(super) fn check(&self, index: usize) {
        let _ = self.element(index);
    }

    fn space() -> &'static Space {
        Space::existing().expect("there are objects")
    }

    /// Takes the lock for a moment.
    #[inline]
    #[track_caller]
    pub(super) fn briefly(&self) -> Locked<'_, T> {
        let (holding, taken) = Holding::briefly(self.lock(), Self::space());
        self.mended(holding, taken)
    }

    /// Takes the lock while code of the user's runs.
    #[inline]
    #[track_caller]
    pub(super) fn for_user(&self, deadline: Option<Instant>) -> Option<Locked<'_, T>> {
        let (holding, taken) = Holding::for_user(self.lock(), Self::space(), deadline)?;
        Some(self.mended(holding, taken))
    }

    #[inline]
    fn mended<'c>(&'c self, holding: Holding<'c>, taken: Taken) -> Locked<'c, T> {
        let mut locked = Locked { cells: self, holding };
        if taken == Taken::FromTheDead {
            locked.mend();
        }
        locked
    }

    pub(super) fn encode<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serial::encode(&self.handle, serializer)
    }

    pub(super) fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let handle = serial::decode(deserializer, Kind::Cells)?;
        Self::all(handle).ok_or_else(|| de::Error::custom("the shared memory behind this handle is another"))
    }
}

/// Elements whose lock this thread holds.
pub(super) struct Locked<'c, T> {
    cells: &'c Cells<T>,
    holding: Holding<'c>,
}

impl<T> Locked<'_, T> {
    /// Reads the bytes of an element.
    ///
    /// # Panics
    ///
    /// If there is no such element.
    #[inline(always)]
    #[track_caller]
    pub(super) fn read(&self, index: usize) -> MaybeUninit<T> {
        let element = self.cells.element(index);
        // SAFETY: `element` is inside the object and aligned; a `MaybeUninit` is valid with any bytes; we hold the lock.
        unsafe { element.cast::<MaybeUninit<T>>().read() }
    }

    /// Writes an element: entirely or, if this process dies meanwhile, not at all.
    ///
    /// # Panics
    ///
    /// If there is no such element.
    #[inline(always)]
    #[track_caller]
    pub(super) fn write(&mut self, index: usize, value: T) {
        let element = self.cells.element(index);
        if Cells::<T>::IN_ONE_STEP {
            // One store of one register. Volatile, so that it is not taken apart.
            // SAFETY: as in `read`; nothing else writes, since we hold the lock.
            unsafe { element.write_volatile(value) };
        } else {
            self.write_by_journal(index, element, value);
        }
    }

    fn write_by_journal(&mut self, index: usize, element: *mut T, value: T) {
        let journal = self.cells.at(Cells::<T>::JOURNAL_AT);
        // SAFETY: the journal has room for one element, aligned; we hold the lock.
        unsafe { journal.write_volatile(value) };
        let number = &self.cells.head().journal;
        number.store(index as u64 + 1, Ordering::Release);
        // Nothing of the element is written before the number is.
        fence(Ordering::Release);
        // SAFETY: both are inside the object and aligned, and do not overlap; we hold the lock.
        unsafe { ptr::copy_nonoverlapping(journal, element, 1) };
        number.store(0, Ordering::Release);
    }

    /// The holder before us died.
    #[cold]
    fn mend(&mut self) {
        let number = &self.cells.head().journal;
        // The process that died may have written anything: only an element that exists is mended.
        if let Some(index) = number.load(Ordering::Acquire).checked_sub(1)
            && index < self.cells.len as u64
        {
            let element = self.cells.element(index as usize);
            // SAFETY: as in `write_by_journal`.
            unsafe { ptr::copy_nonoverlapping(self.cells.at(Cells::<T>::JOURNAL_AT), element, 1) };
        }
        number.store(0, Ordering::Release);
    }

    pub(super) fn is_panicking(&self) -> bool {
        self.holding.is_panicking()
    }
}
