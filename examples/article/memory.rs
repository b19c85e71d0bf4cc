//! The memory of all processes together, over time.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Memory of a process in bytes, apart from shared memory: its own, and its part of what it shares with others (the executable).
fn of_process(pid: &str) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let of = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    of("Pss_Anon:") + of("Pss_File:")
}

/// Pages of shared memory that are there. Each process's part of them changes while others begin to use them, so that a sum of parts would
/// be wrong; the file knows the whole.
fn shared() -> u64 {
    let files = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let arena = |path: &PathBuf| {
        std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:parallel"))
    };
    let sizes = files.map(|file| file.path()).filter(arena).filter_map(|path| std::fs::metadata(path).ok());
    sizes.map(|metadata| metadata.blocks() * 512).sum()
}

/// What this process and all those that it started take.
fn of_all() -> u64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| std::fs::read_to_string(Path::join(&thread.path(), "children")).ok());
    let children: Vec<String> =
        children.flat_map(|list| list.split_whitespace().map(String::from).collect::<Vec<_>>()).collect();
    shared() + of_process("self") + children.iter().map(|pid| of_process(pid)).sum::<u64>()
}

/// Memory over time.
#[derive(Serialize, Deserialize)]
pub struct Course {
    /// When, since the start, and how many bytes.
    pub samples: Vec<(Duration, u64)>,
}

impl Course {
    pub fn peak(&self) -> u64 {
        self.samples.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0)
    }
}

/// Runs `work` and asks for the memory all the time. That costs so much that the same run must not be timed.
pub fn observed(work: impl FnOnce()) -> Course {
    let (over, samples, begun) = (AtomicBool::new(false), Mutex::new(Vec::new()), Instant::now());
    let look = || {
        let now = begun.elapsed();
        samples.lock().unwrap().push((now, of_all()));
    };
    std::thread::scope(|scope| {
        look();
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                look();
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        work();
        look();
        over.store(true, Ordering::Relaxed);
    });
    let mut samples = samples.into_inner().unwrap();
    samples.sort_unstable();
    Course { samples }
}
