//! Memory limits of a worker, which other systems than Linux do not keep: `RLIMIT_DATA` counts too little there, or nothing.

use std::io;

fn not_here() -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        "`memory_limit` needs Linux: leave it out on other systems (`cfg!(target_os = \"linux\")`)",
    )
}

/// An error if memory cannot be limited on this system.
pub(crate) fn check() -> io::Result<()> {
    Err(not_here())
}

/// How much private writable memory this process has.
#[derive(Debug)]
pub(crate) struct DataSize(());

impl DataSize {
    pub(crate) fn new() -> io::Result<Self> {
        Err(not_here())
    }

    pub(crate) fn now(&self) -> io::Result<u64> {
        Err(not_here())
    }
}

pub(crate) fn set(_bytes: u64, _for_good: bool) -> io::Result<()> {
    Err(not_here())
}

pub(crate) fn lift() {}
