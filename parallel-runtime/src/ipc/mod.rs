//! How the program and its workers speak to each other.
//!
//! | module | what |
//! | --- | --- |
//! | [`board`] | tasks and their results, in shared memory: slots, ring, records of workers |
//! | [`control`] | what a worker asks of the program, on its control channel |
//! | [`link`] | a worker's end of that channel |

pub(crate) mod board;
pub(crate) mod control;
pub(crate) mod link;
