//! The lock, and what it uses.

#[path = "../../../../../parallel-runtime/src/shared/lock.rs"]
pub(crate) mod lock;
pub(crate) mod space;
#[path = "../../../../../parallel-runtime/src/shared/tables.rs"]
pub(crate) mod tables;
