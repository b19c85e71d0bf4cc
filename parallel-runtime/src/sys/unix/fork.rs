//! What a program may do to the runtime without knowing: fork itself, and close all descriptors.
//!
//! # Fork, without starting another program in the child
//!
//! The child has a copy of the program's memory, but not its threads: no supervisor, and workers that belong to another process.
//! What it did with a pool would reach the parent's workers through the memory and the sockets that both share. So from
//! the fork on, process pools give an error in the child, and leave the parent's alone. A program that has not used a pool
//! before it forks can use pools in the child.

use std::io;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

static IN_CHILD: AtomicBool = AtomicBool::new(false);

extern "C" fn in_child() {
    IN_CHILD.store(true, Ordering::Relaxed);
}

/// From here on a fork is noticed. To be called before the first worker starts.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the handler is a function of this executable, and stores an atomic, which the child of a program with threads
        // may do. If it cannot be registered, for want of memory, forks are not noticed.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

/// An error in the child of a program that had started workers, or threads, when it forked.
#[inline(always)]
pub(crate) fn check() -> io::Result<()> {
    if IN_CHILD.load(Ordering::Relaxed) { Err(error()) } else { Ok(()) }
}

#[cold]
fn error() -> io::Error {
    io::Error::other(
        "this process was forked from a program that had used pools, and their workers are not its own: fork before the first use of a pool, or start another program (`std::process::Command`)",
    )
}

/// The error of a program that has closed the descriptors of its pools.
#[cold]
pub(crate) fn closed_descriptors() -> io::Error {
    io::Error::other(
        "the program has closed descriptors that belong to the runtime (a loop over all descriptors, `close_range`): close descriptors before the first use of a pool",
    )
}
