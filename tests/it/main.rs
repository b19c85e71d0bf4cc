//! The integration tests, in one binary.
//!
//! `conformance` and `streams` hold the behaviour that is the same wherever a function runs: tables that are compiled once, and run on
//! each kind of pool. `modes` tests the attribute in each mode, the others what is particular to one, or to the attribute.

#[macro_use]
#[path = "../support/cases.rs"]
mod cases;
mod async_borrows;
mod attribute;
mod conformance;
mod crossing;
mod deaths;
mod faults;
mod hostile;
mod layers;
mod library;
mod lifecycle;
mod limits;
#[cfg(feature = "tracing")]
mod logs;
#[cfg(not(parallel_portable))]
mod memory_limits;
mod methods;
mod modes;
mod packed;
#[path = "../support/pools.rs"]
mod pools;
#[cfg(parallel_portable)]
mod portable;
mod processes;
mod properties;
mod python;
#[cfg(feature = "log")]
mod records;
mod retries;
#[cfg(not(parallel_portable))]
mod sandbox;
mod shared;
mod signatures;
mod spawned;
mod state;
mod streams;
mod threads;
mod tidy;
mod timeouts;
mod values;
mod worker_options;
