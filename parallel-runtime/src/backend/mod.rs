//! What the verbs ask of an engine.
//!
//! A pool is a [`Backend`]: it runs one item, many, or some ahead of their results. The verbs know nothing else of it. The engine of
//! threads is one, so is [`serial`], and all engines in other processes together are one, over the trait
//! [`Transport`](crate::remote::transport::Transport).
//!
//! | module | what |
//! | --- | --- |
//! | [`results`] | what the items of a map became |
//! | [`batch_policy`] | how many items are sent together |
//! | [`serial`] | the backend that runs everything in place |
//! | [`traits`] | what an engine implements |

pub(crate) mod batch_policy;
pub(crate) mod results;
pub(crate) mod serial;
mod traits;

pub(crate) use results::Results;
pub(crate) use traits::{
    Backend, Collector, Failed, Map, OwnProcess, OwnTask, Prefetch, ResultSlot, ScopedHandle, Target, TaskHandle,
    TaskHandles,
};
