//! Memory for erased values.

use std::alloc::{Layout, alloc, handle_alloc_error};

/// Memory of a size that is not 0.
pub(super) fn allocate(layout: Layout) -> *mut u8 {
    assert!(layout.size() > 0, "values without a size need no memory");
    // SAFETY: the size is not 0.
    let memory = unsafe { alloc(layout) };
    if memory.is_null() {
        handle_alloc_error(layout);
    }
    memory
}
