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
    Introduction: "../../docs/src/introduction.md",
    GettingStarted: "../../docs/src/getting-started.md",
    FromPython: "../../docs/src/from-python.md",
    Choosing: "../../docs/src/choosing.md",
    Values: "../../docs/src/values.md",
    SharedMemory: "../../docs/src/shared-memory.md",
    State: "../../docs/src/state.md",
    Faults: "../../docs/src/faults.md",
    Replay: "../../docs/src/replay.md",
    Security: "../../docs/src/security.md",
    Async: "../../docs/src/async.md",
    Cluster: "../../docs/src/cluster.md",
    Performance: "../../docs/src/performance.md",
    Internals: "../../docs/src/internals.md",
    Platforms: "../../docs/src/platforms.md",
    Questions: "../../docs/src/faq.md",
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
