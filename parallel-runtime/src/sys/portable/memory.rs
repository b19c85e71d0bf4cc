//! What the kernel is told about memory: nothing.

use rustix::mm::MapFlags;

/// Mappings are address space only, until they are touched, without being asked.
pub(super) const NO_RESERVE: MapFlags = MapFlags::empty();

/// Says that a fresh buffer will be filled at once.
#[inline]
pub(crate) fn will_fill(_start: *mut u8, _len: usize) {}

/// Leaves a mapping of ours out of core dumps.
pub(super) fn leave_out_of_dumps(_start: *mut u8, _len: usize) {}
