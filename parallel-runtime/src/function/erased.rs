//! Values whose type only their function knows.
//!
//! The engines are compiled once, not once for each function. So what they hold of a function's arguments and results is memory of a
//! size and an alignment, and the function that drops it: a [`TypeTable`]. The typed shells in [`call`](crate::call) put values in and
//! take them out again.
//!
//! The lifetime of an [`ErasedValue`] or an [`ErasedVec`] is that of what the values may borrow: so the compiler sees to it that none of them
//! outlives its borrows. As with a `Box` or a `Vec`, a longer lifetime may stand for a shorter one.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr::{self, NonNull};

/// What is known of a type.
#[derive(Debug)]
pub(crate) struct TypeTable {
    layout: Layout,
    /// Drops a value in place; `None` where there is nothing to drop.
    drop: Option<unsafe fn(*mut u8)>,
}

/// The table of the type `T`.
pub(crate) struct TypeOf<T>(PhantomData<T>);

impl<T> TypeOf<T> {
    const TABLE: TypeTable = TypeTable {
        layout: Layout::new::<T>(),
        drop: if std::mem::needs_drop::<T>() { Some(drop_value::<T>) } else { None },
    };

    pub(crate) const fn table() -> &'static TypeTable {
        &Self::TABLE
    }
}

/// # Safety
///
/// `place` holds a `T`, which is not used afterwards.
unsafe fn drop_value<T>(place: *mut u8) {
    // SAFETY: as the caller promises.
    unsafe { place.cast::<T>().drop_in_place() };
}

impl TypeTable {
    pub(crate) fn size(&self) -> usize {
        self.layout.size()
    }

    /// Drops `count` values that lie one after the other. When one panics the others are dropped all the same.
    ///
    /// # Safety
    ///
    /// They are values of this type, and are not used afterwards.
    pub(crate) unsafe fn drop_values(&self, first: *mut u8, count: usize) {
        struct Left {
            drop: unsafe fn(*mut u8),
            size: usize,
            next: *mut u8,
            count: usize,
        }
        impl Left {
            fn drop_each(&mut self) {
                while self.count > 0 {
                    let value = self.next;
                    self.count -= 1;
                    self.next = value.wrapping_add(self.size);
                    // SAFETY: a value of this type, as the caller of `drop_values` promises; dropped once, since `next` has moved on.
                    unsafe { (self.drop)(value) };
                }
            }
        }
        impl Drop for Left {
            /// Goes on where a value has panicked.
            fn drop(&mut self) {
                self.drop_each();
            }
        }
        if let Some(drop) = self.drop {
            Left { drop, size: self.size(), next: first, count }.drop_each();
        }
    }
}

/// Values up to this size lie in the `ErasedValue` itself.
const INLINE: usize = 3 * size_of::<usize>();

/// Room for one value.
struct Room {
    table: &'static TypeTable,
    /// The value, or the address of its memory.
    words: [MaybeUninit<*mut u8>; 3],
}

impl Room {
    fn new(table: &'static TypeTable) -> Self {
        let mut words = [MaybeUninit::uninit(); 3];
        if is_outside(table) {
            words[0].write(allocate(table.layout));
        }
        Self { table, words }
    }

    fn place(&mut self) -> *mut u8 {
        if self.table.size() == 0 {
            return ptr::without_provenance_mut(self.table.layout.align());
        }
        if is_outside(self.table) {
            // SAFETY: `new` wrote the address of the memory there.
            return unsafe { self.words[0].assume_init() };
        }
        self.words.as_mut_ptr().cast()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if is_outside(self.table) {
            let place = self.place();
            // SAFETY: `new` allocated it with this layout, and it is freed only here.
            unsafe { dealloc(place, self.table.layout) };
        }
    }
}

/// Whether a value has memory of its own.
fn is_outside(table: &TypeTable) -> bool {
    let (size, alignment) = (table.layout.size(), table.layout.align());
    size > INLINE || (size > 0 && alignment > align_of::<usize>())
}

/// Memory of a size that is not 0.
fn allocate(layout: Layout) -> *mut u8 {
    assert!(layout.size() > 0, "values without a size need no memory");
    // SAFETY: the size is not 0.
    let memory = unsafe { alloc(layout) };
    if memory.is_null() {
        handle_alloc_error(layout);
    }
    memory
}

/// One value.
pub(crate) struct ErasedValue<'a> {
    room: ManuallyDrop<Room>,
    _borrows: PhantomData<&'a ()>,
}

// SAFETY: every value that is put in is `Send`: see `new` and `write`.
unsafe impl Send for ErasedValue<'_> {}
// SAFETY: nothing of the value can be reached through a shared reference.
unsafe impl Sync for ErasedValue<'_> {}

impl<'a> ErasedValue<'a> {
    pub(crate) fn new<T: Send + 'a>(value: T) -> Self {
        let mut room = Room::new(TypeOf::<T>::table());
        // SAFETY: the room is one for a `T`.
        unsafe { room.place().cast::<T>().write(value) };
        Self { room: ManuallyDrop::new(room), _borrows: PhantomData }
    }

    /// A value that `write` puts into the room that it is given. If `write` panics there is none.
    ///
    /// # Safety
    ///
    /// When `write` returns, there is a value of this type in the room, which is `Send` and borrows nothing that ends before `'a`.
    pub(crate) unsafe fn write(table: &'static TypeTable, write: impl FnOnce(*mut u8)) -> Self {
        let mut room = Room::new(table);
        write(room.place());
        Self { room: ManuallyDrop::new(room), _borrows: PhantomData }
    }

    /// The same for what may fail: then there is no value in the room.
    ///
    /// # Safety
    ///
    /// As for [`write`](ErasedValue::write), when it returns `Ok`.
    pub(crate) unsafe fn try_write<E>(
        table: &'static TypeTable,
        write: impl FnOnce(*mut u8) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut room = Room::new(table);
        write(room.place())?;
        Ok(Self { room: ManuallyDrop::new(room), _borrows: PhantomData })
    }

    /// Where it lies. It moves with `self`, if it is small.
    pub(crate) fn place(&mut self) -> *mut u8 {
        self.room.place()
    }

    /// Gives the value to `take`, in the place that it is given, and frees its memory afterwards.
    ///
    /// # Safety
    ///
    /// From its first step on `take` owns the value: it moves or drops it, also if it panics.
    pub(crate) unsafe fn take<R>(self, take: impl FnOnce(*mut u8) -> R) -> R {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: `this` is not used afterwards.
        let mut room = unsafe { ManuallyDrop::take(&mut this.room) };
        take(room.place())
    }

    /// The value itself.
    ///
    /// # Safety
    ///
    /// It is a `T`.
    pub(crate) unsafe fn into<T: 'a>(self) -> T {
        debug_assert_eq!(self.room.table.layout, Layout::new::<T>(), "a value is taken out as what it was put in");
        // SAFETY: it is a `T`, as the caller promises, and is read once.
        let read = |place: *mut u8| unsafe { place.cast::<T>().read() };
        // SAFETY: it is moved out at once.
        unsafe { self.take(read) }
    }

    /// Takes a value over that lies somewhere.
    ///
    /// # Safety
    ///
    /// A value of this type lies there, which nothing else has from here on; it is `Send` and borrows nothing that ends before `'a`.
    pub(crate) unsafe fn from_place(table: &'static TypeTable, place: *const u8) -> Self {
        let size = table.size();
        // SAFETY: a value of this size lies there; the target is fresh room for one.
        let copy = |target: *mut u8| unsafe { ptr::copy_nonoverlapping(place, target, size) };
        // SAFETY: by this the value is in the room; the rest as the caller promises.
        unsafe { Self::write(table, copy) }
    }

    /// Moves the value to a place.
    ///
    /// # Safety
    ///
    /// There is room for one of its type, in other memory.
    pub(crate) unsafe fn move_to(self, target: *mut u8) {
        let size = self.room.table.size();
        // SAFETY: the value has this size, and there is room for it in other memory, as the caller promises.
        let copy = |place: *mut u8| unsafe { ptr::copy_nonoverlapping(place, target, size) };
        // SAFETY: by this the value is in its new place.
        unsafe { self.take(copy) }
    }
}

impl Drop for ErasedValue<'_> {
    fn drop(&mut self) {
        // SAFETY: `self.room` is not used afterwards. The room is dropped after the value, also if that panics.
        let mut room = unsafe { ManuallyDrop::take(&mut self.room) };
        let (table, place) = (room.table, room.place());
        // SAFETY: there is a value in it, which is dropped once.
        unsafe { table.drop_values(place, 1) };
    }
}

impl std::fmt::Debug for ErasedValue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ErasedValue").field("type", self.room.table).finish()
    }
}

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

/// Where the items of a map come from: an iterator, and those of its items that were taken and not sent.
pub(crate) trait Items<'a> {
    /// That of the items that are still to come.
    fn size_hint(&self) -> (usize, Option<usize>);

    /// Takes items from their source until there are `most`. After the first and then after every `every` of them, `go_on` is asked whether
    /// to go on; never if it is `usize::MAX`. False if the source has ended. If the source panics, what it has given is still there.
    fn pull(&mut self, most: usize, every: usize, go_on: &mut dyn FnMut(u32) -> bool) -> bool;

    /// How many were taken and not sent.
    fn pulled(&self) -> usize;

    /// Those.
    fn take_pulled(&mut self) -> ErasedVec<'a>;
}

/// The items of an iterator.
pub(crate) struct ItemsOf<'a, I> {
    /// `None` when it has ended.
    source: Option<I>,
    pulled: ErasedVec<'a>,
}

impl<I: Iterator> ItemsOf<'_, I> {
    pub(crate) fn new(source: I) -> Self {
        Self { source: Some(source), pulled: ErasedVec::new(TypeOf::<I::Item>::table()) }
    }
}

impl<'a, I: Iterator<Item: Send + 'a>> Items<'a> for ItemsOf<'a, I> {
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.source.as_ref().map_or((0, Some(0)), Iterator::size_hint)
    }

    fn pull(&mut self, most: usize, every: usize, go_on: &mut dyn FnMut(u32) -> bool) -> bool {
        let Some(source) = &mut self.source else { return false };
        self.pulled.reserve(source.size_hint().0.min(most));
        if every == usize::MAX {
            // Nothing is asked in between.
            let wanted = most.saturating_sub(self.pulled.len());
            // SAFETY: the vector was made for items of this type.
            unsafe { self.pulled.extend(source.by_ref().take(wanted)) };
            let goes_on = self.pulled.len() >= most;
            if !goes_on {
                self.source = None;
            }
            return goes_on;
        }
        let (mut count, mut until) = (0_usize, 1_usize);
        while self.pulled.len() < most {
            let Some(item) = source.next() else {
                self.source = None;
                return false;
            };
            // SAFETY: the vector was made for items of this type.
            unsafe { self.pulled.push(item) };
            count += 1;
            if count == until {
                until = count.saturating_add(every);
                if !go_on(count as u32) {
                    break;
                }
            }
        }
        true
    }

    fn pulled(&self) -> usize {
        self.pulled.len()
    }

    fn take_pulled(&mut self) -> ErasedVec<'a> {
        let table = self.pulled.table();
        std::mem::replace(&mut self.pulled, ErasedVec::new(table))
    }
}

/// All items, at once.
pub(crate) fn all_of<'a>(items: &mut dyn Items<'a>) -> ErasedVec<'a> {
    items.pull(usize::MAX, usize::MAX, &mut |_| true);
    items.take_pulled()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts its ends.
    struct Counted(Arc<AtomicUsize>, #[expect(dead_code, reason = "it makes the value large")] [u64; 5]);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[repr(align(64))]
    #[derive(Debug, PartialEq)]
    struct Aligned(u8);

    #[repr(align(64))]
    #[derive(Debug, PartialEq)]
    struct AlignedNothing;

    #[test]
    fn a_value_comes_out_as_it_went_in_whatever_its_size_and_alignment() {
        fn through<T: Send>(value: T) -> T {
            // SAFETY: it is taken out as what it was put in.
            unsafe { ErasedValue::new(value).into() }
        }
        through(());
        assert_eq!(through(7_u8), 7);
        assert_eq!(through("text".to_owned()), "text");
        assert_eq!(through([1_u64; 4]), [1; 4]);
        assert_eq!(through(Aligned(9)), Aligned(9));
        assert_eq!(through(AlignedNothing), AlignedNothing);
        assert_eq!(ErasedValue::new(AlignedNothing).place().addr() % 64, 0);
    }

    #[test]
    fn every_value_is_dropped_once() {
        let ends = Arc::new(AtomicUsize::new(0));
        let value = || Counted(Arc::clone(&ends), [0; 5]);
        drop(ErasedValue::new(value()));
        assert_eq!(ends.load(Ordering::Relaxed), 1);
        let mut values = ErasedVec::new(TypeOf::<Counted>::table());
        for _ in 0..10 {
            // SAFETY: the vector is one of these.
            unsafe { values.push(value()) };
        }
        let rest = values.split_off(6);
        drop(values);
        assert_eq!(ends.load(Ordering::Relaxed), 7);
        let mut each = rest.into_each();
        drop(each.next());
        drop(each);
        assert_eq!(ends.load(Ordering::Relaxed), 11);
    }

    #[test]
    fn a_vector_becomes_the_standard_librarys() {
        let mut items = ItemsOf::new((0..100).map(|number| number.to_string()));
        // SAFETY: these are strings.
        let strings = unsafe { all_of(&mut items).into_vec::<String>() };
        assert_eq!(strings[99], "99");
        let mut items = ItemsOf::new(std::iter::repeat_n((), 3));
        // SAFETY: these are units.
        assert_eq!(unsafe { all_of(&mut items).into_vec::<()>() }.len(), 3);
        let mut items = ItemsOf::new(std::iter::empty::<u64>());
        // SAFETY: these would be numbers.
        assert!(unsafe { all_of(&mut items).into_vec::<u64>() }.is_empty());
    }

    #[test]
    fn what_a_source_has_given_before_it_panicked_is_still_there() {
        let mut items = ItemsOf::new((0..10_u32).inspect(|number| assert!(*number < 7)));
        let pull = std::panic::AssertUnwindSafe(|| items.pull(100, 16, &mut |_| true));
        assert!(std::panic::catch_unwind(pull).is_err());
        assert_eq!(items.take_pulled().len(), 7);
    }
}
