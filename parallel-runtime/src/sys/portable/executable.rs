//! The executable of this process, by its path.
//!
//! The path may lead to another file by now, since a program is rebuilt while it runs: so a worker compares its image with the program's, see
//! [`image_identity`](super::image::identity_in_memory).

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::credentials;

/// What may be wrong if it is not found.
pub(super) const HINT: &str = "the program's executable is run again, and it must still be where it was started from";

/// Where it was when this process was started, as far as the system knows.
pub(super) fn path() -> io::Result<&'static Path> {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = EXECUTABLE.get() {
        return Ok(path);
    }
    let path = std::env::current_exe()?;
    Ok(EXECUTABLE.get_or_init(|| path))
}

/// Whether another process runs another executable, as far as can be told.
pub(super) fn is_another(pid: i32) -> bool {
    let file_at = |path: &Path| std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let (ours, theirs) = (path().ok().and_then(file_at), credentials::executable_of(pid));
    ours.zip(theirs.as_deref().and_then(file_at)).is_some_and(|(ours, theirs)| ours != theirs)
}

/// Where another process of this machine, of the same user, finds the executable of this one.
#[cfg(feature = "dask")]
pub(super) fn path_for_others() -> io::Result<String> {
    let path = path()?.to_str().ok_or_else(|| io::Error::other("the path of the executable is not UTF-8"))?;
    Ok(path.to_owned())
}
