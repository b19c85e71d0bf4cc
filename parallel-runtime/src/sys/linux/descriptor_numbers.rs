//! Which descriptors are open.

/// Their numbers, perhaps among others. None where there is no `/proc`.
pub(super) fn open_numbers() -> impl Iterator<Item = i32> {
    let entries = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}
