//! How results fail whose errors serde does not know: as [`RemoteError`].

use std::error::Error;
use std::io;

use serde::{Serialize, de::DeserializeOwned};

use crate::codec::{self, CodecError, Reader, Writer};
use crate::error::RemoteError;

const OK: u8 = 0;
const FAILED: u8 = 1;

fn send<T: Serialize>(result: Result<&T, RemoteError>, writer: &mut Writer<'_>) -> Result<(), CodecError> {
    match result {
        Ok(value) => {
            writer.put([OK]);
            codec::encode(value, writer)
        }
        Err(error) => {
            writer.put([FAILED]);
            codec::encode(&error, writer)
        }
    }
}

/// Reads a result whose error is made of a [`RemoteError`].
pub(super) fn receive<T: DeserializeOwned, E: From<RemoteError>>(
    reader: &mut Reader<'_>,
) -> Result<Result<T, E>, CodecError> {
    match reader.take_u8()? {
        OK => codec::decode(reader).map(Ok),
        FAILED => codec::decode::<RemoteError>(reader).map(|error| Err(error.into())),
        other => Err(CodecError::mismatch(format_args!("{other} is neither a value nor an error"))),
    }
}

/// Writes a result whose error holds one of any type: `anyhow::Error`, `eyre::Report`, a box.
pub(super) fn send_dynamic<T: Serialize, E: AsRef<dyn Error + Send + Sync>>(
    result: &Result<T, E>,
    writer: &mut Writer<'_>,
) -> Result<(), CodecError> {
    send(result.as_ref().map_err(|error| RemoteError::new(error.as_ref())), writer)
}

pub(super) fn send_io<T: Serialize>(result: &io::Result<T>, writer: &mut Writer<'_>) -> Result<(), CodecError> {
    send(result.as_ref().map_err(|error| RemoteError::new(error)), writer)
}
