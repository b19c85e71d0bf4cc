//! `SharedVec`, and what it and `SharedSlice` have in common with slices.

use std::fmt;
use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::local_handles;
use super::named::Named;
use super::offer::GIVEN;
use super::or_panic::or_panic;
use super::raw::{Memory, Raw, SharedElement};
use super::slice::SharedSlice;
use super::tables::Kind;
use crate::codec::{self, CodecError, Reader, Writer};
use crate::error::TaskError;
use crate::shared::handle_table;

/// A buffer in shared memory with one owner: like a `Vec<T>` of fixed length whose elements a task in another process can read
/// and change where they are.
///
/// `T` is plain data: see [`SharedElement`]. It derefs to `[T]`. Any part of it that is passed to a task as `&[T]` or `&mut [T]` travels as the place where it lies, not as
/// bytes: **nothing is copied**, at any size. Passed or returned by value the buffer itself moves, which copies nothing
/// either.
///
/// ```
/// use parallel_runtime::{SharedVec, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn double(numbers: &mut [f64]) {
///     numbers.iter_mut().for_each(|number| *number *= 2.0);
/// }
///
/// #[parallel(mode = "process", pool = 2)]
/// fn total(numbers: &[f64]) -> f64 {
///     numbers.iter().sum()
/// }
///
/// let mut numbers = SharedVec::from_fn(1_000_000, |index| index as f64);
/// double::map(numbers.chunks_mut(250_000)); // four workers' worth, in place
/// assert_eq!(numbers[10], 20.0);
/// assert_eq!(total(&numbers[..4]), 12.0);
/// ```
///
/// # What holds
///
/// * The borrow checker keeps others away from a part that is lent as `&mut`; and a call does not return, nor does its error come,
///   before the process that had the part is done with it or gone.
/// * What a task has changed before it panicked, died or timed out stays changed, as with threads. With `retries` a part that was
///   lent as `&mut` is copied before the first try, and each further try finds it as it was.
/// * A task that takes a `SharedVec` by value is not tried again: it may have passed it on.
/// * It also moves inside structs, vectors and other types that implement `Serialize`, without copying. Since `Serialize` takes `&self`,
///   the value around it is dropped before the message is read: if the `SharedVec` is still there then (in an `Arc` that others
///   have), the call fails. Behind a reference it cannot move at all. Inside another value *beside a `&mut` parameter* it is copied.
/// * Memory is freed when the owner is dropped, or dies.
#[doc(alias("SharedMemory", "RawArray"))]
pub struct SharedVec<T> {
    raw: Raw<T>,
    /// Which owner of its object it is; 0 if there is no object.
    number: u32,
}

impl<T> SharedVec<T> {
    /// `len` elements, all zero.
    ///
    /// # Panics
    ///
    /// If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`].
    #[track_caller]
    pub fn zeroed(len: usize) -> Self
    where
        T: SharedElement,
    {
        or_panic(Self::try_zeroed(len))
    }

    /// [`zeroed`](SharedVec::zeroed), with an error if shared memory is short.
    pub fn try_zeroed(len: usize) -> Result<Self, TaskError>
    where
        T: SharedElement,
    {
        let (raw, zeroed) = Raw::new(len)?;
        let mut vec = Self::own(raw).expect("a new object has no owner");
        if !zeroed {
            vec.fill(T::zeroed());
        }
        Ok(vec)
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

    /// [`from_slice`](SharedVec::from_slice), with an error if shared memory is short.
    pub fn try_from_slice(elements: &[T]) -> Result<Self, TaskError>
    where
        T: SharedElement,
    {
        let mut vec = Self::own(Raw::new(elements.len())?.0).expect("a new object has no owner");
        vec.copy_from_slice(elements);
        Ok(vec)
    }

    /// `len` elements, each made from its index, in place.
    ///
    /// # Panics
    ///
    /// If shared memory is short, with the text of [`TaskError::OutOfSharedMemory`]; or if `element` panics.
    #[track_caller]
    pub fn from_fn(len: usize, element: impl FnMut(usize) -> T) -> Self
    where
        T: SharedElement,
    {
        or_panic(Self::try_from_fn(len, element))
    }

    /// [`from_fn`](SharedVec::from_fn), with an error if shared memory is short.
    pub fn try_from_fn(len: usize, mut element: impl FnMut(usize) -> T) -> Result<Self, TaskError>
    where
        T: SharedElement,
    {
        let mut vec = Self::own(Raw::new(len)?.0).expect("a new object has no owner");
        vec.iter_mut().enumerate().for_each(|(index, target)| *target = element(index));
        Ok(vec)
    }

    /// `len` elements, all zero, in a segment that other programs can open by its name: Python's
    /// `multiprocessing.shared_memory.SharedMemory(name="frames")`, `shm_open("/frames", ...)` in C, or
    /// [`open_named`](SharedVec::open_named).
    ///
    /// All of its memory is reserved at once. It can be opened by this user only (mode 0600). The name goes with the `SharedVec`;
    /// what was left by a program that was killed is removed by the next that makes a segment. Parts of it are passed to tasks without
    /// copying, like those of any `SharedVec`; but it cannot be moved to one.
    ///
    /// Python before 3.13 removes the *name* of every segment that it has had open when it ends, also of segments that other programs made
    /// ([bpo-38119](https://github.com/python/cpython/issues/82300); from 3.13 on `SharedMemory(name, track=False)` does not). The memory stays, and tasks go on to work on it;
    /// but no process can open it by its name any more.
    ///
    /// ```
    /// use parallel_runtime::SharedVec;
    ///
    /// let name = format!("frames-{}", std::process::id());
    /// // SAFETY: no other program knows of it yet.
    /// let mut frames = unsafe { SharedVec::<u16>::create_named(&name, 1000) }.unwrap();
    /// frames[7] = 99;
    /// // What another program sees that opens it by its name:
    /// let bytes = std::fs::read(format!("/dev/shm/{name}")).unwrap();
    /// assert_eq!(bytes[14..16], 99_u16.to_ne_bytes());
    /// ```
    ///
    /// # Errors
    ///
    /// [`TaskError::OutOfSharedMemory`] if `/dev/shm` is too small; [`TaskError::Named`] if the name is taken or not valid, if `len`
    /// is 0, or if the system is not Linux.
    ///
    /// # Safety
    ///
    /// Other processes open it by its name, and neither the borrow checker nor this library sees what they do. As long as a reference to its
    /// elements is in use here or in a task, no other process writes them; as long as an exclusive one is, none reads them; and none makes the
    /// segment shorter. Agree on turns, by a pipe or a queue between the programs. A worker process of this program is such a process as well, if
    /// it opens the segment by its name: pass it a slice instead.
    pub unsafe fn create_named(name: &str, len: usize) -> Result<Self, TaskError>
    where
        T: SharedElement,
    {
        let bytes = len.checked_mul(size_of::<T>());
        let bytes = bytes.ok_or(TaskError::OutOfSharedMemory { requested: u64::MAX, available: 0 })?;
        Ok(Self { raw: Raw::of_named(Named::create(name, bytes)?)?, number: 0 })
    }

    /// The segment of that name, made by [`create_named`](SharedVec::create_named) or by another program.
    ///
    /// The name stays when the `SharedVec` is dropped. Its length is that of the segment.
    ///
    /// # Errors
    ///
    /// [`TaskError::Named`] if there is none, it may not be opened, this process has it open already, or it does not hold a whole number of `T`;
    /// [`TaskError::OutOfSharedMemory`] if its maker has not reserved its memory, and `/dev/shm` is too small for it.
    ///
    /// # Safety
    ///
    /// As for [`create_named`](SharedVec::create_named): other processes have it too.
    pub unsafe fn open_named(name: &str) -> Result<Self, TaskError>
    where
        T: SharedElement,
    {
        Ok(Self { raw: Raw::of_named(Named::open(name)?)?, number: 0 })
    }
}

impl<T: Pod> SharedVec<T> {
    /// Turns it into a slice that many can read and none can change.
    pub fn share(self) -> SharedSlice<T> {
        if let Memory::Object(handle) = &self.raw.memory {
            local_handles::share(handle, self.number);
        }
        SharedSlice::new(self.raw.clone())
    }

    /// The exclusive owner of these elements, if there is no other.
    fn own(raw: Raw<T>) -> Option<Self> {
        let number = match &raw.memory {
            Memory::Object(handle) => handle.own()?,
            Memory::None | Memory::Named(_) => 0,
            #[cfg(feature = "dask")]
            Memory::Blob(_) => return None,
        };
        Some(Self { raw, number })
    }
}

impl<T> Drop for SharedVec<T> {
    fn drop(&mut self) {
        // One that is moved out of by `share` is not the owner any more; otherwise the object has none now.
        if let Memory::Object(handle) = &self.raw.memory {
            handle.drop_owner(self.number);
        }
    }
}

impl<T> Deref for SharedVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.raw.slice()
    }
}

impl<T> DerefMut for SharedVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `Raw::slice`; this is the only owner of these elements, and it is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.raw.start.as_ptr(), self.raw.len) }
    }
}

impl<T: Pod> Serialize for SharedVec<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.encode(serializer, Some(self.number))
    }
}

/// Writes one that is an argument or a result of its own, where nothing else can refer to it.
pub(crate) fn send_unshared<T: Pod>(vec: &SharedVec<T>, writer: &mut Writer<'_>) -> Result<(), CodecError> {
    let handle = match &vec.raw.memory {
        Memory::Object(handle) if writer.purpose.shares_objects() => handle,
        _ => {
            writer.put([AS_VALUE]);
            return codec::encode(vec, writer);
        }
    };
    let bytes = size_of_val(&**vec) as u64;
    let entry = handle_table::send_owner(handle, vec.number, bytes, writer)?;
    writer.put([AS_ENTRY]);
    writer.put((vec.len() as u64).to_ne_bytes());
    writer.put(entry);
    Ok(())
}

/// Reads what [`send_unshared`] has written.
pub(crate) fn receive_unshared<T: Pod>(reader: &mut Reader<'_>) -> Result<SharedVec<T>, CodecError> {
    if reader.take_u8()? == AS_VALUE {
        return codec::decode(reader);
    }
    let len = usize::try_from(u64::from_ne_bytes(reader.take()?)).map_err(CodecError::mismatch)?;
    let entry = reader.take()?;
    let source = reader.source().ok_or_else(|| CodecError::new("a `SharedVec` came where there can be none"))?;
    let ticket = source.accept(entry)?;
    let given = GIVEN.take(ticket).ok_or_else(|| CodecError::new("a `SharedVec` was lost"))?;
    let handle = local_handles::named(given.id, given.nonce, Kind::Vec).map_err(CodecError::new)?;
    let raw = Raw::of(handle, len).ok_or_else(|| CodecError::new("the shared memory behind this handle is another"))?;
    SharedVec::own(raw).ok_or_else(|| CodecError::new(OWNED))
}

/// How one that is unshared is written.
const AS_VALUE: u8 = 0;
const AS_ENTRY: u8 = 1;

const OWNED: &str = "this `SharedVec` has an owner already";

impl<'de, T: Pod> Deserialize<'de> for SharedVec<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (raw, given) = Raw::decode(deserializer, Kind::Vec)?;
        if let Some(given) = given {
            if given.copied {
                return Err(de::Error::custom(
                    "a `SharedVec` has one owner, so it can be taken out of a container but not read in it: store a `SharedSlice` (`share()`)",
                ));
            }
            if !given.exclusive {
                return Err(de::Error::custom("this handle is not that of an owner"));
            }
        }
        Self::own(raw).ok_or_else(|| de::Error::custom(OWNED))
    }
}

macro_rules! like_a_slice {
    ($($type:ident),*) => {$(
        impl<T> AsRef<[T]> for $type<T> {
            fn as_ref(&self) -> &[T] {
                self
            }
        }
        impl<T: fmt::Debug> fmt::Debug for $type<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&**self, f)
            }
        }
        impl<T: PartialEq, O: AsRef<[T]> + ?Sized> PartialEq<O> for $type<T> {
            fn eq(&self, other: &O) -> bool {
                **self == *other.as_ref()
            }
        }
        impl<T: Eq> Eq for $type<T> {}
        impl<'a, T> IntoIterator for &'a $type<T> {
            type Item = &'a T;
            type IntoIter = std::slice::Iter<'a, T>;
            fn into_iter(self) -> Self::IntoIter {
                self.iter()
            }
        }
        impl<T: Pod> From<&[T]> for $type<T> {
            fn from(elements: &[T]) -> Self {
                Self::from_slice(elements)
            }
        }
        impl<T: Pod, const N: usize> From<[T; N]> for $type<T> {
            fn from(elements: [T; N]) -> Self {
                Self::from_slice(&elements)
            }
        }
        impl<T: Pod> From<Vec<T>> for $type<T> {
            fn from(elements: Vec<T>) -> Self {
                Self::from_slice(&elements)
            }
        }
        impl<T: Pod> FromIterator<T> for $type<T> {
            /// The elements are gathered in private memory first, since their number is not known.
            fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
                Self::from_slice(&elements.into_iter().collect::<Vec<T>>())
            }
        }
    )*};
}
like_a_slice!(SharedVec, SharedSlice);

impl<T> AsMut<[T]> for SharedVec<T> {
    fn as_mut(&mut self) -> &mut [T] {
        self
    }
}

impl<'a, T> IntoIterator for &'a mut SharedVec<T> {
    type Item = &'a mut T;
    type IntoIter = std::slice::IterMut<'a, T>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<T> SharedSlice<T> {
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
        SharedVec::from_slice(elements).share()
    }

    /// [`from_slice`](SharedSlice::from_slice), with an error if shared memory is short.
    pub fn try_from_slice(elements: &[T]) -> Result<Self, TaskError>
    where
        T: SharedElement,
    {
        SharedVec::try_from_slice(elements).map(SharedVec::share)
    }
}

impl<T: Pod> From<SharedVec<T>> for SharedSlice<T> {
    fn from(vec: SharedVec<T>) -> Self {
        vec.share()
    }
}
