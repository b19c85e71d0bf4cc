//! Executables that run with other rights than those of the user who starts them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Bits of a file's mode: it runs as its owner, or as its group.
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = if cfg!(target_os = "linux") { 0o2010 } else { 0o2000 };

/// Whether an executable, started by this process, would be another user's or group's.
pub(super) fn changes_user(file: &Metadata) -> bool {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let by_user = file.mode() & SET_USER != 0 && file.uid() != user;
    let by_group = file.mode() & SET_GROUP == SET_GROUP && file.gid() != group;
    by_user || by_group
}
