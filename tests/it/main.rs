//! The integration tests, in one binary.
//!
//! `conformance` holds the behaviour that is the same wherever a function runs, once for each mode. The other modules test
//! what is particular to one mode, or to the attribute.

mod attribute;
mod conformance;
mod crossing;
mod deaths;
mod faults;
mod layers;
mod library;
mod limits;
#[cfg(feature = "tracing")]
mod logs;
mod methods;
mod processes;
mod properties;
mod retries;
mod sandbox;
mod shared;
mod streams;
mod threads;
mod tidy;
mod timeouts;
mod worker_options;
