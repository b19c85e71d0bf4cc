//! The process engine.
//!
//! ```text
//!                      program                              shared memory                       worker process
//!
//!   f::submit(x) ──► Message (encoded) ──► queue ──► slot: READY ── ring ──► claim: CLAIMED|w ──► decode, run, encode
//!                        │            (if the board is full)                                          │
//!                        ▼                                                                            ▼
//!   Task ◄── TaskState ◄── collect ◄───────────────── slot: DONE|w ◄───── result in the slot, the worker's
//!                                                                      region, or a block it was granted
//!
//!   supervisor ◄──────── control channel, process descriptor ──────── hello, "I need a block", death
//! ```
//!
//! A call is encoded in the caller's thread and published on the [`board`](crate::ipc::board); a free worker claims it there, so
//! there is no thread between a caller and a worker. The result comes back the same way, and the thread that waits for it (or the thread that
//! needs its slot) *collects* it: moves it out of shared memory into the task's private [`TaskState`](crate::remote::task_state::TaskState). What a message is, how items are
//! packed into messages, and how results are read is in [`remote`](crate::remote).
//!
//! Who writes which memory:
//!
//! | memory | written by | freed by |
//! | --- | --- | --- |
//! | a slot's arguments, entry, ring entries, `tail` | the program, before it publishes the slot | the program |
//! | a slot's word | the program: FREE → READY, READY → FREE, DONE → FREE, and any → FREE when its worker is dead; the worker that claims it: READY → CLAIMED → DONE | |
//! | a slot's result fields | the worker whose number is in the word | |
//! | `head` | any process, by compare-and-swap: it is a hint | |
//! | a message's block | the program; a worker that has claimed the message, in place, where the function takes `&mut [T]` | the program |
//! | a worker's result region | that worker; the program sets a block's `released` flag | the worker |
//! | a granted block | the worker that asked for it | the program |
//! | a worker's record | see [`Record`](crate::ipc::board::Record) | |
//! | bits of sleeping workers | the worker sets its own; the thread that wakes it clears it | |
//! | shared objects, and who has them | see [`shared`](mod@crate::shared), its `tables`, `lock`, `cells` and `containers` | the program |
//!
//! The program believes nothing that a worker writes: offsets, lengths and counts are checked against the program's own records,
//! results are copied before they are decoded, and what the program has written itself is kept in private memory too. What that
//! gives, and what not, is in `parallel-runtime/guide/security.md`.
//!
//! | module | what |
//! | --- | --- |
//! | [`hook`] | the same executable, run again, becomes a worker before `main` and finds its functions |
//! | [`spawn`], [`welcome`] | starting a worker, and what it is told |
//! | [`state`], [`admission`] | the program's private records of a pool; maps that outlast a shutdown |
//! | [`engine`], [`ending`], [`lifecycle`], [`shutdown`], [`collect`], [`packs`], [`waiting`], [`reactor`] | the program's side: submitting, and how tasks end; its workers and their end; collecting, waiting |
//! | [`keeps`], [`sent_state`] | what workers are told of the values that they keep |
//! | [`transport`] | what the verbs ask of it |
//! | [`counts`] | what it tells of itself |
//! | [`supervisor`], [`events`], [`requests`] | one thread that starts workers, serves their control channels and sees their deaths |
//! | [`limits`], [`termination`] | time limits, and ending a worker for the task that it runs; how long it may take to end |
//! | [`worker_slot`] | a place for a worker, and the worker in it |
//! | [`exit_status`], [`stderr`] | why a worker died, and its last lines |
//! | [`audit`] | what is done about a board that a worker has written over |
//! | [`worker`], [`region`] | the worker's side |
//! | [`replay`] | a saved task, run again alone in a process of its own |

mod admission;
mod audit;
mod collect;
mod counts;
mod ending;
mod engine;
mod events;
mod exit_status;
mod hook;
mod keeps;
mod lifecycle;
mod limits;
mod packs;
mod reactor;
mod region;
mod replay;
mod requests;
mod sent_state;
mod shutdown;
mod spawn;
mod state;
mod stderr;
mod supervisor;
mod termination;
mod transport;
mod waiting;
mod welcome;
mod worker;
mod worker_slot;

pub(crate) use engine::Engine;

/// What the pool of this worker is called, and which of its workers this process is; `None` in a process that is no worker.
pub(crate) fn worker_identity() -> Option<(&'static str, usize)> {
    worker::worker_identity()
}
