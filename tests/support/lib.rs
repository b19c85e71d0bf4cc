//! What the tests of this workspace share. Not part of the product.

/// The code of these pages is compiled and run like the examples of any item. `tests/it/tidy.rs` looks whether one is missing.
macro_rules! pages {
    ($($name:ident: $path:literal,)*) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!($path)]
            pub struct $name;
        )*
    };
}

pages! {
    Readme: "../../README.md",
    Introduction: "../../parallel-runtime/guide/introduction.md",
    GettingStarted: "../../parallel-runtime/guide/getting-started.md",
    FromPython: "../../parallel-runtime/guide/from-python.md",
    Choosing: "../../parallel-runtime/guide/choosing.md",
    Values: "../../parallel-runtime/guide/values.md",
    SharedMemory: "../../parallel-runtime/guide/shared-memory.md",
    State: "../../parallel-runtime/guide/state.md",
    Faults: "../../parallel-runtime/guide/faults.md",
    Replay: "../../parallel-runtime/guide/replay.md",
    Security: "../../parallel-runtime/guide/security.md",
    Async: "../../parallel-runtime/guide/async.md",
    Cluster: "../../parallel-runtime/guide/cluster.md",
    Performance: "../../parallel-runtime/guide/performance.md",
    Internals: "../../parallel-runtime/guide/internals.md",
    Platforms: "../../parallel-runtime/guide/platforms.md",
    Questions: "../../parallel-runtime/guide/faq.md",
}

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
