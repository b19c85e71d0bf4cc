//! The thread engine.
//!
//! A plain call runs on the caller's own thread, which would only wait: that saves two thread switches. [`semaphore`] keeps the number of
//! tasks that run at a time, on any threads, at the pool's size, so that a pool of one serialises a library that is not
//! thread-safe.
//!
//! | module | what |
//! | --- | --- |
//! | [`engine`] | the state of a pool, and its end |
//! | [`semaphore`], [`inside`] | how many tasks run at a time; which tasks a thread is in |
//! | [`threads`] | the threads of submitted tasks |
//! | [`submit`], [`job`], [`body`] | putting a task into the queue; the task; what it does |
//! | [`turns`], [`turn`], [`polling`], [`timer`] | a task of an `async fn`, and when it is polled; the time limit of a task |
//! | [`call`], [`map`], [`rayon_pools`] | calls and maps; maps on rayon |
//! | [`prepared`] | calls and maps where there is an `init` |
//! | [`apart`], [`prefetch`], [`scoped`] | many items of which each is a task; items a little ahead of their results; tasks that borrow |
//! | [`backend`] | what the verbs ask of it |
//! | [`counted`], [`shards`] | the counts of a pool, and records of its tasks; counts of each thread |

mod apart;
mod backend;
mod body;
mod call;
mod counted;
mod engine;
mod inside;
mod job;
mod map;
mod polling;
mod prefetch;
mod prepared;
mod rayon_pools;
mod scoped;
mod semaphore;
mod shards;
mod submit;
mod threads;
mod timer;
mod turn;
mod turns;

pub(crate) use engine::Engine;
pub(crate) use inside::current;
pub(crate) use threads::number;
