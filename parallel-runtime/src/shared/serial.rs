//! Handles that hold nothing that could be sent instead, as values.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::handle::Handle;
use super::local_handles;
use super::offer::{Claim, Offer};
use super::tables::Kind;

/// Writes a handle.
pub(super) fn encode<S: Serializer>(handle: &Arc<Handle>, serializer: S) -> Result<S::Ok, S::Error> {
    Offer { handle: Some(Arc::clone(handle)), owner: None, elements: None, refusal: None }.serialize(serializer)
}

/// Reads a handle of a kind.
pub(super) fn decode<'de, D: Deserializer<'de>>(deserializer: D, kind: Kind) -> Result<Arc<Handle>, D::Error> {
    let Claim::Given(given) = Claim::deserialize(deserializer)? else {
        return Err(de::Error::custom("there is something else than a handle of shared memory"));
    };
    local_handles::named(given.id, given.nonce, kind).map_err(de::Error::custom)
}
