//! Memory of this process that is zeros, and takes no room until it is touched, as far as the allocator has it from the system so.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;

/// The reserve that is asked for first, in bytes.
pub(super) const LARGEST: usize = if cfg!(target_pointer_width = "64") { 1 << 32 } else { 1 << 27 };

/// Whether pages must be asked for before they are touched.
pub(super) const IS_SCARCE: bool = false;

pub(super) fn take(layout: Layout) -> Option<NonNull<u8>> {
    // SAFETY: the layout has a size.
    NonNull::new(unsafe { alloc_zeroed(layout) })
}

/// # Safety
///
/// [`take`] gave it for this layout, and nothing uses it any more.
pub(super) unsafe fn give_back(start: NonNull<u8>, layout: Layout) {
    // SAFETY: as the caller promises.
    unsafe { dealloc(start.as_ptr(), layout) };
}

pub(super) fn commit(_start: NonNull<u8>, _len: usize) -> io::Result<()> {
    Ok(())
}

/// Whether pages can be given back.
pub(super) const CAN_DISCARD: bool = false;

/// Gives the pages of a range back to the system: not here.
pub(super) fn discard(_start: NonNull<u8>, _len: usize) -> bool {
    false
}
