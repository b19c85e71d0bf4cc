//! Waiting, and telling those who wait.
//!
//! | module | what |
//! | --- | --- |
//! | [`blocking`] | waiting on a thread that may be one of a pool's own |
//! | [`condvar`] | a condition variable that makes no system call where no thread waits |
//! | [`executor`] | running the future of an `async fn` |
//! | [`gate`] | how many submitted tasks a pool may have at a time |
//! | [`notify`] | who is told when a task ends |

pub(crate) mod blocking;
pub(crate) mod condvar;
pub(crate) mod executor;
pub(crate) mod gate;
pub(crate) mod notify;
