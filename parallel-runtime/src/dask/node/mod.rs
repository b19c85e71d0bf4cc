//! The side of a Dask worker: this executable, run as a *node*.
//!
//! A node is the process engine without a program. It reads parcels from its standard input, runs their letters on its own worker
//! processes, and writes the replies to its standard output. It ends when its input does.
//!
//! | module | what |
//! | --- | --- |
//! | [`hook`] | how a process becomes a node |
//! | [`serve`] | from a parcel to its replies |
//! | [`run`] | one letter |
//! | [`state`], [`letters`] | what a node knows |

pub(super) mod hook;
mod letters;
mod run;
mod serve;
mod state;
