//! Tasks: calls that have been submitted and are waited for later.
//!
//! | module | what |
//! | --- | --- |
//! | [`completed`] | several tasks, as they end |
//! | [`map`] | a map in the background |
//! | [`scope`](mod@scope) | tasks that borrow |
//! | [`spawned`] | a call with a thread or a process of its own |
//! | [`submitted`] | a submitted call |
//! | [`stream`] | results as they come |

mod completed;
mod map;
mod scope;
mod spawned;
pub(crate) mod stream;
mod submitted;

pub use completed::{AsCompleted, WaitFor, Waited, as_completed, wait};
pub(crate) use map::MapState;
pub use map::MapTask;
pub use scope::{Scope, ScopedTask, scope};
pub use spawned::Spawned;
pub use submitted::Task;
