//! The same behaviour wherever a function runs: see the table. On a cluster it is run by `tests/dask`, in place and with threads of the
//! functions' own by `modes`.

#[macro_use]
#[path = "../support/conformance.rs"]
pub(crate) mod table;

use crate::pools::TestPool;

conformance!(threads, TestPool::threads(2));
conformance!(one_thread, TestPool::threads(1));
conformance!(processes, TestPool::processes(2));
conformance!(one_process, TestPool::processes(1));
conformance!(own, TestPool::Own);
