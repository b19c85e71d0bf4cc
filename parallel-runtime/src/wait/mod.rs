//! Waiting, and telling those who wait.
//!
//! | module | what |
//! | --- | --- |
//! | [`blocking`] | waiting on a thread that may be one of a pool's own |
//! | [`executor`] | running the future of an `async fn` |
//! | [`notify`] | who is told when a task ends |

pub(crate) mod blocking;
pub(crate) mod executor;
pub(crate) mod notify;
