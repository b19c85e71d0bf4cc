//! Rights that this process has given up, on systems where they cannot be kept from coming back.

use std::io;

pub(crate) use super::raised::is_raised;
use super::{executable, executable_mode};

/// Refuses to go on if running the executable again would give rights that this process does not have.
pub(crate) fn keep_down() -> io::Result<()> {
    let hint = |error: io::Error| io::Error::new(error.kind(), format!("{error}: {}", executable::HINT));
    let file = executable::path().and_then(std::fs::metadata).map_err(hint)?;
    if executable_mode::changes_user(&file) {
        let why = "the executable is set-user-ID or set-group-ID, and worker processes would have the rights that this program has given up: use `mode = \"thread\"`";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    }
    Ok(())
}
