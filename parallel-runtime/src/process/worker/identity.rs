//! Which worker this process is.

use std::sync::OnceLock;

static IDENTITY: OnceLock<(String, usize)> = OnceLock::new();

/// Called once, at its start.
pub(super) fn set(pool: String, index: u32) {
    let _ = IDENTITY.set((pool, index as usize));
}

/// What its pool is called, and which of the pool's workers it is; `None` in a process that is no worker.
pub(in crate::process) fn get() -> Option<(&'static str, usize)> {
    IDENTITY.get().map(|(pool, index)| (pool.as_str(), *index))
}
