//! How handles are serialised: they offer themselves to the message that they are written into.

use std::fmt;
use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{self, Serialize, Serializer};

use super::exchange::Exchange;
use super::handle::Handle;
use crate::codec::attachment;

/// A handle that is being serialised.
pub(super) struct Offer {
    /// `None` if it stays with this process.
    pub(super) handle: Option<Arc<Handle>>,
    /// The number of the exclusive owner that it is.
    pub(super) owner: Option<u32>,
    /// What it holds, if that can be sent instead.
    pub(super) elements: Option<Elements>,
    /// Why it stays with this process.
    pub(super) refusal: Option<String>,
}

/// Plain data behind a handle that is being serialised, which borrows it as long as it is offered: only the thread that offers it can take it,
/// and does so before it goes on.
pub(super) struct Elements {
    start: *const u8,
    len: usize,
    pub(super) alignment: usize,
    /// Whether nothing changes them any more.
    #[cfg_attr(not(feature = "dask"), expect(dead_code, reason = "all is on this machine"))]
    pub(super) unchanging: bool,
}

// SAFETY: they are only read by the thread that has offered them: see `Exchange::take`.
unsafe impl Send for Elements {}

impl Elements {
    pub(super) fn new<T: bytemuck::Pod>(elements: &[T], unchanging: bool) -> Self {
        let bytes: &[u8] = bytemuck::cast_slice(elements);
        Self { start: bytes.as_ptr(), len: bytes.len(), alignment: align_of::<T>(), unchanging }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// # Safety
    ///
    /// The handle is being serialised, further up the stack of this thread.
    pub(super) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: as the caller promises, the elements that this was made of are borrowed.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

/// What is offered to a writer, on the stack of the thread that serialises it.
pub(super) static OFFERS: Exchange<Offer> = Exchange::new();

/// What is offered by a reader.
pub(super) static GIVEN: Exchange<Given> = Exchange::new();

/// The name of an object, out of the table of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) id: u32,
    pub(super) nonce: u64,
    /// Whether it comes with the object's only owner.
    pub(super) exclusive: bool,
    /// Whether what it comes from keeps it.
    pub(super) copied: bool,
}

impl Serialize for Offer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Ticket(u64);
        impl Serialize for Ticket {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_u64(self.0)
            }
        }
        /// Also if the serialiser panics.
        struct Offered(u64);
        impl Offered {
            fn is_taken(&self) -> bool {
                OFFERS.take(self.0).is_none()
            }
        }
        impl Drop for Offered {
            fn drop(&mut self) {
                OFFERS.take(self.0);
            }
        }
        let elements = self.elements.as_ref().map(|elements| Elements { ..*elements });
        let offer = Self { handle: self.handle.clone(), owner: self.owner, elements, refusal: self.refusal.clone() };
        let offered = Offered(OFFERS.put(offer));
        let written = serializer.serialize_newtype_struct(attachment::NAME, &Ticket(offered.0))?;
        if offered.is_taken() {
            return Ok(written);
        }
        Err(ser::Error::custom(
            "a handle of shared memory means something to this program and its workers only, and this serialiser is another one: pass \
             the handle to a task as it is, or serialise what it holds",
        ))
    }
}

/// What a handle is read from.
pub(super) enum Claim {
    Given(Given),
    /// What it holds.
    Bytes(Vec<u8>),
    /// The name of the blob that holds it.
    Blob(String),
}

impl<'de> Deserialize<'de> for Claim {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ticket;
        impl<'de> Visitor<'de> for Ticket {
            type Value = Claim;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a handle of shared memory")
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Claim, D::Error> {
                // Out of one of serde's buffers.
                deserializer.deserialize_map(self)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Claim, A::Error> {
                let entry: Option<(String, u64)> = entries.next_entry()?;
                let ticket = entry.filter(|(name, _)| name == attachment::NAME).map(|(_, ticket)| ticket);
                self.visit_u64(
                    ticket
                        .ok_or_else(|| de::Error::custom("there is something else than a handle of shared memory"))?,
                )
            }
            fn visit_u64<E: de::Error>(self, ticket: u64) -> Result<Claim, E> {
                GIVEN.take(ticket).map(Claim::Given).ok_or_else(|| {
                    E::custom("a handle of shared memory can be read from what this library has written, and from nothing else")
                })
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Claim, E> {
                Ok(Claim::Bytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Claim, E> {
                Ok(Claim::Bytes(bytes))
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<Claim, E> {
                Ok(Claim::Blob(name.to_owned()))
            }
        }
        deserializer.deserialize_newtype_struct(attachment::NAME, Ticket)
    }
}
