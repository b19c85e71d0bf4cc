//! Files, and texts of the system as bytes. Who may read a file is the directory's affair here.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

#[cfg(feature = "dask")]
pub(crate) fn inode(_metadata: &Metadata) -> u64 {
    0
}

#[cfg(feature = "dask")]
pub(crate) fn is_ours(_metadata: &Metadata) -> bool {
    true
}

pub(crate) fn is_ours_alone(_metadata: &Metadata) -> bool {
    true
}

pub(crate) fn create_private_directory(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// Makes a file. `AlreadyExists` if there is one.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// A text of the system: its units, of 16 bits.
#[cfg(windows)]
pub(crate) fn to_bytes(text: &OsStr) -> Cow<'_, [u8]> {
    use std::os::windows::ffi::OsStrExt;
    text.encode_wide().flat_map(u16::to_ne_bytes).collect::<Vec<u8>>().into()
}

/// The text that [`to_bytes`] made these bytes of.
#[cfg(windows)]
pub(crate) fn from_bytes(bytes: Vec<u8>) -> OsString {
    use std::os::windows::ffi::OsStringExt;
    let units: Vec<u16> = bytes.chunks_exact(2).map(|unit| u16::from_ne_bytes([unit[0], unit[1]])).collect();
    OsString::from_wide(&units)
}

/// A text of the system, as far as it is UTF-8.
#[cfg(not(windows))]
pub(crate) fn to_bytes(text: &OsStr) -> Cow<'_, [u8]> {
    text.to_string_lossy().into_owned().into_bytes().into()
}

/// The text that [`to_bytes`] made these bytes of.
#[cfg(not(windows))]
pub(crate) fn from_bytes(bytes: Vec<u8>) -> OsString {
    String::from_utf8_lossy(&bytes).into_owned().into()
}
