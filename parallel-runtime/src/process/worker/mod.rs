//! The worker's side: from the hook to the end of the process.
//!
//! The thread of the hook only waits for the end of the control channel, which is the end of the program or of the pool; then it
//! ends the process, also while tasks run. Tasks run on a second thread, which the standard library has set up like any
//! other. A worker always ends by `_exit`: it must never fall through into the program's `main`.
//!
//! | module | what |
//! | --- | --- |
//! | [`start`] | from the hook to the first task: signals, memory, limits, `init`, sandbox |
//! | [`run`] | claims, runs, rests |
//! | [`end`] | its orderly end |
//! | [`identity`] | which worker this is |
//! | [`functions`] | which function a message is for |
//! | [`local_executor`], [`futures`] | the futures of `async fn`s, many at a time |
//! | [`core`](mod@core) | what a worker has |
//! | [`delivery`] | where the results of a message go |
//! | [`fault`] | a handler that notes why the process is about to die |
//! | [`usage`] | how much memory the worker has, and its limit |

mod core;
mod delivery;
mod end;
mod fault;
mod functions;
mod futures;
mod identity;
mod local_executor;
mod run;
mod start;
mod usage;

pub(super) use end::LIMIT as END_LIMIT;
pub(super) use identity::get as worker_identity;
pub(super) use start::main;
