//! Memory that the program and its workers share.
//!
//! | layer | what |
//! | --- | --- |
//! | [`segment`] | one mapping of shared memory and its descriptor |
//! | [`allocator`] | which parts of it are taken: private to the program |
//! | [`arena`] | the program's one segment, and blocks of it |

mod allocator;
pub(crate) mod arena;
pub(crate) mod segment;

pub(crate) use arena::{Arena, Block};
