//! Hosts the examples.
