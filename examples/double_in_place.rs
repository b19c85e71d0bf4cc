//! A hundred million numbers doubled: serially, through copies, and where they lie in shared memory; with the memory of all processes
//! together over time.
//!
//! ```sh
//! cargo run --release --example double_in_place            # 100 M numbers, 800 MB
//! cargo run --release --example double_in_place -- 10      # 10 M
//! ```

use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parallel_runtime::{ProcessPool, SharedVec, parallel};

static POOL: ProcessPool = ProcessPool::new(2);

#[parallel(mode = "process", pool = POOL)]
fn double(numbers: &mut [i64]) {
    numbers.iter_mut().for_each(|number| *number *= 2);
}

/// Numbers in one part: 8 MB.
const PART: usize = 1 << 20;

/// Memory of a process in bytes, apart from shared memory: its own, and its part of what it shares with others (the executable).
fn memory_of(pid: &str) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let of = |name: &str| {
        let line = rollup.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
    };
    of("Pss_Anon:") + of("Pss_File:")
}

/// Pages of shared memory that are there. Each process's part of them changes while others begin to use them, so that a sum of parts would
/// be wrong; the file knows the whole.
fn shared_memory() -> u64 {
    let files = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let arena = |path: &std::path::PathBuf| {
        std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("/memfd:parallel"))
    };
    let sizes = files.map(|file| file.path()).filter(arena).filter_map(|path| std::fs::metadata(path).ok());
    sizes.map(|metadata| metadata.blocks() * 512).sum()
}

/// What all processes take together.
fn memory() -> u64 {
    let workers = POOL.worker_pids();
    shared_memory() + memory_of("self") + workers.iter().map(|pid| memory_of(&pid.to_string())).sum::<u64>()
}

/// Runs `work` twice: prints how long it took the first time, and the memory of all processes while it ran the second time. To ask for
/// the memory takes so long that it must not be timed.
fn measured(name: &str, data: u64, mut work: impl FnMut()) {
    let (over, samples) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let begun = Instant::now();
    work();
    let elapsed = begun.elapsed();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                samples.lock().unwrap().push(memory());
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        work();
        samples.lock().unwrap().push(memory());
        over.store(true, Ordering::Relaxed);
    });
    let samples = samples.into_inner().unwrap();
    let peak = *samples.iter().max().unwrap();
    let most = data * 3;
    let bars: Vec<char> = "▁▂▃▄▅▆▇█".chars().collect();
    let step = samples.len().div_ceil(50);
    let course = samples.iter().step_by(step).map(|sample| bars[(*sample * 7 / most.max(1)).min(7) as usize]);
    println!(
        "{name:<28} {elapsed:>10.1?}   peak {:>7.1} MiB, {:.3} of the data   {}",
        peak as f64 / (1 << 20) as f64,
        peak as f64 / data as f64,
        course.collect::<String>()
    );
}

fn main() {
    let millions: usize =
        std::env::args().nth(1).map_or(100, |argument| argument.parse().expect("a number of millions"));
    let count = millions * 1_000_000;
    let data = count as u64 * 8;
    POOL.start().expect("workers start");
    println!("{millions} M numbers, {} MiB; two workers; memory of all processes (0 to 3 times the data)", data >> 20);

    {
        let mut numbers = SharedVec::from_fn(count, |index| index as i64);
        measured("parts of a SharedVec", data, || drop(double::map(numbers.chunks_mut(PART))));
        measured("the same again", data, || drop(double::map(numbers.chunks_mut(PART))));
        measured("all of it in one call", data, || double(&mut numbers));
        assert_eq!(numbers[count - 1], 64 * (count as i64 - 1));
    }
    // What was freed goes back to the system when it was not used for a second.
    std::thread::sleep(Duration::from_secs(3));
    let mut numbers: Vec<i64> = (0..count as i64).collect();
    measured("serial, Vec", data, || numbers.iter_mut().for_each(|number| *number *= 2));
    measured("parts of a Vec: copied", data, || drop(double::map(numbers.chunks_mut(PART))));
    measured("the same again", data, || drop(double::map(numbers.chunks_mut(PART))));
    measured("all of the Vec in one call", data, || double(&mut numbers));
    assert_eq!(numbers[count - 1], 256 * (count as i64 - 1));
}
