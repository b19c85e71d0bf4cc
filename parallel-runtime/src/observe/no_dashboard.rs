//! Without the feature `dashboard` there is none.

use std::sync::{Arc, Once};

use crate::sys::privilege::variable;
use crate::sys::role;
use crate::sys::streams::Standard;

pub(crate) fn watch<P>(_pool: &Arc<P>) {}

/// Says so, if the environment asks for one.
pub(crate) fn begin_if_asked() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if !role::in_worker() && variable("PARALLEL_DASHBOARD").is_some_and(|text| !text.is_empty()) {
            let line: &[u8] = b"parallel-runtime: PARALLEL_DASHBOARD is set, but the feature `dashboard` is not on\n";
            Standard::Error.write_all(line);
        }
    });
}
