//! Memory limits of a worker.
//!
//! The kernel keeps the limit (`RLIMIT_DATA`): it counts private writable memory, that is the heap, anonymous mappings and stacks of threads, and neither
//! the arena nor the executable.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// An error if memory cannot be limited on this system.
pub(crate) fn check() -> io::Result<()> {
    Ok(())
}

/// How much private writable memory this process has.
#[derive(Debug)]
pub(crate) struct DataSize {
    statm: File,
}

impl DataSize {
    pub(crate) fn new() -> io::Result<Self> {
        let because = |error| {
            io::Error::other(format!("the memory of this process cannot be read from /proc/self/statm: {error}"))
        };
        Ok(Self { statm: File::open("/proc/self/statm").map_err(because)? })
    }

    /// In bytes: the sixth field of `statm`, as in proc(5).
    pub(crate) fn now(&self) -> io::Result<u64> {
        let mut text = [0_u8; 256];
        let len = self.statm.read_at(&mut text, 0)?;
        let field = text[..len].split(|byte| *byte == b' ').nth(5).and_then(|field| std::str::from_utf8(field).ok());
        let pages: u64 = field
            .and_then(|field| field.trim().parse().ok())
            .ok_or_else(|| io::Error::other("it has an unknown form"))?;
        Ok(pages * rustix::param::page_size() as u64)
    }
}

/// Limits the private writable memory of this process. `for_good`: it may not be raised again, not by what this process starts either.
pub(crate) fn set(bytes: u64, for_good: bool) -> io::Result<()> {
    let hard = getrlimit(Resource::Data).maximum;
    let maximum = if for_good { Some(bytes) } else { hard };
    let current = Some(hard.map_or(bytes, |hard| bytes.min(hard)));
    Ok(setrlimit(Resource::Data, Rlimit { current, maximum })?)
}

/// Lifts a limit that this process has inherited.
pub(crate) fn lift() {
    let hard = getrlimit(Resource::Data).maximum;
    let _ = setrlimit(Resource::Data, Rlimit { current: hard, maximum: hard });
}
