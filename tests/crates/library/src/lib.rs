//! A library crate with annotated functions, for the tests: its users know nothing of pools. It has no `unsafe` of its own, and what the
//! attribute writes does not count.
#![forbid(unsafe_code)]
#![deny(clippy::undocumented_unsafe_blocks, clippy::multiple_unsafe_ops_per_block)]

use parallel_runtime::parallel;

/// Adds, in a worker process.
#[parallel(pool = 2, mode = "process")]
pub fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// The process it runs in.
#[parallel(pool = 2, mode = "process")]
pub fn pid() -> u32 {
    std::process::id()
}

/// Generic, and instantiated in another crate.
#[parallel(pool = 2, mode = "process")]
pub fn largest<T: Ord + Clone + Send + serde_bounds::Both>(values: Vec<T>) -> Option<T> {
    values.into_iter().max()
}

/// What a generic function of a worker process asks of its types.
pub mod serde_bounds {
    /// serde's two traits.
    pub trait Both: serde::Serialize + serde::de::DeserializeOwned {}
    impl<T: serde::Serialize + serde::de::DeserializeOwned> Both for T {}
}
