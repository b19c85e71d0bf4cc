//! The side of a Dask worker: this executable, run as a *node*.
//!
//! A node is the process engine without a program. It reads submissions from its standard input, runs their requests on its own worker
//! processes, and writes the replies to its standard output. It ends when its input does.
//!
//! | module | what |
//! | --- | --- |
//! | [`hook`] | how a process becomes a node |
//! | [`serve`] | from a submission to its replies |
//! | [`run`] | one request |
//! | [`state`], [`requests`] | what a node knows |

pub(super) mod hook;
mod requests;
mod run;
mod serve;
mod state;
