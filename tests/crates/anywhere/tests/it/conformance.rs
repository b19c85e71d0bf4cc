//! The same behaviour wherever a function runs.

#[macro_use]
#[path = "../../../../support/conformance.rs"]
pub(crate) mod table;

use crate::pools::TestPool;

conformance!(threads, TestPool::threads(2));
conformance!(one_thread, TestPool::threads(1));
conformance!(own, TestPool::Own);
