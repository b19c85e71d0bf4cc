//! What can stand behind a reference, and how it travels.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::plain;
use crate::codec::{self, CodecError, Reader, Writer};
use crate::shared::handle_table;

/// A value that can cross a process border.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross to a worker process",
    label = "not serialisable",
    note = "parameters and results of a `mode = \"process\"` function implement serde's `Serialize` and `Deserialize`, and own their data (or are `&T`, `&str`, `&[T]`, `&mut [T]` parameters)",
    note = "derive them: `#[derive(serde::Serialize, serde::Deserialize)]`, or use `mode = \"thread\"`",
    note = "elements of a `SharedVec`, `SharedSlice`, `SharedArray` or `SharedValue` are plain data (`bytemuck::Pod`); those of a `SharedList`, `SharedDict` or `SharedQueue` are of any serialisable type",
    note = "the error of a result may be `anyhow::Error`, `eyre::Report`, `std::io::Error` or `Box<dyn Error + Send + Sync>`; others become a `RemoteError`: `.map_err(RemoteError::from_error)`",
    note = "for types of other crates their feature `serde` is often needed, and for `Arc` and `Rc` serde's own feature `rc`; instead of what only one process can have (`Instant`, `File`, closures, function pointers) pass what it is made from",
    note = "a generic parameter is bounded by `serde::Serialize + serde::de::DeserializeOwned + Send + 'static`"
)]
pub trait ProcessValue: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> ProcessValue for T {}

/// What can stand behind a reference that crosses a process border.
///
/// # Safety
///
/// `receive` reads what `send` wrote and nothing else: where a lent slice lies, and where a value that many items share lies, stand in
/// the message among the arguments' bytes, and are believed. All implementations are in this file.
#[diagnostic::on_unimplemented(
    message = "`&{Self}` cannot cross to a worker process",
    label = "not serialisable",
    note = "behind a reference, a `mode = \"process\"` function takes serde's `Serialize` and `Deserialize` types, `str`, `Path`, `OsStr`, `CStr`, and slices of plain (`bytemuck::Pod`) or serialisable elements",
    note = "derive them: `#[derive(serde::Serialize, serde::Deserialize)]`, or use `mode = \"thread\"`"
)]
pub unsafe trait ProcessReferent {
    /// What a worker keeps of it while the function runs.
    type Stored;
    /// Encodes it.
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError>;
    /// Decodes it.
    fn receive(reader: &mut Reader<'_>) -> Result<Self::Stored, CodecError>;
    /// The reference that the function takes.
    fn lend(stored: &Self::Stored) -> &Self;
}

/// What can stand behind an exclusive reference that crosses a process border.
///
/// # Safety
///
/// As for [`ProcessReferent`].
#[diagnostic::on_unimplemented(
    message = "`&mut {Self}` cannot cross to a worker process",
    label = "not serialisable, or not of a fixed size",
    note = "behind a `&mut`, a `mode = \"process\"` function takes serde's `Serialize` and `Deserialize` types, and slices of plain (`bytemuck::Pod`) or serialisable elements"
)]
pub unsafe trait ProcessReferentMut: ProcessReferent {
    /// The reference that the function takes.
    fn lend_mut(stored: &mut Self::Stored) -> &mut Self;
    /// Takes over what the function has changed.
    fn assign(&mut self, stored: Self::Stored) -> Result<(), CodecError>;
}

// SAFETY: `send` writes one frame and `receive` reads one; what a type's serde implementations do stays within it.
unsafe impl<T: ProcessValue> ProcessReferent for T {
    type Stored = T;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        handle_table::lending(writer, |writer| codec::encode(self, writer))
    }
    fn receive(reader: &mut Reader<'_>) -> Result<T, CodecError> {
        codec::decode(reader)
    }
    fn lend(stored: &T) -> &T {
        stored
    }
}

// SAFETY: nothing more is sent or received.
unsafe impl<T: ProcessValue> ProcessReferentMut for T {
    fn lend_mut(stored: &mut T) -> &mut T {
        stored
    }
    fn assign(&mut self, stored: T) -> Result<(), CodecError> {
        *self = stored;
        Ok(())
    }
}

// SAFETY: `send` writes one frame and `receive` reads one; what the elements' serde implementations do stays within it.
unsafe impl<E: ProcessValue> ProcessReferent for [E] {
    type Stored = Vec<E>;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        handle_table::lending(writer, |writer| codec::encode(self, writer))
    }
    fn receive(reader: &mut Reader<'_>) -> Result<Vec<E>, CodecError> {
        codec::decode(reader)
    }
    fn lend(stored: &Vec<E>) -> &[E] {
        stored
    }
}

// SAFETY: nothing more is sent or received.
unsafe impl<E: ProcessValue> ProcessReferentMut for [E] {
    fn lend_mut(stored: &mut Vec<E>) -> &mut [E] {
        stored
    }
    fn assign(&mut self, stored: Vec<E>) -> Result<(), CodecError> {
        assign_elements(self, stored)
    }
}

/// Takes over what became of the elements of a slice.
pub(super) fn assign_elements<E>(target: &mut [E], stored: Vec<E>) -> Result<(), CodecError> {
    if stored.len() != target.len() {
        let (before, after) = (target.len(), stored.len());
        return Err(CodecError::new(format_args!("a slice of {before} elements came back as {after}")));
    }
    for (target, value) in target.iter_mut().zip(stored) {
        *target = value;
    }
    Ok(())
}

// SAFETY: `send_elements` writes a length and so many bytes, which `receive_string` reads.
unsafe impl ProcessReferent for str {
    type Stored = String;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        plain::send_elements(self.as_bytes(), writer);
        Ok(())
    }
    fn receive(reader: &mut Reader<'_>) -> Result<String, CodecError> {
        plain::receive_string(reader)
    }
    fn lend(stored: &String) -> &str {
        stored
    }
}

// SAFETY: `receive_os_string` reads what `send_os_str` writes.
unsafe impl ProcessReferent for OsStr {
    type Stored = OsString;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        plain::send_os_str(self, writer);
        Ok(())
    }
    fn receive(reader: &mut Reader<'_>) -> Result<OsString, CodecError> {
        plain::receive_os_string(reader)
    }
    fn lend(stored: &OsString) -> &OsStr {
        stored
    }
}

// SAFETY: `receive_path` reads what `send_os_str` writes.
unsafe impl ProcessReferent for Path {
    type Stored = PathBuf;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        plain::send_os_str(self.as_os_str(), writer);
        Ok(())
    }
    fn receive(reader: &mut Reader<'_>) -> Result<PathBuf, CodecError> {
        plain::receive_path(reader)
    }
    fn lend(stored: &PathBuf) -> &Path {
        stored
    }
}

// SAFETY: `send_elements` writes a length and so many bytes, which `receive_c_string` reads.
unsafe impl ProcessReferent for CStr {
    type Stored = CString;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        plain::send_elements(self.to_bytes(), writer);
        Ok(())
    }
    fn receive(reader: &mut Reader<'_>) -> Result<CString, CodecError> {
        plain::receive_c_string(reader)
    }
    fn lend(stored: &CString) -> &CStr {
        stored
    }
}
