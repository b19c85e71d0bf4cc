//! Calls that go to another process: encoded into messages, and their results read again.
//!
//! | module | what |
//! | --- | --- |
//! | [`message`] | one or several items, encoded |
//! | [`ticket`] | the program's record of a message, and what came of it |
//! | [`carrier`] | which engine carries them |
//! | [`results`] | the results in an outcome, one after the other |
//! | `failure` | errors, from other machines |
//! | [`map`], [`ahead`], [`flights`], [`sizes`] | one item, many, many as they come: messages of an adaptive size |

pub(crate) mod ahead;
pub(crate) mod carrier;
#[cfg(feature = "dask")]
pub(crate) mod failure;
pub(crate) mod flights;
pub(crate) mod map;
pub(crate) mod message;
pub(crate) mod results;
pub(crate) mod sizes;
pub(crate) mod ticket;
