//! What a pool that users hold is for the rest.

use std::fmt::Debug;

use crate::backend::Target;
use crate::options::{Mode, WorkerOptions};

/// A pool that users hold: a handle of an engine that starts when it is first used.
#[expect(private_interfaces, reason = "this trait cannot be named outside")]
pub trait AnyPool: Debug + Sync {
    /// Its engine.
    fn target(&self) -> &Target;

    /// The options of its workers.
    fn worker_options(&self) -> &WorkerOptions;

    /// What its functions would be without a pool of their own: `PARALLEL_MODE` may move them.
    fn movable_from(&self) -> Option<Mode> {
        None
    }
}
