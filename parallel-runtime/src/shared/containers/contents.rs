//! Values in a container: how they are packed into bytes, and how handles in them keep their objects.
//!
//! ```text
//! class | hash | length of the key | length of the value | number of handles | handles | key | value
//! ```
//!
//! A container has every object whose handle is in it. The program's records count them: a process says so *before* it puts a value with
//! handles into a container, and after it has taken one out. If it dies in between, the count is too high, never too low.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::heap::{BLOCK_HEAD, Heap, damaged};
use crate::codec::attachment::Purpose;
use crate::codec::{self, CodecError, Reader, Writer, short_name};
use crate::error::TaskError;
use crate::ipc::control::ControlRequest;
use crate::ipc::link;
use crate::shared::handle::{Handle, Reference};
use crate::shared::handle_table::{self, Carried, HandleTable, Origin};
use crate::shared::local_handles;
use crate::shared::objects;
use crate::shared::space::Space;
use crate::sys::role;

const HASH: u64 = BLOCK_HEAD;
const KEY_LEN: u64 = 16;
const VALUE_LEN: u64 = 24;
const HANDLES: u64 = 32;
const REST: u64 = 40;

/// Bytes of a handle.
const HANDLE: u64 = 16;

/// Values up to this size, in bytes, are encoded on the stack.
const ON_STACK: usize = 256;

/// A value as bytes, and the handles in it.
#[derive(Default)]
pub(super) struct Packed {
    bytes: Bytes,
    handles: HandleTable,
}

#[expect(clippy::large_enum_variant, reason = "most values are small, and need no allocation")]
enum Bytes {
    Few([MaybeUninit<u8>; ON_STACK], usize),
    Many(Vec<u8>),
}

impl Default for Bytes {
    fn default() -> Self {
        Self::Few([MaybeUninit::uninit(); ON_STACK], 0)
    }
}

impl Packed {
    /// The handles in it.
    pub(super) fn handles(&self) -> &[Arc<Handle>] {
        &self.handles.entries
    }

    /// It was not put into the container after all: gives the value.
    #[track_caller]
    pub(super) fn unpack<T: DeserializeOwned>(self) -> T {
        unpack(self.as_slice(), Origin::Taken)
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        match &self.bytes {
            // SAFETY: `pack` has written so many bytes, by which they are `u8`.
            Bytes::Few(bytes, len) => unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), *len) },
            Bytes::Many(bytes) => bytes,
        }
    }
}

/// Encodes a value, and gives it back if it need not be gone before the container has it.
///
/// # Panics
///
/// If its `Serialize` fails; if a `SharedVec` in it does not go with it.
#[track_caller]
pub(super) fn pack_and_keep<T: Serialize>(value: T) -> (Packed, Option<T>) {
    let refuse = |error| -> ! {
        panic!("a `{}` cannot be put into a shared container: {error}", short_name(std::any::type_name::<T>()))
    };
    match encode(&value, Purpose::Move, codec::encode) {
        Ok(mut packed) if packed.handles.is_promised() => {
            drop(value);
            packed.handles.settle().unwrap_or_else(|error| refuse(error));
            (packed, None)
        }
        Ok(packed) => (packed, Some(value)),
        Err(error) => refuse(error),
    }
}

/// Encodes a value that goes into a container.
///
/// # Panics
///
/// As [`pack_and_keep`].
#[track_caller]
pub(super) fn pack<T: Serialize>(value: T) -> Packed {
    pack_and_keep(value).0
}

/// Encodes a key that goes into a dictionary.
///
/// # Panics
///
/// As [`pack_and_keep`].
#[track_caller]
pub(super) fn pack_key<T: Serialize>(key: T) -> Packed {
    let refuse = |error| -> ! { panic!("a `{}` cannot be a key: {error}", short_name(std::any::type_name::<T>())) };
    match encode(&key, Purpose::Move, codec::encode_key) {
        Ok(mut packed) => {
            drop(key);
            if packed.handles.is_promised() {
                packed.handles.settle().unwrap_or_else(|error| refuse(error));
            }
            packed
        }
        Err(error) => refuse(error),
    }
}

/// Encodes a key that is looked up, and stays with the caller.
#[track_caller]
pub(super) fn pack_lookup<T: Serialize + ?Sized>(key: &T) -> Packed {
    match encode(key, Purpose::Lend, codec::encode_key) {
        Ok(packed) => packed,
        Err(error) => panic!("a `{}` cannot be a key: {error}", short_name(std::any::type_name::<T>())),
    }
}

#[inline]
fn encode<T: Serialize + ?Sized>(
    value: &T,
    purpose: Purpose,
    write: impl Fn(&T, &mut Writer<'_>) -> Result<(), CodecError>,
) -> Result<Packed, CodecError> {
    let mut few = [MaybeUninit::uninit(); ON_STACK];
    let mut writer = handle_table::carrying(Writer::new(&mut few), purpose);
    write(value, &mut writer)?;
    let len = writer.len();
    if !writer.overflowed() {
        let Carried { handles, .. } = handle_table::take(&mut writer);
        drop(writer);
        return Ok(Packed { bytes: Bytes::Few(few, len), handles: handles.unwrap_or_default() });
    }
    // What it took along is taken anew.
    drop(writer);
    let mut many = Vec::with_capacity(len);
    let mut writer = handle_table::carrying(Writer::new(&mut many.spare_capacity_mut()[..len]), purpose);
    write(value, &mut writer)?;
    if writer.len() != len {
        return Err(CodecError::new("its `Serialize` wrote different amounts of data for the same value"));
    }
    let Carried { handles, .. } = handle_table::take(&mut writer);
    drop(writer);
    // SAFETY: the writer has written `len` bytes into the vector's spare capacity.
    unsafe { many.set_len(len) };
    Ok(Packed { bytes: Bytes::Many(many), handles: handles.unwrap_or_default() })
}

/// Decodes a value.
///
/// # Panics
///
/// If its `Deserialize` fails.
#[track_caller]
pub(super) fn unpack<T: DeserializeOwned>(bytes: &[u8], origin: Origin) -> T {
    // SAFETY: the bytes are private; only copies are made from this reader.
    let mut reader = unsafe { Reader::from_raw(bytes.as_ptr(), bytes.len()) }.receiving(origin.source());
    if !role::has_borrowed_objects() {
        reader = reader.untrusted();
    }
    match codec::decode(&mut reader) {
        Ok(value) => value,
        Err(error) => {
            panic!("a `{}` cannot be read from a shared container: {error}", short_name(std::any::type_name::<T>()))
        }
    }
}

/// The container is about to get these handles.
///
/// # Panics
///
/// If one of their objects is gone.
pub(super) fn announce(container: &Handle, packed: &[&Packed]) {
    let Reference { id: container, nonce: container_nonce, .. } = container.reference();
    let container = (u64::from(container), container_nonce);
    for handle in packed.iter().flat_map(|packed| packed.handles()) {
        let Reference { id, nonce, .. } = handle.reference();
        let object = (u64::from(id), nonce);
        let stored = if role::has_borrowed_objects() {
            link::ask(&ControlRequest::Store { container, object })[0] != 0
        } else {
            objects::store(container, object)
        };
        assert!(stored, "the shared memory behind a handle is gone");
    }
}

/// The container has these handles no more.
pub(super) fn retract(container: &Handle, handles: &[Arc<Handle>]) {
    let container = u64::from(container.reference().id);
    for handle in handles {
        let object = u64::from(handle.reference().id);
        if let Some(space) = Space::existing().filter(|_| role::has_borrowed_objects()) {
            // Before the handles end: see `sweep`.
            space.tables().withdrawn(space.me().place()).fetch_add(1, Ordering::SeqCst);
            link::tell(&ControlRequest::Unstore { container, object });
        } else {
            objects::unstore(container, object, None);
        }
    }
}

/// A copy of what a node holds. Its handles keep their objects until it is dropped.
pub(super) struct Taken {
    pub(super) bytes: Vec<u8>,
    pub(super) handles: Vec<Arc<Handle>>,
}

/// A node: a key and a value, in a block of the heap.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Node(pub(super) u64);

impl Node {
    /// Makes a node. It is the container's once the container's structure reaches it.
    pub(super) fn new(heap: Heap<'_>, hash: u64, key: &Packed, value: &Packed) -> Result<Self, TaskError> {
        let (key_bytes, value_bytes) = (key.as_slice(), value.as_slice());
        let handles = key.handles().len() + value.handles().len();
        let len = REST - BLOCK_HEAD + handles as u64 * HANDLE + (key_bytes.len() + value_bytes.len()) as u64;
        let block = heap.allocate(len)?;
        heap.store(block + HASH, hash);
        heap.store(block + KEY_LEN, key_bytes.len() as u64);
        heap.store(block + VALUE_LEN, value_bytes.len() as u64);
        heap.store(block + HANDLES, handles as u64);
        let mut at = block + REST;
        for handle in key.handles().iter().chain(value.handles()) {
            let Reference { id, nonce, .. } = handle.reference();
            heap.store(at, id.into());
            heap.store(at + 8, nonce);
            at += HANDLE;
        }
        heap.write(at, key_bytes);
        heap.write(at + key_bytes.len() as u64, value_bytes);
        Ok(Self(block))
    }

    pub(super) fn hash(self, heap: Heap<'_>) -> u64 {
        heap.load(self.0 + HASH)
    }

    /// Lengths of key and value, and where the key starts.
    fn parts(self, heap: Heap<'_>) -> (u64, u64, u64) {
        let (key, value, handles) =
            (heap.load(self.0 + KEY_LEN), heap.load(self.0 + VALUE_LEN), heap.load(self.0 + HANDLES));
        let room = (heap.room(self.0) + BLOCK_HEAD).checked_sub(REST);
        let size = handles.checked_mul(HANDLE).and_then(|size| size.checked_add(key)?.checked_add(value));
        if !size.zip(room).is_some_and(|(size, room)| size <= room && heap.may_hold(size)) {
            damaged();
        }
        (key, value, self.0 + REST + handles * HANDLE)
    }

    pub(super) fn has_key(self, heap: Heap<'_>, bytes: &[u8]) -> bool {
        let (key, _, at) = self.parts(heap);
        key == bytes.len() as u64 && heap.equals(at, bytes)
    }

    /// The handles in it, as numbers and nonces of objects.
    fn names(self, heap: Heap<'_>) -> Vec<(u32, u64)> {
        let count = heap.load(self.0 + HANDLES);
        if count == 0 {
            return Vec::new();
        }
        self.parts(heap);
        let each = (0..count).filter_map(|position| {
            let word = |word: u64| heap.load(self.0 + REST + position * HANDLE + word * 8);
            Some((u32::try_from(word(0)).ok()?, word(1)))
        });
        each.collect()
    }

    /// The objects whose handles are in it.
    pub(super) fn objects(self, heap: Heap<'_>) -> impl Iterator<Item = u32> {
        self.names(heap).into_iter().map(|(id, _)| id)
    }

    fn handles(self, heap: Heap<'_>) -> Vec<Arc<Handle>> {
        self.names(heap).into_iter().filter_map(|(id, nonce)| local_handles::pin(id, nonce)).collect()
    }

    /// Copies the value out.
    #[inline]
    pub(super) fn value(self, heap: Heap<'_>) -> Taken {
        let (key, value, at) = self.parts(heap);
        let mut bytes = Vec::new();
        heap.read(at + key, value, &mut bytes);
        Taken { bytes, handles: self.handles(heap) }
    }

    /// Copies the key out.
    pub(super) fn key(self, heap: Heap<'_>) -> Taken {
        let (key, _, at) = self.parts(heap);
        let mut bytes = Vec::new();
        heap.read(at, key, &mut bytes);
        Taken { bytes, handles: self.handles(heap) }
    }
}
