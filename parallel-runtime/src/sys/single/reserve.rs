//! Memory of this process that is zeros, and takes no room until it is touched, as far as the allocator has it from the system so.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;

/// The reserve that is asked for first, in bytes.
pub(super) const LARGEST: usize = if cfg!(target_pointer_width = "64") { 1 << 32 } else { 1 << 27 };

/// Whether pages must be asked for before they are touched.
pub(super) const IS_SCARCE: bool = false;

/// What is allocated: with a larger alignment the standard library would fill it with zeros itself.
fn allocated(len: usize, alignment: usize) -> Option<Layout> {
    Layout::from_size_align(len.checked_add(alignment)?, 1).ok()
}

/// `len` bytes: where they were allocated, and where they begin.
pub(super) fn take(len: usize, alignment: usize) -> Option<(NonNull<u8>, NonNull<u8>)> {
    // SAFETY: the layout has a size.
    let allocation = NonNull::new(unsafe { alloc_zeroed(allocated(len, alignment)?) })?;
    let before = allocation.addr().get().next_multiple_of(alignment) - allocation.addr().get();
    // SAFETY: it is less than the alignment, by which the allocation is longer.
    Some((allocation, unsafe { allocation.add(before) }))
}

/// # Safety
///
/// [`take`] allocated it for this length and alignment, and nothing uses it any more.
pub(super) unsafe fn give_back(allocation: NonNull<u8>, len: usize, alignment: usize) {
    let layout = allocated(len, alignment).expect("it was allocated");
    // SAFETY: as the caller promises.
    unsafe { dealloc(allocation.as_ptr(), layout) };
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
