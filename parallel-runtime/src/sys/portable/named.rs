//! Shared memory that other programs open by its name: not on this system. What keeps names from being left behind, `/dev/shm` as a directory and
//! procfs, only Linux has.

use std::io;
use std::ptr::NonNull;

/// An error if this system has no such objects.
pub(crate) fn check() -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "shared memory with a name needs Linux: pass the `SharedVec` to tasks instead",
    ))
}

/// How our names begin.
pub(crate) const PREFIX: &str = "parallel-";

pub(crate) fn name_of_process(pid: u32) -> String {
    format!("{PREFIX}{pid}")
}

pub(crate) fn sweep() {}

pub(crate) fn inode_of(_name: &str) -> Option<u64> {
    None
}

pub(crate) fn link(_name: &str, _other: &str) -> io::Result<()> {
    check()
}

pub(crate) fn remove(_name: &str) {}

/// Why an object cannot be had.
#[derive(Debug)]
pub(crate) enum Failure {
    System(io::Error),
    /// There is room for so many bytes only.
    #[expect(dead_code, reason = "only Linux tells")]
    Full {
        requested: u64,
        available: u64,
    },
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// A mapped object: there is none.
#[derive(Debug)]
pub(crate) enum Object {}

impl Object {
    pub(crate) fn create(_name: &str, _len: usize) -> Result<Self, Failure> {
        Err(check().map_or_else(Failure::System, |()| Failure::System(io::ErrorKind::Unsupported.into())))
    }

    pub(crate) fn open(name: &str) -> Result<(Self, u64), Failure> {
        Self::create(name, 0).map(|object| (object, 0))
    }

    pub(crate) fn start(&self) -> Option<NonNull<u8>> {
        match *self {}
    }

    pub(crate) fn len(&self) -> usize {
        match *self {}
    }

    pub(crate) fn leave_name(&mut self) {
        match *self {}
    }
}
