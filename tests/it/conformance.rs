//! The same behaviour wherever a function runs: see the table. On a cluster it is run by `tests/dask`.

#[macro_use]
#[path = "../support/conformance.rs"]
mod table;

use table::{Kind, Record, record};

conformance!(serial, "serial");
conformance!(thread, "thread", pool = 2);
conformance!(thread_of_one, "thread", pool = 1);
conformance!(process, "process", pool = 2);
conformance!(process_of_one, "process", pool = 1);
