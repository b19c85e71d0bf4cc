//! Files that are this user's alone, and texts of the system as bytes.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// In the mode of a file: others may write it.
const OTHERS_WRITE: u32 = 0o022;

/// The number of a file, which a later one of the same name does not have.
#[cfg(feature = "dask")]
pub(crate) fn inode(metadata: &Metadata) -> u64 {
    metadata.ino()
}

/// Whether the user of this process owns a file.
pub(crate) fn is_ours(metadata: &Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw()
}

/// Whether no other user may change a file.
pub(crate) fn is_ours_alone(metadata: &Metadata) -> bool {
    is_ours(metadata) && metadata.mode() & OTHERS_WRITE == 0
}

/// Makes a directory, and those that it is in, which only this user can read.
pub(crate) fn create_private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes a file that only this user can read. `AlreadyExists` if there is one.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A text of the system, as it is sent to another process.
pub(crate) fn to_bytes(text: &OsStr) -> std::borrow::Cow<'_, [u8]> {
    text.as_bytes().into()
}

/// The text that [`to_bytes`] made these bytes of.
pub(crate) fn from_bytes(bytes: Vec<u8>) -> OsString {
    OsString::from_vec(bytes)
}
