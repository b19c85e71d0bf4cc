//! Elements in shared memory, and what keeps them there: what `SharedVec` and `SharedSlice` are made of.

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::Arc;

use bytemuck::Pod;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::handle::Handle;
use super::local_handles;
use super::named::Named;
use super::offer::{Claim, Elements, Given, Offer};
use super::space::Space;
use super::tables::Kind;
use crate::codec::CodecError;
use crate::error::TaskError;
use crate::sys::role;
use crate::sys::segment::ALIGNMENT;

/// What a [`SharedVec`](crate::SharedVec) can hold: plain data (`bytemuck`'s `Pod`), any bytes of which are a value.
///
/// Numbers are, and arrays of them. A struct of such becomes plain by a derive, with the crate `bytemuck` and its feature `derive`:
///
/// ```
/// use bytemuck::{Pod, Zeroable};
/// use parallel_runtime::SharedVec;
///
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// #[repr(C)]
/// struct Point {
///     x: f64,
///     y: f64,
/// }
///
/// let points = SharedVec::<Point>::zeroed(1000);
/// assert_eq!(points[999].y, 0.0);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an element of a `SharedVec`, `SharedSlice` or `SharedArray`",
    label = "not plain data",
    note = "a struct of numbers becomes plain by `#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)] #[repr(C)]`, with `bytemuck = {{ version = \"1\", features = [\"derive\"] }}` in Cargo.toml",
    note = "elements of any serialisable type go into a `SharedList`"
)]
pub trait SharedElement: Pod {}

#[diagnostic::do_not_recommend]
impl<T: Pod> SharedElement for T {}

/// Elements and what keeps them.
pub(super) struct Raw<T> {
    pub(super) start: NonNull<T>,
    pub(super) len: usize,
    pub(super) memory: Memory,
    _elements: PhantomData<T>,
}

#[derive(Clone)]
pub(super) enum Memory {
    /// Without elements, or with elements of no size.
    None,
    Object(Arc<Handle>),
    Named(Arc<Named>),
    /// What was sent from another machine.
    #[cfg(feature = "dask")]
    Blob(Arc<super::blob::Blob>),
}

// SAFETY: it owns its elements, or shares them with other processes by handles that any thread may use.
unsafe impl<T: Send> Send for Raw<T> {}
// SAFETY: shared access reads the elements, and the handles may be shared.
unsafe impl<T: Sync> Sync for Raw<T> {}

impl<T> Clone for Raw<T> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), ..*self }
    }
}

impl<T> Raw<T> {
    pub(super) fn slice(&self) -> &[T] {
        // SAFETY: `start` and `len` were checked when this was made: the elements lie in memory that `memory` keeps, aligned and
        // initialised. Who may write them is up to `SharedVec` and `SharedSlice`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Pod> Raw<T> {
    const EMPTY: Self = Self { start: NonNull::dangling(), len: 0, memory: Memory::None, _elements: PhantomData };

    const IS_ALIGNED: () = assert!(align_of::<T>() <= ALIGNMENT, "elements are aligned to 2 MiB at most");

    /// Room for `len` elements, and whether it reads as zeros.
    pub(super) fn new(len: usize) -> Result<(Self, bool), TaskError> {
        let () = Self::IS_ALIGNED;
        let Some(bytes) = len.checked_mul(size_of::<T>()).map(|bytes| bytes as u64) else {
            return Err(TaskError::OutOfSharedMemory { requested: u64::MAX, available: 0 });
        };
        if bytes == 0 {
            return Ok((Self { len, ..Self::EMPTY }, true));
        }
        let (handle, zeroed) = local_handles::create(bytes, align_of::<T>() as u64, Kind::Vec)?;
        let raw = Self::of(handle, len).ok_or(TaskError::OutOfSharedMemory { requested: bytes, available: 0 })?;
        Ok((raw, zeroed))
    }

    /// The elements of an object, if it holds so many.
    pub(super) fn of(handle: Arc<Handle>, len: usize) -> Option<Self> {
        let reference = handle.reference();
        let bytes = len.checked_mul(size_of::<T>())? as u64;
        let start = Space::existing()?.at(reference.offset, bytes)?.cast::<T>();
        let fits = bytes <= reference.len && start.is_aligned();
        fits.then_some(Self { start, len, memory: Memory::Object(handle), _elements: PhantomData })
    }

    pub(super) fn of_named(named: Arc<Named>) -> Result<Self, TaskError> {
        let (start, bytes) = (named.start().cast::<T>(), named.len());
        let len = bytes.checked_div(size_of::<T>()).unwrap_or(0);
        if len * size_of::<T>() != bytes || !start.is_aligned() {
            let source = std::io::Error::other(format!(
                "its {bytes} bytes are not a whole number of `{}`, or lie at a wrong alignment",
                std::any::type_name::<T>()
            ));
            return Err(TaskError::Named { name: named.name().to_owned(), source });
        }
        Ok(Self { start, len, memory: Memory::Named(named), _elements: PhantomData })
    }

    /// Writes it: as a handle, or as what it holds where no handle means anything. `owner`: the number of its exclusive owner, if it has one.
    pub(super) fn encode<S: Serializer>(&self, serializer: S, owner: Option<u32>) -> Result<S::Ok, S::Error> {
        (self.len as u64, self.offer(owner)).serialize(serializer)
    }

    fn offer(&self, owner: Option<u32>) -> Option<Offer> {
        let (handle, refusal) = match &self.memory {
            Memory::None => return None,
            Memory::Object(handle) => (Some(Arc::clone(handle)), None),
            #[cfg(feature = "dask")]
            Memory::Blob(_) => (None, Some(
                "a `SharedSlice` that came from another machine cannot be put into a container: copy it (`SharedSlice::from_slice`)".to_owned(),
            )),
            Memory::Named(named) => (None, Some(format!(
                "the named segment `{}` stays with this process: pass a slice of it, or open it by its name",
                named.name()
            ))),
        };
        Some(Offer { handle, owner, elements: Some(Elements::new(self.slice(), owner.is_none())), refusal })
    }

    /// Reads it. Says whether it came with its exclusive owner, and whether what it came from keeps it.
    pub(super) fn decode<'de, D: Deserializer<'de>>(
        deserializer: D,
        kind: Kind,
    ) -> Result<(Self, Option<Given>), D::Error> {
        let (len, claim) = <(u64, Option<Claim>)>::deserialize(deserializer)?;
        let len = usize::try_from(len).map_err(de::Error::custom)?;
        match claim {
            None if len != 0 && size_of::<T>() != 0 => Err(de::Error::custom("a buffer with elements has memory")),
            None => Ok((Self { len, ..Self::EMPTY }, None)),
            Some(Claim::Given(given)) => {
                let handle = local_handles::named(given.id, given.nonce, kind).map_err(de::Error::custom)?;
                let raw = Self::of(handle, len);
                let raw = raw.ok_or_else(|| de::Error::custom("the shared memory behind this handle is another"))?;
                Ok((raw, Some(given)))
            }
            Some(Claim::Bytes(bytes)) => {
                if len.checked_mul(size_of::<T>()) != Some(bytes.len()) {
                    return Err(de::Error::custom("the bytes of a buffer are not as many as its elements take"));
                }
                let (raw, _) = Self::new(len).map_err(de::Error::custom)?;
                // SAFETY: the memory was just made for so many bytes, and nothing else knows of it.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), raw.start.as_ptr().cast(), bytes.len()) };
                Ok((raw, None))
            }
            // What a worker sends back may name any file.
            Some(Claim::Blob(_)) if !role::in_worker() => {
                Err(de::Error::custom("a result does not lie on this machine"))
            }
            Some(Claim::Blob(name)) => Self::open_blob(&name, len).map(|raw| (raw, None)).map_err(de::Error::custom),
        }
    }

    #[cfg(feature = "dask")]
    fn open_blob(name: &str, len: usize) -> Result<Self, CodecError> {
        let blob = super::blob::Blob::open(name)?;
        let start = blob.at::<T>(0, len).ok_or_else(|| CodecError::new("the shared data is shorter than it was"))?;
        Ok(Self { start, len, memory: Memory::Blob(blob), _elements: PhantomData })
    }

    #[cfg(not(feature = "dask"))]
    fn open_blob(_name: &str, _len: usize) -> Result<Self, CodecError> {
        Err(CodecError::new("it comes from another machine, for which the feature `dask` is needed"))
    }
}
