//! What the tests of this workspace share. Not part of the product.

/// Its code is compiled and run like the examples of any item. That of the book is: `parallel_runtime::guide`.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;

use std::time::{Duration, Instant};

/// Waits until `condition` holds; false if it does not within ten seconds.
///
/// For what has no event to wait on: the end of a process that is not our child.
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    true
}

/// What a process does, as a letter of proc(5). `None` if there is no such process.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// Whether a process exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// A fixed path that is free for this test.
pub fn scratch(name: &str) -> std::path::PathBuf {
    let directory = std::env::temp_dir().join(format!("parallel-test-{}-{name}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("a scratch directory can be made");
    directory
}
