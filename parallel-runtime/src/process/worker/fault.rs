//! A note of why this worker dies, in its record, where the program finds it after the death.

use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use crate::ipc::board::Record;
use crate::sys::fault;

/// Where faults are noted.
static RECORD: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());

/// Notes faults from now on. To be called on the thread of the tasks.
///
/// # Safety
///
/// The record is never unmapped.
pub(super) unsafe fn install(record: &Record) {
    RECORD.store(ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
    // SAFETY: `note` stores to atomics, and nothing else.
    unsafe { fault::install(note) };
}

/// Runs in a signal handler.
fn note(signal: u32, address: u64, in_stack: bool) {
    // SAFETY: null, or the record, which is never unmapped.
    let Some(record) = (unsafe { RECORD.load(Ordering::Relaxed).as_ref() }) else { return };
    record.fault_address.store(address, Ordering::Relaxed);
    record.fault_in_stack.store(in_stack.into(), Ordering::Relaxed);
    record.fault_signal.store(signal, Ordering::Release);
}
