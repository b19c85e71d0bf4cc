//! The engine of a cluster: the process engine of other machines, reached through Dask.
//!
//! ```text
//!        program                    bridge (Python)        scheduler        Dask worker (Python)      node (this executable)
//!
//!   f::submit(x) ─► Request ─┐
//!   f::submit(y) ─► Request ─┴► Submission ══ frames ══► client.map ─────► … ─────► node.run ══ frames ══► process engine of that
//!                                                                                  │                  machine: its workers
//!   Task ◄── TaskState ◄── Reply ◄═══════ frames ═══ gather ◄────────── … ◄───────────┘ ◄═══ Reply ═══   decode, run, encode
//! ```
//!
//! Calls are encoded as for a process of this machine, but for what lies in shared memory, which is sent itself ([`far`]). A [`request`]
//! holds the items of one message; as many requests as take a fair time together go into a *submission*, which is one task of the cluster. The
//! [`bridge`] is a Python program, because Dask's own client is the only way into a Dask cluster that its authors keep; it is embedded
//! here and started with the first call. On each Dask worker our own executable, which a plugin brings there, runs as a [`node`]: so a
//! crash costs one task there as here.
//!
//! [`far`]: crate::shared::far
//!
//! # What holds
//!
//! * **At least once.** A submission is run again by Dask when its worker or that worker's host is lost, and by the program when the bridge
//!   is: the program keeps each request until its reply is there. Results are taken once: a second reply to the same request finds its
//!   task finished. What a task has done to the world outside may have happened twice.
//! * **Cancelled means never.** A request that is cancelled is refused by every node from then on; if one of them has begun it, or does not
//!   say, the answer is no. The scheduler is told first (as metadata), and workers that come later ask it before they run anything; the
//!   plugin on a worker tells a node that takes the place of another. What is sent again, because a bridge has died, has new numbers.
//! * **Nothing stays behind.** A bridge whose program is gone sees the end of its input, and leaves: the scheduler then drops its tasks,
//!   the nodes end those that run, and blobs are removed. A node whose Dask worker is gone ends, and its workers with it. Blobs have names that
//!   hold program and pool: the process that removes some removes its own. What a lost program has left is found by these names.
//!
//! | module | what |
//! | --- | --- |
//! | [`engine`] | a pool: connecting, submitting, what is under way |
//! | [`submissions`] | requests into submissions, and the blobs that they need |
//! | [`waiting`], [`shutdown`] | how requests end, and the pool |
//! | [`replies`] | what comes back |
//! | [`asking`], [`question`] | cancelling, killing, looking: questions to all nodes |
//! | [`bridge`] | the Python program, its start and its end |
//! | [`request`], [`sent_state`], [`wire`] | what travels |
//! | [`transport`] | what the verbs ask of it |
//! | [`away`], [`fetching`] | results that stay on the cluster until they are asked for |
//! | [`node`] | the side of a Dask worker |

mod asking;
mod away;
mod bridge;
mod engine;
mod fetching;
mod node;
mod question;
mod replies;
mod request;
mod sent_state;
mod shutdown;
mod submissions;
mod transport;
mod waiting;
mod wire;

pub(crate) use engine::{Address, Engine};
