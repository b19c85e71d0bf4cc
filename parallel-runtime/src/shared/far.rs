//! Elements in shared memory, sent to another machine.
//!
//! No handle means anything there. So a buffer is sent as its bytes; and a large one that nothing changes any more as the name of a file in
//! `/dev/shm`, which is put there once, for all tasks on that machine, before the first of them begins: a *blob*.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::Pod;
use serde::de::{self, DeserializeSeed, SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserializer, Serialize, Serializer};

use super::blob::{Blob, name_of};
use super::objects;
use super::raw::{Memory, Raw};
use super::space::Space;
use super::tables::Kind;
use crate::codec::{CodecError, Reader, Writer};
use crate::shared::handle_table;
use crate::sys::role;

/// Instead of the number of an object: what follows comes from another machine.
const FAR: u32 = u32::MAX;

/// What follows are the elements themselves.
const BYTES: u64 = 0;

/// What follows is the name of a blob.
const BLOB: u64 = 1;

/// A buffer of so many bytes that nothing changes is sent as a blob.
pub(crate) const LARGE: usize = 64 << 10;

struct Bytes<'b>(&'b [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<T: Pod> Raw<T> {
    /// Encodes it for another machine. `unchanging`: nothing changes it any more.
    pub(super) fn encode_far<S: Serializer>(&self, serializer: S, unchanging: bool) -> Result<S::Ok, S::Error> {
        let bytes = bytemuck::cast_slice::<T, u8>(self.slice());
        let handle = match &self.memory {
            // A result has no program that would bring it anywhere.
            Memory::Object(handle) if unchanging && bytes.len() >= LARGE && !role::in_worker() => Some(handle),
            _ => None,
        };
        let mut tuple = serializer.serialize_tuple(3)?;
        tuple.serialize_element(&(self.len as u64))?;
        match handle {
            Some(handle) => {
                handle_table::note_blob(handle);
                handle_table::count_shared(bytes.len() as u64);
                tuple.serialize_element(&Some((FAR, BLOB)))?;
                tuple.serialize_element(&name_of(handle, handle_table::far_pool()))?;
            }
            None => {
                tuple.serialize_element(&Some((FAR, BYTES)))?;
                tuple.serialize_element(&Bytes(bytes))?;
            }
        }
        tuple.end()
    }
}

impl<T: Pod> Raw<T> {
    /// Decodes what came from this machine or from another one.
    pub(super) fn decode<'de, D: Deserializer<'de>>(deserializer: D, kind: Kind) -> Result<Self, D::Error> {
        match Elements::decode(deserializer)? {
            Elements::Here(len, reference) => Self::of_reference(len, reference, kind),
            Elements::Sent(raw) => Ok(raw),
        }
    }
}

/// What a buffer was encoded as.
enum Elements<T> {
    /// How many there are, and the object that they are in.
    Here(u64, Option<(u32, u64)>),
    Sent(Raw<T>),
}

impl<T: Pod> Elements<T> {
    fn decode<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple(3, ElementsVisitor(PhantomData))
    }
}

struct ElementsVisitor<T>(PhantomData<T>);

impl<'de, T: Pod> Visitor<'de> for ElementsVisitor<T> {
    type Value = Elements<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a buffer of shared memory")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Elements<T>, A::Error> {
        let missing = || de::Error::custom("the data of a buffer ended early");
        let len: u64 = parts.next_element()?.ok_or_else(missing)?;
        let reference: Option<(u32, u64)> = parts.next_element()?.ok_or_else(missing)?;
        let form = match reference {
            Some((FAR, form)) => form,
            here => return Ok(Elements::Here(len, here)),
        };
        let len = usize::try_from(len).map_err(de::Error::custom)?;
        if form == BYTES {
            let raw = parts.next_element_seed(Copied { len, elements: PhantomData })?.ok_or_else(missing)?;
            return Ok(Elements::Sent(raw));
        }
        let name: String = parts.next_element()?.ok_or_else(missing)?;
        let blob = Blob::open(&name).map_err(de::Error::custom)?;
        let start = blob.at::<T>(0, len).ok_or_else(|| de::Error::custom("the shared data is shorter than it was"))?;
        // SAFETY: `at` has checked that the elements lie inside the blob, aligned; nothing writes it, and any bytes are a `T`.
        Ok(Elements::Sent(unsafe { Raw::of_blob(start, len, Memory::Blob(blob)) }))
    }
}

/// Bytes, copied into shared memory of this machine.
struct Copied<T> {
    len: usize,
    elements: PhantomData<T>,
}

impl<'de, T: Pod> DeserializeSeed<'de> for Copied<T> {
    type Value = Raw<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw<T>, D::Error> {
        deserializer.deserialize_byte_buf(self)
    }
}

impl<T: Pod> Visitor<'_> for Copied<T> {
    type Value = Raw<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a buffer")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Raw<T>, E> {
        if self.len.checked_mul(size_of::<T>()) != Some(bytes.len()) {
            return Err(E::custom("the bytes of a buffer are not as many as its elements take"));
        }
        let (raw, _) = Raw::<T>::new(self.len).map_err(E::custom)?;
        // SAFETY: the memory was just made for so many bytes, and nothing else knows of it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), raw.start.as_ptr().cast(), bytes.len()) };
        Ok(raw)
    }
}

/// Writes the name of the blob that a slice lies in, if it is part of a large buffer that nothing changes any more. Before it are written the
/// length, as of a slice that is lent, and a mark.
pub(super) fn send_slice<E: Pod>(slice: &[E], [len, mark]: [u64; 2], writer: &mut Writer<'_>) -> bool {
    let Some(space) = Space::existing().filter(|_| !role::in_worker()) else { return false };
    let handle = space.offset_of(slice.as_ptr()).filter(|_| size_of_val(slice) >= LARGE).and_then(objects::at);
    let Some(handle) = handle.filter(|handle| handle.is_shared()) else { return false };
    let Some(offset) = space.offset_of(slice.as_ptr()).map(|offset| offset - handle.reference().offset) else {
        return false;
    };
    writer.put(len.to_ne_bytes());
    writer.put(mark.to_ne_bytes());
    let place = (name_of(&handle, handle_table::far_pool()), offset);
    if crate::codec::encode(&place, writer).is_err() {
        return false;
    }
    handle_table::note_blob(&handle);
    handle_table::count_shared(size_of_val(slice) as u64);
    true
}

/// Worker: the blobs in which slices lie that the message at hand was given, and which message that is.
static KEPT: Mutex<Vec<(u64, Arc<Blob>)>> = Mutex::new(Vec::new());

/// Worker: the address of the elements of a slice that was sent by [`send_slice`], in a mapping that stays as long as the message is run.
pub(super) fn receive_slice<E>(reader: &mut Reader<'_>, len: usize) -> Result<NonNull<E>, CodecError> {
    let (name, offset): (String, u64) = crate::codec::decode(reader)?;
    let blob = Blob::open(&name)?;
    let start = blob.at(offset, len).ok_or_else(|| CodecError::new("the shared data is shorter than it was"))?;
    let message = handle_table::message();
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    kept.retain(|(used, other)| *used == message || Arc::ptr_eq(other, &blob));
    kept.push((message, blob));
    Ok(start)
}
