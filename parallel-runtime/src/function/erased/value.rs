//! One value of a type that only its function knows.

use std::alloc::{Layout, dealloc};
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ptr;

use super::memory::allocate;
use super::type_table::{TypeOf, TypeTable};

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
