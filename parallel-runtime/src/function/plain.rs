//! Values that are their bytes: numbers, text, paths, and what holds numbers only.

use std::ffi::{CString, OsStr, OsString};
use std::path::PathBuf;

use bytemuck::Pod;

use crate::codec::{CodecError, Reader, Writer};
use crate::sys::files;

type Result<T> = std::result::Result<T, CodecError>;

/// Their number, and the elements.
pub(super) fn send_elements<E: Pod>(elements: &[E], writer: &mut Writer<'_>) {
    writer.put((elements.len() as u64).to_ne_bytes());
    writer.put_slice(bytemuck::cast_slice(elements));
}

pub(super) fn send_slice<E: Pod>(elements: &[E], writer: &mut Writer<'_>) -> Result<()> {
    send_elements(elements, writer);
    Ok(())
}

pub(super) fn receive_elements<E: Pod>(reader: &mut Reader<'_>) -> Result<Vec<E>> {
    let len = reader.take_len(size_of::<E>())?;
    reader.take_plain(len)
}

#[expect(clippy::borrowed_box, reason = "a pass mode has a `&T`")]
pub(super) fn send_boxed<E: Pod>(elements: &Box<[E]>, writer: &mut Writer<'_>) -> Result<()> {
    send_elements(elements, writer);
    Ok(())
}

pub(super) fn receive_boxed<E: Pod>(reader: &mut Reader<'_>) -> Result<Box<[E]>> {
    receive_elements(reader).map(Vec::into_boxed_slice)
}

pub(super) fn send_array<E: Pod, const N: usize>(elements: &[E; N], writer: &mut Writer<'_>) -> Result<()> {
    writer.put_slice(bytemuck::cast_slice(elements));
    Ok(())
}

pub(super) fn receive_array<E: Pod, const N: usize>(reader: &mut Reader<'_>) -> Result<[E; N]> {
    let mut elements = [E::zeroed(); N];
    reader.copy_to(&mut elements)?;
    Ok(elements)
}

/// One that may be too large for a stack.
pub(super) fn receive_boxed_array<E: Pod, const N: usize>(reader: &mut Reader<'_>) -> Result<Box<[E; N]>> {
    let elements = reader.take_plain::<E>(N)?.into_boxed_slice();
    elements.try_into().map_err(|_| CodecError::end_of_data())
}

pub(super) fn send_nothing((): &(), _writer: &mut Writer<'_>) -> Result<()> {
    Ok(())
}

pub(super) fn receive_nothing(_reader: &mut Reader<'_>) -> Result<()> {
    Ok(())
}

pub(super) fn send_bool(value: &bool, writer: &mut Writer<'_>) -> Result<()> {
    writer.put([u8::from(*value)]);
    Ok(())
}

pub(super) fn receive_bool(reader: &mut Reader<'_>) -> Result<bool> {
    match reader.take_u8()? {
        value @ 0..=1 => Ok(value == 1),
        other => Err(CodecError::mismatch(format_args!("{other} is not a bool"))),
    }
}

pub(super) fn send_char(value: &char, writer: &mut Writer<'_>) -> Result<()> {
    writer.put(u32::from(*value).to_ne_bytes());
    Ok(())
}

pub(super) fn receive_char(reader: &mut Reader<'_>) -> Result<char> {
    let code = reader.take_number::<u32>()?;
    char::from_u32(code).ok_or_else(|| CodecError::mismatch(format_args!("{code:#x} is not a char")))
}

pub(super) fn send_string(text: &String, writer: &mut Writer<'_>) -> Result<()> {
    send_elements(text.as_bytes(), writer);
    Ok(())
}

pub(super) fn receive_string(reader: &mut Reader<'_>) -> Result<String> {
    String::from_utf8(receive_elements(reader)?).map_err(CodecError::mismatch)
}

pub(super) fn send_c_string(text: &CString, writer: &mut Writer<'_>) -> Result<()> {
    send_elements(text.as_bytes(), writer);
    Ok(())
}

pub(super) fn receive_c_string(reader: &mut Reader<'_>) -> Result<CString> {
    CString::new(receive_elements::<u8>(reader)?).map_err(CodecError::mismatch)
}

/// Which need not be UTF-8.
pub(super) fn send_os_str(text: &OsStr, writer: &mut Writer<'_>) {
    send_elements(&files::to_bytes(text), writer);
}

pub(super) fn send_os_string(text: &OsString, writer: &mut Writer<'_>) -> Result<()> {
    send_os_str(text, writer);
    Ok(())
}

pub(super) fn receive_os_string(reader: &mut Reader<'_>) -> Result<OsString> {
    receive_elements(reader).map(files::from_bytes)
}

#[expect(clippy::ptr_arg, reason = "a pass mode has a `&T`")]
pub(super) fn send_path(path: &PathBuf, writer: &mut Writer<'_>) -> Result<()> {
    send_os_str(path.as_os_str(), writer);
    Ok(())
}

pub(super) fn receive_path(reader: &mut Reader<'_>) -> Result<PathBuf> {
    receive_os_string(reader).map(PathBuf::from)
}

/// How many, and each.
pub(super) fn send_many<T: AsRef<OsStr>>(many: &[T], writer: &mut Writer<'_>) -> Result<()> {
    writer.put((many.len() as u64).to_ne_bytes());
    many.iter().for_each(|one| send_os_str(one.as_ref(), writer));
    Ok(())
}

fn receive_many<T: From<OsString>>(reader: &mut Reader<'_>) -> Result<Vec<T>> {
    // Each takes its length at least.
    let count = reader.take_len(size_of::<u64>())?;
    (0..count).map(|_| receive_os_string(reader).map(T::from)).collect()
}

macro_rules! many {
    ($($type:ty: $send:ident, $receive:ident;)*) => {$(
        #[expect(clippy::ptr_arg, reason = "a pass mode has a `&T`")]
        pub(super) fn $send(many: &Vec<$type>, writer: &mut Writer<'_>) -> Result<()> {
            send_many(many, writer)
        }
        pub(super) fn $receive(reader: &mut Reader<'_>) -> Result<Vec<$type>> {
            receive_many(reader)
        }
    )*};
}
many! {
    PathBuf: send_paths, receive_paths;
    OsString: send_os_strings, receive_os_strings;
}

macro_rules! optional {
    ($($type:ty: $send:ident, $receive:ident;)*) => {$(
        pub(super) fn $send(one: &Option<$type>, writer: &mut Writer<'_>) -> Result<()> {
            send_many(one.as_slice(), writer)
        }
        pub(super) fn $receive(reader: &mut Reader<'_>) -> Result<Option<$type>> {
            receive_many(reader).map(|mut many| many.pop())
        }
    )*};
}
optional! {
    PathBuf: send_optional_path, receive_optional_path;
    OsString: send_optional_os_string, receive_optional_os_string;
}
