//! Results as they come.

#[macro_use]
#[path = "../../../../support/streams.rs"]
mod table;

pub(crate) use table::{Runs, block_on};

use crate::pools::TestPool;

streams!(threads, TestPool::threads(2));
streams!(one_thread, TestPool::threads(1));
streams!(own, TestPool::Own);
