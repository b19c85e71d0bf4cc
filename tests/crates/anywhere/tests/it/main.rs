//! The tables of behaviours on threads and in place, and shared types within one process.

#[macro_use]
#[path = "../../../../support/cases.rs"]
mod cases;
mod conformance;
mod modes;
mod objects;
mod pools;
mod streams;
mod systems;
