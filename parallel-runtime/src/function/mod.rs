//! What a function is to the engines, and how its arguments and results travel.
//!
//! | module | what |
//! | --- | --- |
//! | [`table`] | sizes and function pointers: all that an engine knows of a function |
//! | [`erased`] | values and vectors of a type that only the function knows |
//! | [`remote`] | how calls cross a process border |
//! | [`pass_mode`], [`referents`] | how each kind of parameter travels |
//! | [`errors`] | results with errors that serde does not know |
//! | [`plain`] | values that are their bytes |
//! | [`shared_referent`] | what many items of a map refer to |
//! | [`parameter`] | the kinds of parameters, and their owned forms |
//! | [`result_writer`] | where a worker puts results |
//! | [`init`] | the functions that prepare workers |
//! | [`kept`], [`pool_state`], [`configured`] | what each worker keeps between tasks; what a pool says about it, and of what it is made |

pub(crate) mod code;
pub(crate) mod configured;
pub(crate) mod erased;
mod errors;
pub(crate) mod init;
pub(crate) mod kept;
mod parameter;
pub(crate) mod pass_mode;
mod plain;
pub(crate) mod pool_state;
pub(crate) mod referents;
pub(crate) mod remote;
mod result_writer;
pub(crate) mod shared_referent;
pub(crate) mod table;

pub use parameter::{ByCopy, ByMut, ByRef, BySharedRef, ByValue, CopyOut, IntoOwned, Lend, LendMut, One, OwnedSlice};
pub(crate) use result_writer::{Delivered, Encode, Overflow, Placed};
pub use result_writer::{ResultWriter, ServeError};
