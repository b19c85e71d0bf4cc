//! Dictionaries, lists and queues that several processes change.
//!
//! | module | what |
//! | --- | --- |
//! | [`dict`], [`list`], [`queue`] | the three containers |
//! | [`table`] | the hash table of a dictionary |
//! | [`contents`] | values as bytes, and the handles in them |
//! | [`container`], [`words`] | what all have; writes to its words |
//! | [`heap`] | the memory of a container |
//! | [`sweep`] | which handles are in a container after a death |
//!
//! **A process may die at any instruction.** Each container is changed under its lock, and each change becomes true by *one store of
//! eight bytes*: what is new is prepared where the structure does not reach, and the store makes the structure reach it. The process that takes
//! the lock from a dead process finds the structure as it was before the store or after it; all that is only a summary of the
//! structure (how many elements there are, which memory is free) it makes anew.

mod container;
mod contents;
pub(crate) mod dict;
mod heap;
pub(crate) mod list;
pub(crate) mod queue;
pub(crate) mod sweep;
mod table;
#[cfg(test)]
mod tests;
mod words;
