//! `SharedSlice`.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::raw::{Memory, Raw};
use super::statics::{self, Object, SharedObject};
use super::tables::Kind;

/// Plain data in shared memory that is read-only, like an `Arc<[T]>`: one large table for every worker.
///
/// A clone is another handle of the same memory. In a task's arguments it travels as a handle; a part of it that is passed as
/// `&[T]` is passed by its place.
///
/// ```
/// use parallel_runtime::{SharedSlice, SharedVec, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn look_up(table: SharedSlice<u32>, index: usize) -> u32 {
///     table[index]
/// }
///
/// let table = SharedVec::from_fn(1000, |index| index as u32 * 3).share();
/// let found = look_up::map((0..4).map(|index| (table.clone(), index)));
/// assert_eq!(found, [0, 3, 6, 9]);
/// ```
///
/// As with an `Arc<[T]>`, what is sent to another thread must be `Send` and `Sync`:
///
/// ```compile_fail,E0277
/// use std::cell::Cell;
/// use std::marker::PhantomData;
///
/// use parallel_runtime::SharedSlice;
///
/// #[derive(Clone, Copy)]
/// struct NotSync(PhantomData<Cell<u8>>);
///
/// fn send<T: Send>() {}
/// send::<SharedSlice<NotSync>>();
/// ```
#[doc(alias("SharedMemory"))]
pub struct SharedSlice<T> {
    pub(super) raw: Raw<T>,
    /// Other threads may have clones.
    _shared: PhantomData<Arc<T>>,
}

impl<T> SharedSlice<T> {
    pub(super) fn new(raw: Raw<T>) -> Self {
        Self { raw, _shared: PhantomData }
    }
}

impl<T> SharedSlice<T> {
    /// A number that is the same for all handles of this memory, in the program and in all workers, and no other slice's as long as a handle of it
    /// exists. What a worker keeps can remember by it what it has made of a slice; if it keeps a clone, too, the number stays what it is. Slices
    /// without elements have 0.
    ///
    /// ```
    /// use std::collections::HashMap;
    ///
    /// use parallel_runtime::{SharedSlice, SharedVec, parallel};
    ///
    /// /// By the number of a document: a handle of it, and where its lines begin.
    /// type Index = HashMap<u64, (SharedSlice<u8>, Vec<usize>)>;
    ///
    /// #[parallel(mode = "process", pool = 2, state = Index::new)]
    /// fn line(#[worker] index: &mut Index, document: SharedSlice<u8>, line: usize) -> String {
    ///     let (document, starts) = index.entry(document.id()).or_insert_with(|| {
    ///         let ends = document.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(end, _)| end + 1);
    ///         let starts = std::iter::once(0).chain(ends).collect();
    ///         (document, starts)
    ///     });
    ///     let line = document[starts[line]..].split(|byte| *byte == b'\n').next().unwrap_or_default();
    ///     String::from_utf8_lossy(line).into_owned()
    /// }
    ///
    /// let document = SharedVec::from_slice(b"one\ntwo\nthree").share();
    /// assert_eq!(line::map([2, 0].map(|number| (document.clone(), number))), ["three", "one"]);
    /// assert_eq!(document.id(), document.clone().id());
    /// ```
    pub fn id(&self) -> u64 {
        match &self.raw.memory {
            Memory::None => 0,
            Memory::Object(handle) => handle.reference().nonce,
            // It stays with this process.
            Memory::Named(_) => self.raw.start.addr().get() as u64,
            #[cfg(feature = "dask")]
            Memory::Blob(blob) => blob.id(),
        }
    }
}

impl<T> Clone for SharedSlice<T> {
    fn clone(&self) -> Self {
        Self::new(self.raw.clone())
    }
}

impl<T> Deref for SharedSlice<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        self.raw.slice()
    }
}

#[cfg(test)]
impl<T> SharedSlice<T> {
    pub(super) fn reference_for_tests(&self) -> super::handle::Reference {
        match &self.raw.memory {
            Memory::Object(handle) => handle.reference(),
            _ => panic!("it has no object"),
        }
    }
}

#[cfg(feature = "arrow")]
impl<T> SharedSlice<T> {
    /// What no other object has, if there is one.
    pub(super) fn nonce(&self) -> Option<u64> {
        match &self.raw.memory {
            Memory::Object(handle) => Some(handle.reference().nonce),
            _ => None,
        }
    }
}

impl<T: Pod> Serialize for SharedSlice<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.raw.encode(serializer, None)
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedSlice<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (raw, _) = Raw::decode(deserializer, Kind::Slice)?;
        if let Memory::Object(handle) = &raw.memory
            && !handle.mark_shared()
        {
            return Err(de::Error::custom("this shared memory has an exclusive owner"));
        }
        Ok(Self::new(raw))
    }
}

impl<T: Pod> SharedObject for SharedSlice<T> {
    const MARK: u64 = statics::mark(Kind::Slice, 0);
    fn to_object(&self) -> Object {
        match &self.raw.memory {
            Memory::Object(handle) => Object(Arc::clone(handle)),
            _ => panic!("a `#[shared]` slice has elements, and no name"),
        }
    }
    fn from_object(object: Object) -> Self {
        let len = (object.0.reference().len as usize).checked_div(size_of::<T>()).unwrap_or(0);
        object.0.mark_shared();
        Self::new(Raw::of(object.0, len).expect("the object of a static is of its type"))
    }
}
