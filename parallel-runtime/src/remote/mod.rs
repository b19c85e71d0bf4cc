//! Calls that go to another process: encoded into messages, and their results read again.
//!
//! ```text
//!   verb ──► RemoteBackend ──► submit ──► Transport (an engine) ──► worker
//!                │                            │
//!                └─◄─ result_reader ◄─ Outcome ┘
//! ```
//!
//! | module | what |
//! | --- | --- |
//! | [`transport`] | what an engine does |
//! | [`backend`] | what the verbs ask, for every engine |
//! | [`submit`] | the way of items to an engine |
//! | [`message`] | one or several items, encoded |
//! | [`task_state`], [`record`], [`handle`] | the program's record of a task; how its outcome is put in and taken out; the same as a task's handle |
//! | [`outcome`] | what came of a message |
//! | [`result_reader`] | the results in an outcome, one after the other |
//! | [`map`], [`prefetch`], [`batch_queue`] | many items, many as they come: batches of an adaptive size |
//! | [`recording`] | what is kept of a message so that an item of it can be saved in a file when it fails |
//! | `failure` | errors, from other machines |

pub(crate) mod backend;
mod batch_queue;
pub(crate) mod failure;
mod handle;
mod map;
pub(crate) mod message;
pub(crate) mod outcome;
mod prefetch;
mod record;
pub(crate) mod recording;
pub(crate) mod references;
pub(crate) mod result_reader;
pub(crate) mod submit;
pub(crate) mod task_state;
pub(crate) mod transport;
