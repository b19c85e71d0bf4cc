//! What can go wrong with a task, and with a pool; and errors of any type on their way between processes.

mod remote;
mod task;
mod wire;

pub use remote::RemoteError;
pub use task::{PoolError, TaskError};
