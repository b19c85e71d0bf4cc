//! How much there is.

use super::registry::registry;

/// What the shared objects of this program take: see [`shared_usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SharedUsage {
    /// How many there are: `SharedVec`s and `SharedSlice`s with elements, values, arrays, dictionaries and so on.
    pub objects: usize,
    /// Bytes that they were given. A page that nothing has touched takes no memory.
    pub bytes: u64,
}

/// What the shared objects of this program take, in all its processes. In a worker process, which does not know, zeros.
///
/// ```
/// use parallel_runtime::{SharedVec, shared_usage};
///
/// let before = shared_usage().bytes;
/// let numbers = SharedVec::<u64>::zeroed(1000);
/// assert_eq!(shared_usage().bytes, before + 8000);
/// drop(numbers);
/// assert_eq!(shared_usage().bytes, before);
/// ```
pub fn shared_usage() -> SharedUsage {
    let registry = registry();
    let alive = registry.entries.iter().filter(|entry| entry.memory.is_some());
    alive.fold(SharedUsage::default(), |usage, entry| SharedUsage {
        objects: usage.objects + 1,
        bytes: usage.bytes + entry.len + entry.more.iter().map(|(block, _)| block.len()).sum::<u64>(),
    })
}
