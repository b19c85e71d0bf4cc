//! What can stand behind a reference, and how it travels.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::{CodecError, Reader, Writer, cargo};
use crate::private::{ProcessReferent, ProcessReferentMut, ProcessValue};

impl<T: ProcessValue> ProcessReferent for T {
    type Held = T;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        cargo::lending(|| super::encode(self, writer))
    }
    fn receive(reader: &mut Reader<'_>) -> Result<T, CodecError> {
        super::decode(reader)
    }
    fn lend(held: &T) -> &T {
        held
    }
}

impl<T: ProcessValue> ProcessReferentMut for T {
    fn lend_mut(held: &mut T) -> &mut T {
        held
    }
    fn assign(&mut self, held: T) -> Result<(), CodecError> {
        *self = held;
        Ok(())
    }
}

impl<E: ProcessValue> ProcessReferent for [E] {
    type Held = Vec<E>;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        cargo::lending(|| super::encode(self, writer))
    }
    fn receive(reader: &mut Reader<'_>) -> Result<Vec<E>, CodecError> {
        super::decode(reader)
    }
    fn lend(held: &Vec<E>) -> &[E] {
        held
    }
}

impl<E: ProcessValue> ProcessReferentMut for [E] {
    fn lend_mut(held: &mut Vec<E>) -> &mut [E] {
        held
    }
    fn assign(&mut self, held: Vec<E>) -> Result<(), CodecError> {
        if held.len() != self.len() {
            return Err(CodecError::new(format_args!(
                "a slice of {} elements came back as {}",
                self.len(),
                held.len()
            )));
        }
        for (target, value) in self.iter_mut().zip(held) {
            *target = value;
        }
        Ok(())
    }
}

impl ProcessReferent for str {
    type Held = String;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        super::encode(self, writer)
    }
    fn receive(reader: &mut Reader<'_>) -> Result<String, CodecError> {
        super::decode(reader)
    }
    fn lend(held: &String) -> &str {
        held
    }
}

fn send_bytes(bytes: &[u8], writer: &mut Writer<'_>) {
    writer.put((bytes.len() as u64).to_ne_bytes());
    writer.put_slice(bytes);
}

fn receive_bytes(reader: &mut Reader<'_>) -> Result<Vec<u8>, CodecError> {
    let len = reader.take_len(1)?;
    reader.take_plain(len)
}

impl ProcessReferent for OsStr {
    type Held = OsString;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        send_bytes(self.as_bytes(), writer);
        Ok(())
    }
    fn receive(reader: &mut Reader<'_>) -> Result<OsString, CodecError> {
        receive_bytes(reader).map(OsString::from_vec)
    }
    fn lend(held: &OsString) -> &OsStr {
        held
    }
}

impl ProcessReferent for Path {
    type Held = PathBuf;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        self.as_os_str().send(writer)
    }
    fn receive(reader: &mut Reader<'_>) -> Result<PathBuf, CodecError> {
        <OsStr as ProcessReferent>::receive(reader).map(PathBuf::from)
    }
    fn lend(held: &PathBuf) -> &Path {
        held
    }
}

impl ProcessReferent for CStr {
    type Held = CString;
    fn send(&self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        send_bytes(self.to_bytes(), writer);
        Ok(())
    }
    fn receive(reader: &mut Reader<'_>) -> Result<CString, CodecError> {
        CString::new(receive_bytes(reader)?).map_err(CodecError::new)
    }
    fn lend(held: &CString) -> &CStr {
        held
    }
}
