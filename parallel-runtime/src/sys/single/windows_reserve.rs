//! Memory of this process, by `VirtualAlloc`: address space first, and pages when they are needed.

use std::io;
use std::ptr::NonNull;

use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_DECOMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc, VirtualFree,
};

/// The reserve that is asked for first, in bytes.
pub(super) const LARGEST: usize = if cfg!(target_pointer_width = "64") { 1 << 36 } else { 1 << 28 };

/// Whether pages must be asked for before they are touched.
pub(super) const IS_SCARCE: bool = true;

/// `len` bytes: where they were reserved, and where they begin.
pub(super) fn take(len: usize, alignment: usize) -> Option<(NonNull<u8>, NonNull<u8>)> {
    // SAFETY: the system chooses the address, which is a multiple of 64 KiB; nothing can be read or written there yet.
    let start = unsafe { VirtualAlloc(std::ptr::null(), len, MEM_RESERVE, PAGE_READWRITE) };
    let start = NonNull::new(start.cast::<u8>())?;
    if start.addr().get() % alignment == 0 {
        return Some((start, start));
    }
    // SAFETY: it was just taken, and nothing uses it.
    unsafe { give_back(start, len, alignment) };
    None
}

/// # Safety
///
/// [`take`] reserved it, and nothing uses it any more.
pub(super) unsafe fn give_back(reserved: NonNull<u8>, _len: usize, _alignment: usize) {
    // SAFETY: as the caller promises; all of it is released.
    unsafe { VirtualFree(reserved.as_ptr().cast(), 0, MEM_RELEASE) };
}

pub(super) fn commit(start: NonNull<u8>, len: usize) -> io::Result<()> {
    // SAFETY: the range is part of what was taken. Pages that are there already stay as they are.
    let committed = unsafe { VirtualAlloc(start.as_ptr().cast(), len, MEM_COMMIT, PAGE_READWRITE) };
    if committed.is_null() { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whether pages can be given back.
pub(super) const CAN_DISCARD: bool = true;

/// Gives the pages of a range back to the system. They must be committed again before they are touched, and are zeros then.
pub(super) fn discard(start: NonNull<u8>, len: usize) -> bool {
    // SAFETY: the range is part of what was taken, and nothing uses it.
    unsafe { VirtualFree(start.as_ptr().cast(), len, MEM_DECOMMIT) != 0 }
}
