//! The attribute in each mode that there is on every system.

use crate::conformance::table::{Kind, Record, record};
use crate::streams::{Runs, block_on};

#[macro_use]
#[path = "../../../../support/modes.rs"]
mod table;

modes!(serial, "serial");
modes!(thread, "thread", pool = 2);
modes!(thread_of_one, "thread", pool = 1);
