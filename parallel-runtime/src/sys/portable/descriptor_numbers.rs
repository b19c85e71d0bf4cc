//! Which descriptors may be open.

use rustix::process::{Resource, getrlimit};

/// Numbers beyond are not looked at, which takes a system call each.
const MOST: u64 = 4096;

/// Their numbers, among others.
pub(super) fn open_numbers() -> impl Iterator<Item = i32> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST);
    0..limit as i32
}
