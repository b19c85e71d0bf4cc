//! The executable of this process, which procfs gives even if its path was replaced or removed.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const PATH: &str = "/proc/self/exe";

/// What may be wrong if it is not found.
pub(super) const HINT: &str = "`/proc/self/exe` is run, for which `/proc` must be mounted";

/// Where it is. What is opened or run there is the very file that this process runs.
pub(super) fn path() -> io::Result<&'static Path> {
    Ok(Path::new(PATH))
}

/// Whether another process runs another executable, as far as can be told.
pub(super) fn is_another(pid: i32) -> bool {
    let same = |one: &Metadata, other: &Metadata| (one.dev(), one.ino()) == (other.dev(), other.ino());
    match (std::fs::metadata(PATH), std::fs::metadata(format!("/proc/{pid}/exe"))) {
        (Ok(ours), Ok(theirs)) => !same(&ours, &theirs),
        _ => false,
    }
}

/// Where another process of this machine, of the same user, finds the executable of this one.
#[cfg(feature = "dask")]
pub(super) fn path_for_others() -> io::Result<String> {
    Ok(format!("/proc/{}/exe", std::process::id()))
}
