//! Many values of a type that only their function knows.

use std::alloc::{Layout, dealloc, handle_alloc_error, realloc};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use super::memory::allocate;
use super::type_table::TypeTable;
use super::value::ErasedValue;

/// A vector of values of one type: laid out and allocated as the standard library's, so that one becomes the other without a copy.
pub(crate) struct ErasedVec<'a> {
    table: &'static TypeTable,
    start: NonNull<u8>,
    len: usize,
    /// In values; 0 for values without a size.
    capacity: usize,
    _borrows: PhantomData<&'a ()>,
}

// SAFETY: every value that is put in is `Send`: see `push` and `set_len`.
unsafe impl Send for ErasedVec<'_> {}
// SAFETY: nothing of the values can be reached through a shared reference but by unsafe code.
unsafe impl Sync for ErasedVec<'_> {}

impl<'a> ErasedVec<'a> {
    pub(crate) fn new(table: &'static TypeTable) -> Self {
        let start = ptr::without_provenance_mut(table.layout.align());
        // SAFETY: an alignment is not 0.
        let start = unsafe { NonNull::new_unchecked(start) };
        Self { table, start, len: 0, capacity: 0, _borrows: PhantomData }
    }

    pub(crate) fn with_capacity(table: &'static TypeTable, capacity: usize) -> Self {
        let mut this = Self::new(table);
        this.reserve(capacity);
        this
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn table(&self) -> &'static TypeTable {
        self.table
    }

    /// Makes sure that there is room for so many more.
    pub(crate) fn reserve(&mut self, more: usize) {
        if self.table.size() == 0 || self.capacity - self.len >= more {
            return;
        }
        self.grow(more);
    }

    #[cold]
    fn grow(&mut self, more: usize) {
        let needed = self.len.checked_add(more).expect("a vector has at most `isize::MAX` bytes");
        let capacity = needed.max(2 * self.capacity).max(4);
        let size = capacity.checked_mul(self.table.size()).filter(|size| *size <= isize::MAX as usize);
        let size = size.expect("a vector has at most `isize::MAX` bytes");
        let layout = self.layout(size);
        let memory = if self.capacity == 0 {
            allocate(layout)
        } else {
            let before = self.layout(self.capacity * self.table.size());
            // SAFETY: the memory was allocated with `before`, and the new size is neither 0 nor too large.
            unsafe { realloc(self.start.as_ptr(), before, size) }
        };
        let Some(start) = NonNull::new(memory) else { handle_alloc_error(layout) };
        (self.start, self.capacity) = (start, capacity);
    }

    fn layout(&self, size: usize) -> Layout {
        // SAFETY: the alignment is one of a layout, and no size here is over `isize::MAX` minus an alignment that a vector may have: the
        // same sizes are allowed to the standard library's vectors.
        unsafe { Layout::from_size_align_unchecked(size, self.table.layout.align()) }
    }

    /// Where the value at `index` lies, or would.
    pub(crate) fn at(&self, index: usize) -> *mut u8 {
        debug_assert!(self.table.size() == 0 || index <= self.capacity, "a place lies in the vector");
        self.start.as_ptr().wrapping_add(index * self.table.size())
    }

    /// Adds a value.
    ///
    /// # Safety
    ///
    /// `T` is the type of the vector.
    #[inline]
    pub(crate) unsafe fn push<T: Send + 'a>(&mut self, value: T) {
        debug_assert_eq!(self.table.layout, Layout::new::<T>(), "a vector holds values of one type");
        if size_of::<T>() != 0 && self.len == self.capacity {
            self.grow(1);
        }
        // SAFETY: there is room for one more `T` (or it needs none), at the alignment of the table's layout, which is that of `T`.
        let place = unsafe { self.start.cast::<T>().add(self.len) };
        // SAFETY: as above.
        unsafe { place.write(value) };
        self.len += 1;
    }

    /// Adds an erased value.
    ///
    /// # Safety
    ///
    /// It is of the type of the vector.
    pub(crate) unsafe fn push_value(&mut self, value: ErasedValue<'a>) {
        self.reserve(1);
        // SAFETY: there is room for one more of its type, in memory of the vector's.
        unsafe { value.move_to(self.at(self.len)) };
        self.len += 1;
    }

    /// Says how many values there are.
    ///
    /// # Safety
    ///
    /// So many lie there, and no other owner has them; they are `Send` and borrow nothing that ends before `'a`.
    pub(crate) unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(self.table.size() == 0 || len <= self.capacity, "values lie in the vector");
        self.len = len;
    }

    /// Drops all values.
    pub(crate) fn clear(&mut self) {
        let count = std::mem::take(&mut self.len);
        // SAFETY: so many values were there, and the vector does not have them any more.
        unsafe { self.table.drop_values(self.start.as_ptr(), count) };
    }

    /// The values from `at` on, in a vector of their own.
    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        assert!(at <= self.len, "a vector is split within its length");
        let count = self.len - at;
        let mut rest = Self::with_capacity(self.table, count);
        // SAFETY: `count` values lie from `at` on; there is room for them in the other vector, which is other memory.
        unsafe { ptr::copy_nonoverlapping(self.at(at), rest.at(0), count * self.table.size()) };
        self.len = at;
        rest.len = count;
        rest
    }

    /// The only value; `None` if there is not just one.
    pub(crate) fn into_value(self) -> Option<ErasedValue<'a>> {
        if self.len != 1 {
            return None;
        }
        let table = self.table;
        let mut values = self.into_values();
        let place = values.next_place()?;
        // SAFETY: the value has left the vector, which it was one of.
        Some(unsafe { ErasedValue::from_place(table, place) })
    }

    /// Each value in a vector of its own.
    pub(crate) fn into_each(self) -> impl Iterator<Item = Self> {
        let mut values = self.into_values();
        std::iter::from_fn(move || {
            let place = values.next_place()?;
            let mut one = Self::with_capacity(values.table, 1);
            // SAFETY: the value has left the other vector, and there is room for one here.
            unsafe { ptr::copy_nonoverlapping(place, one.at(0), values.table.size()) };
            one.len = 1;
            Some(one)
        })
    }

    /// The standard library's vector of the same values.
    ///
    /// # Safety
    ///
    /// `T` is the type of the vector.
    pub(crate) unsafe fn into_vec<T: 'a>(self) -> Vec<T> {
        debug_assert_eq!(self.table.layout, Layout::new::<T>(), "a vector holds values of one type");
        let this = ManuallyDrop::new(self);
        // Values without a size need no room.
        let capacity = if size_of::<T>() == 0 { this.len } else { this.capacity };
        let (start, len) = (this.start.as_ptr().cast::<T>(), this.len);
        // SAFETY: the memory was allocated by the global allocator for `capacity` values of the layout of `T` (or there is none), and
        // holds `len` of them, which are ours alone.
        unsafe { Vec::from_raw_parts(start, len, capacity) }
    }

    /// Adds values. If their source panics, those that it gave before are there.
    ///
    /// # Safety
    ///
    /// `T` is the type of the vector.
    #[inline]
    pub(crate) unsafe fn extend<T: Send + 'a>(&mut self, values: impl Iterator<Item = T>) {
        /// Has the values while they are a vector of the standard library, which knows best how to extend one.
        struct Extended<'v, 'a, T>(&'v mut ErasedVec<'a>, ManuallyDrop<Vec<T>>);
        impl<T> Drop for Extended<'_, '_, T> {
            fn drop(&mut self) {
                let values = &mut self.1;
                self.0.len = values.len();
                self.0.capacity = if size_of::<T>() == 0 { 0 } else { values.capacity() };
                // SAFETY: the pointer of a vector is not null.
                self.0.start = unsafe { NonNull::new_unchecked(values.as_mut_ptr()) }.cast();
            }
        }
        let taken = std::mem::replace(self, Self::new(self.table));
        // SAFETY: as the caller promises.
        let typed = unsafe { taken.into_vec() };
        Extended(self, ManuallyDrop::new(typed)).1.extend(values);
    }

    /// Its values, to be taken one after the other.
    pub(crate) fn into_values(self) -> ErasedValues<'a> {
        let this = ManuallyDrop::new(self);
        let Self { table, start, len, capacity, .. } = *this;
        ErasedValues { table, start, next: 0, len, capacity, _borrows: PhantomData }
    }
}

impl Drop for ErasedVec<'_> {
    fn drop(&mut self) {
        // Its memory is freed after its values are dropped, also if that panics.
        let Self { table, start, len, capacity, .. } = *self;
        drop(ErasedValues { table, start, next: 0, len, capacity, _borrows: PhantomData });
    }
}

impl std::fmt::Debug for ErasedVec<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ErasedVec").field("type", self.table).field("len", &self.len).finish_non_exhaustive()
    }
}

/// The values of a vector, to be taken one after the other.
#[derive(Debug)]
pub(crate) struct ErasedValues<'a> {
    table: &'static TypeTable,
    start: NonNull<u8>,
    next: usize,
    len: usize,
    capacity: usize,
    _borrows: PhantomData<&'a ()>,
}

// SAFETY: as for `ErasedVec`.
unsafe impl Send for ErasedValues<'_> {}
// SAFETY: as for `ErasedVec`.
unsafe impl Sync for ErasedValues<'_> {}

impl<'a> ErasedValues<'a> {
    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        self.len - self.next
    }

    /// Where the next value lies, which is the caller's from now on.
    fn next_place(&mut self) -> Option<*mut u8> {
        if self.next == self.len {
            return None;
        }
        self.next += 1;
        Some(self.start.as_ptr().wrapping_add((self.next - 1) * self.table.size()))
    }

    /// The next values, at most so many.
    pub(crate) fn take(&mut self, most: usize) -> ErasedVec<'a> {
        let count = most.min(self.len());
        if self.next == 0 && count == self.len {
            let all = ErasedVec {
                table: self.table,
                start: self.start,
                len: self.len,
                capacity: self.capacity,
                _borrows: PhantomData,
            };
            let nothing = ErasedVec::new(self.table);
            (self.start, self.len, self.capacity) = (nothing.start, 0, 0);
            return all;
        }
        let mut some = ErasedVec::with_capacity(self.table, count);
        let first = self.start.as_ptr().wrapping_add(self.next * self.table.size());
        self.next += count;
        // SAFETY: `count` values lie there, which are not ours any more; there is room for them in the other vector, which is other memory.
        unsafe { ptr::copy_nonoverlapping(first, some.at(0), count * self.table.size()) };
        some.len = count;
        some
    }

    /// The next value.
    ///
    /// # Safety
    ///
    /// It is a `T`.
    pub(crate) unsafe fn next<T: 'a>(&mut self) -> Option<T> {
        debug_assert_eq!(self.table.layout, Layout::new::<T>(), "a vector holds values of one type");
        // SAFETY: it is a `T`, as the caller promises, and nothing else takes it.
        self.next_place().map(|place| unsafe { place.cast::<T>().read() })
    }
}

impl Drop for ErasedValues<'_> {
    fn drop(&mut self) {
        /// Also if a value's destructor panics.
        struct Memory(NonNull<u8>, Layout);
        impl Drop for Memory {
            fn drop(&mut self) {
                if self.1.size() != 0 {
                    // SAFETY: it was allocated with this layout, by `ErasedVec::grow`, and is freed once.
                    unsafe { dealloc(self.0.as_ptr(), self.1) };
                }
            }
        }
        let size = self.capacity * self.table.size();
        // SAFETY: as in `ErasedVec::layout`.
        let layout = unsafe { Layout::from_size_align_unchecked(size, self.table.layout.align()) };
        let _memory = Memory(self.start, layout);
        let (next, count) = (self.next, self.len());
        self.next = self.len;
        // SAFETY: `count` values lie from `next` on, and nothing else has them.
        unsafe { self.table.drop_values(self.start.as_ptr().wrapping_add(next * self.table.size()), count) };
    }
}
