//! `init` functions: each runs once in each worker process, once on each thread of a thread pool, and once in the program where
//! calls run in place.

use std::cell::Cell;
use std::io;
use std::sync::{Mutex, PoisonError};

use crate::error::TaskError;
use crate::sys::image;

/// An `init` as it travels to a worker: its offset in the executable.
pub(crate) fn offset_of(init: fn()) -> io::Result<u64> {
    image::offset_of(init as usize)
}

/// The function at an offset that [`offset_of`] gave.
///
/// # Safety
///
/// `offset` came from `offset_of` in a process that runs the same executable.
pub(crate) unsafe fn at(offset: u64) -> fn() {
    // SAFETY: by the caller's promise there is a `fn()` at this offset of this image.
    unsafe { std::mem::transmute::<*const (), fn()>(image::address_at(offset)) }
}

/// What makes a state, as it travels to a worker: its offset in the executable.
pub(crate) fn keep_offset_of(keep: fn() -> Result<(), TaskError>) -> io::Result<u64> {
    image::offset_of(keep as usize)
}

/// The function at an offset that [`keep_offset_of`] gave.
///
/// # Safety
///
/// `offset` came from `keep_offset_of` in a process that runs the same executable.
pub(crate) unsafe fn keep_at(offset: u64) -> fn() -> Result<(), TaskError> {
    // SAFETY: by the caller's promise there is such a function at this offset of this image.
    unsafe { std::mem::transmute::<*const (), fn() -> Result<(), TaskError>>(image::address_at(offset)) }
}

/// The functions that have run in this process.
static DONE: Mutex<Vec<usize>> = Mutex::new(Vec::new());

thread_local! {
    static RUNNING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `init` unless it has run in this process. What else needs it waits meanwhile. If it panics it has not run.
pub(crate) fn once_in_process(init: fn()) {
    if RUNNING.get() {
        // It calls an annotated function itself.
        return;
    }
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    if done.contains(&(init as usize)) {
        return;
    }
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            RUNNING.set(false);
        }
    }
    RUNNING.set(true);
    let _over = Over;
    init();
    done.push(init as usize);
}
