//! A crate with a constructor, as a wrapper of a C++ library has them. It does not depend on the runtime, so the linker puts its
//! constructor behind the one that makes workers: the tests would fail if workers did not run it.

use std::sync::atomic::{AtomicU32, Ordering};

static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn construct() {
    CONSTRUCTED.fetch_add(1, Ordering::SeqCst);
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCT: extern "C" fn() = construct;

/// How often the constructor has run.
pub fn constructed() -> u32 {
    CONSTRUCTED.load(Ordering::SeqCst)
}
