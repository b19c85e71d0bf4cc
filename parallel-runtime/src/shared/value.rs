//! `SharedValue`.

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::sync::OnceLock;

use bytemuck::{CheckedBitPattern, NoUninit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::broken::Poisoned;
use super::cells::{Cells, Locked};
use super::or_panic::or_panic;
use super::statics::{self, Object, SharedObject};
use super::tables::Kind;
use crate::error::TaskError;
use crate::sys::{fork, image};

/// One value that every process sees which has a handle of it: Python's `multiprocessing.Value`.
///
/// `T` is plain data: numbers, `bool`, `char`, arrays of them, and types that derive `bytemuck`'s `Pod`, or its `NoUninit` and
/// `CheckedBitPattern`. A clone is another handle of the same value; it may be passed to tasks, inside any argument.
///
/// ```
/// use parallel_runtime::{SharedValue, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn count(hits: SharedValue<u64>, times: u64) {
///     for _ in 0..times {
///         hits.update(|hits| *hits += 1);
///     }
/// }
///
/// let hits = SharedValue::new(0);
/// count::map((0..4).map(|_| (hits.clone(), 1000)));
/// assert_eq!(hits.get(), 4000);
/// ```
///
/// A static can be shared too, without passing it: see [`#[shared]`](macro@crate::shared). It is plain data, and not any serde type: for
/// that see [`SharedList`](crate::SharedList) and [`SharedDict`](crate::SharedDict).
///
/// # What holds
///
/// * Each of the methods is one step for all processes.
/// * If a process dies in any of them, or a closure panics, the value is the one from before or the one after, never a mixture;
///   and the value can be used at once.
/// * [`lock`](SharedValue::lock) is for more than one step, and tells if a process died, or panicked, while it held the lock:
///   [`Poisoned`], until [`clear_poison`](SharedValue::clear_poison). The other methods work.
/// * A thread that locks it twice panics.
#[doc(alias("Value"))]
pub struct SharedValue<T> {
    /// What [`statics::mark`] gives, by which the executable shows where a static of this type begins.
    mark: u64,
    /// What it is to be made of at first use.
    first: Option<T>,
    cells: OnceLock<Cells<T>>,
}

/// What a [`SharedValue`] can hold: plain data, whose bytes are checked when they are read.
#[diagnostic::on_unimplemented(
    message = "a `SharedValue` cannot hold a `{Self}`",
    label = "not plain data",
    note = "it holds numbers, `bool`, `char`, arrays of them, and structs with `#[derive(Clone, Copy, bytemuck::NoUninit, bytemuck::CheckedBitPattern)] #[repr(C)]`",
    note = "a value of any serialisable type goes into a `SharedDict` or a `SharedList`"
)]
pub trait SharedPlain: NoUninit + CheckedBitPattern + Send {}

#[diagnostic::do_not_recommend]
impl<T: NoUninit + CheckedBitPattern + Send> SharedPlain for T {}

impl<T> SharedValue<T> {
    const STATIC: u64 = statics::mark(Kind::Cells, Cells::<T>::SIZE_OF_ONE);

    /// A value. Its shared memory is taken at first use, so that this can stand in a static.
    ///
    /// The methods panic at first use if shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    pub const fn new(first: T) -> Self {
        Self { mark: Self::STATIC, first: Some(first), cells: OnceLock::new() }
    }
}

impl<T: SharedPlain> SharedValue<T> {
    /// [`new`](SharedValue::new), which takes the memory at once.
    ///
    /// # Errors
    ///
    /// [`TaskError::OutOfSharedMemory`] if shared memory is short.
    pub fn try_new(first: T) -> Result<Self, TaskError> {
        Self::make(first).map(Self::of)
    }

    fn make(first: T) -> Result<Cells<T>, TaskError> {
        let cells = Cells::new(1)?;
        cells.briefly().write(0, first);
        Ok(cells)
    }

    #[inline(always)]
    fn cells(&self) -> &Cells<T> {
        match self.cells.get() {
            Some(cells) => cells,
            None => self.first_use(),
        }
    }

    #[cold]
    fn first_use(&self) -> &Cells<T> {
        self.cells.get_or_init(|| {
            let first = self.first.expect("without cells there is a first value");
            // One that the program has put into a static later (a `Mutex<Option<..>>`, a `OnceLock<..>`) is its own.
            let declared = |at: &u64| image::initial_word(*at).is_none_or(|word| word == Self::STATIC);
            match statics::first_of(image::offset_of_static(&self.mark).filter(declared)) {
                // A static: the same in every process, whether or not it says `#[shared]`.
                Some(at) => {
                    let handle = statics::settle(at, || Self::make(first).map(|cells| cells.handle().clone()));
                    Cells::all(or_panic(handle)).expect("the object of a static is as large as the static says")
                }
                None => or_panic(Self::make(first)),
            }
        })
    }

    /// The value.
    #[inline]
    #[track_caller]
    pub fn get(&self) -> T {
        let bytes = self.cells().briefly().read(0);
        checked(bytes)
    }

    /// Sets it.
    #[inline]
    #[track_caller]
    pub fn set(&self, value: T) {
        self.cells().briefly().write(0, value);
    }

    /// Changes it in one step: nothing else reads or writes it meanwhile. Returns what `change` returns.
    ///
    /// # Panics
    ///
    /// If `change` does: the value stays what it was, and the lock is poisoned. If `change` uses this same value.
    #[inline]
    #[track_caller]
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut locked = self.cells().for_user(None).expect("there is no deadline");
        let mut value = checked(locked.read(0));
        let result = change(&mut value);
        locked.write(0, value);
        result
    }

    /// Takes the lock, for more than one step: nothing else reads or writes the value until the guard is dropped, by which what was
    /// written through it is set.
    ///
    /// # Errors
    ///
    /// [`Poisoned`] if a process died, or panicked, while it held the lock.
    ///
    /// # Panics
    ///
    /// If this thread holds the lock already.
    #[track_caller]
    pub fn lock(&self) -> Result<SharedValueGuard<'_, T>, Poisoned> {
        let locked = self.cells().for_user(None).expect("there is no deadline");
        if self.cells().is_poisoned() {
            return Err(Poisoned);
        }
        let value = checked(locked.read(0));
        Ok(SharedValueGuard { locked, value, changed: false })
    }

    /// Returns whether a process died, or panicked, while it held the lock.
    pub fn is_poisoned(&self) -> bool {
        self.cells().is_poisoned()
    }

    /// Declares the value to be sound after all.
    pub fn clear_poison(&self) {
        self.cells().clear_poison();
    }
}

/// # Panics
///
/// If the bytes are no value: a process has written over them.
#[inline(always)]
fn checked<T: SharedPlain>(bytes: MaybeUninit<T>) -> T {
    let pointer = bytes.as_ptr();
    // SAFETY: `T::Bits` has the size of `T` and is valid with any bytes, which were all copied from shared memory, so initialised.
    let bits = unsafe { pointer.cast::<T::Bits>().read_unaligned() };
    assert!(T::is_valid_bit_pattern(&bits), "a process has written over a shared value");
    // SAFETY: the bytes were just found to be a value of `T`.
    unsafe { pointer.read() }
}

/// The lock of a [`SharedValue`]. It derefs to the value; what was written to it is set in one step when the guard is dropped, or not
/// at all if that is because of a panic.
pub struct SharedValueGuard<'v, T: SharedPlain> {
    locked: Locked<'v, T>,
    value: T,
    changed: bool,
}

impl<T: SharedPlain> Deref for SharedValueGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: SharedPlain> DerefMut for SharedValueGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.changed = true;
        &mut self.value
    }
}

impl<T: SharedPlain> Drop for SharedValueGuard<'_, T> {
    fn drop(&mut self) {
        // In the child of a program that was forked the lock is the parent's.
        if self.changed && !self.locked.is_panicking() && fork::check().is_ok() {
            self.locked.write(0, self.value);
        }
    }
}

impl<T: SharedPlain> Clone for SharedValue<T> {
    fn clone(&self) -> Self {
        Self::of(self.cells().clone())
    }
}

impl<T: SharedPlain + Default> Default for SharedValue<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: SharedPlain> From<T> for SharedValue<T> {
    fn from(first: T) -> Self {
        Self::new(first)
    }
}

impl<T: SharedPlain + fmt::Debug> fmt::Debug for SharedValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedValue").field(&self.get()).finish()
    }
}

impl<T: SharedPlain + fmt::Debug> fmt::Debug for SharedValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<T: SharedPlain> Serialize for SharedValue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.cells().encode(serializer)
    }
}

impl<'de, T: SharedPlain> Deserialize<'de> for SharedValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Cells::decode(deserializer).map(Self::of)
    }
}

impl<T: SharedPlain> SharedValue<T> {
    fn of(cells: Cells<T>) -> Self {
        Self { mark: Self::STATIC, first: None, cells: OnceLock::from(cells) }
    }
}

impl<T: SharedPlain> SharedObject for SharedValue<T> {
    const MARK: u64 = Self::STATIC;
    fn to_object(&self) -> Object {
        Object(self.cells().handle().clone())
    }
    fn from_object(object: Object) -> Self {
        Self::of(Cells::all(object.0).expect("the object of a static is as large as the static says"))
    }
}

macro_rules! arithmetic {
    ($($type:ty),*) => {$(
        /// Arithmetic in one step for all processes, like that of the standard library's atomics.
        impl SharedValue<$type> {
            /// Adds, wrapping around at the limits. Returns the value from before.
            #[inline]
            #[track_caller]
            pub fn fetch_add(&self, amount: $type) -> $type {
                self.exchange(|value| value.wrapping_add(amount))
            }
            /// Subtracts, wrapping around at the limits. Returns the value from before.
            #[inline]
            #[track_caller]
            pub fn fetch_sub(&self, amount: $type) -> $type {
                self.exchange(|value| value.wrapping_sub(amount))
            }
            /// Sets the value to the larger of the two. Returns the value from before.
            #[inline]
            #[track_caller]
            pub fn fetch_max(&self, other: $type) -> $type {
                self.exchange(|value| value.max(other))
            }
            /// Sets the value to the smaller of the two. Returns the value from before.
            #[inline]
            #[track_caller]
            pub fn fetch_min(&self, other: $type) -> $type {
                self.exchange(|value| value.min(other))
            }
            /// Sets the value to `new` if it is `current`. Returns the value from before: in `Ok` if it was set, in `Err` if not.
            ///
            /// # Errors
            ///
            /// The value, if it is not `current`.
            #[inline]
            #[track_caller]
            pub fn compare_exchange(&self, current: $type, new: $type) -> Result<$type, $type> {
                let before = self.exchange(|value| if value == current { new } else { value });
                if before == current { Ok(before) } else { Err(before) }
            }
            #[inline]
            #[track_caller]
            fn exchange(&self, change: impl FnOnce($type) -> $type) -> $type {
                let mut locked = self.cells().briefly();
                let before = checked(locked.read(0));
                locked.write(0, change(before));
                before
            }
        }
    )*};
}
arithmetic!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::lock::Holding;
    use crate::shared::space::Space;

    #[test]
    fn a_death_poisons_only_while_code_of_the_users_runs() {
        let value = SharedValue::new(1_u64);
        value.set(2);
        value.cells().lock_for_tests().give_to_the_dead();
        assert!(!value.is_poisoned());
        assert_eq!(value.lock().map(|guard| *guard), Ok(2));
        let space = Space::get().unwrap();
        // The thread that forgets it is told that it holds it.
        std::thread::scope(|scope| {
            scope.spawn(|| std::mem::forget(Holding::for_user(value.cells().lock_for_tests(), space, None)));
        });
        value.cells().lock_for_tests().give_to_the_dead();
        assert!(value.is_poisoned());
        assert!(value.lock().is_err());
        value.clear_poison();
        assert!(value.lock().is_ok());
    }
}
