//! How many CPUs there are for us.

use std::thread;

/// The number of CPUs that this process may use: the affinity mask and the cgroup's quota are taken into account
/// ([`std::thread::available_parallelism`]), unlike Python's `os.cpu_count`. At least 1.
///
/// ```
/// assert!(parallel_runtime::cpu_count() >= 1);
/// ```
#[doc(alias("process_cpu_count"))]
pub fn cpu_count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
