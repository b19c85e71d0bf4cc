//! Threads, processes, pools, and how many of them.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use parallel_runtime::{TaskError, as_completed, parallel};

use crate::Scale;
use crate::table::{Row, check, timed};

/// One increment after the other: each is to be seen by `black_box`, so that the compiler can neither leave them out nor add them up.
///
/// Never inlined: the speed of the loop depends on its alignment, so all ways to run it share one.
#[inline(never)]
pub fn increments(times: u64) -> u64 {
    (0..times).fold(0, |counter, _| black_box(counter) + 1)
}

/// Waits, and tells how long.
#[parallel]
fn nap(milliseconds: u64) -> u64 {
    sleep(Duration::from_millis(milliseconds));
    milliseconds
}

/// Five threads that sleep for random times are started, then joined.
pub fn threads(scale: Scale) -> Vec<Row> {
    let mut state = 2026_u32;
    let naps: Vec<u64> = (0..5)
        .map(|_| {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            scale.of(100, 20) + u64::from(state >> 16) % scale.of(400, 80)
        })
        .collect();
    let (_, serial) = timed(|| naps.iter().map(|nap| nap::inline(*nap)).sum::<u64>());
    let (slept, ours) = timed(|| {
        let threads: Vec<_> = naps.iter().map(|nap| nap::spawn(*nap)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let right = check(&slept, &naps, "each has slept its time");
    vec![Row::new("5 threads, random sleeps, joined", right).serial(serial).ours(ours)]
}

/// The same on four threads that are kept.
#[parallel(pool = 4)]
fn nap_pooled(milliseconds: u64) -> u64 {
    sleep(Duration::from_millis(milliseconds));
    milliseconds
}

/// Four threads, twenty sleeps, results as they come.
pub fn thread_pool(scale: Scale) -> Vec<Row> {
    let nap = scale.of(100, 10);
    let (_, serial) = timed(|| (0..20).map(|task| nap_pooled::inline(nap + task % 3)).sum::<u64>());
    let (ended, ours) = timed(|| {
        let tasks = (0..20).map(|task| nap_pooled::submit(nap + task % 3));
        as_completed(tasks).map(|(index, slept)| (index, slept.unwrap())).collect::<Vec<_>>()
    });
    let all: BTreeSet<usize> = ended.iter().map(|(index, _)| *index).collect();
    let right = check(&all, &(0..20).collect(), "each of 20 came once, by as_completed");
    vec![Row::new("pool of 4 threads, 20 sleeping tasks", right).serial(serial).ours(ours)]
}

#[parallel(mode = "process")]
fn count(times: u64) -> u64 {
    increments(times)
}

/// Ten processes that count.
pub fn processes(scale: Scale) -> Vec<Row> {
    let times = scale.of(10_000_000, 5_000_000);
    let (plain, serial) = timed(|| (0..10).map(|_| count::inline(times)).collect::<Vec<_>>());
    let (counted, ours) = timed(|| {
        let processes: Vec<_> = (0..10).map(|_| count::spawn(times)).collect();
        processes.into_iter().map(|process| process.join().unwrap()).collect::<Vec<_>>()
    });
    let each = serial.as_secs_f64() * 1e9 / (10 * times) as f64;
    let right = check(&counted, &plain, format!("all counted; an increment takes {each:.2} ns"));
    let millions = times / 1_000_000;
    vec![Row::new(format!("10 processes × {millions} M increments"), right).serial(serial).ours(ours)]
}

/// How many processors there are for this process.
pub fn cpu_count(_: Scale) -> Vec<Row> {
    let cpus = parallel_runtime::cpu_count();
    let online = std::thread::available_parallelism().map_or(0, usize::from);
    let right = check(&(cpus >= 1 && cpus <= online.max(cpus)), &true, format!("{cpus}: what this process may use"));
    vec![Row::new("CPU count", right)]
}

/// The argument that makes this executable the child of [`too_many`].
pub const CROWD: &str = "--crowd";

#[parallel(mode = "process", pool = 4)]
fn square(x: u64) -> u64 {
    x * x
}

#[parallel(mode = "process")]
fn wait_for_kill() {
    sleep(Duration::from_secs(600));
}

/// Starts processes until the system refuses, ends them, and then does as much work on a pool: with 100 descriptors in all.
pub fn crowd() -> bool {
    let mut crowd = Vec::new();
    let refused = loop {
        let process = wait_for_kill::spawn();
        // One that could not be started has ended at once.
        if process.is_finished() {
            break process.join().unwrap_err();
        }
        crowd.push(process);
    };
    let told = matches!(&refused, TaskError::Spawn { .. }) && refused.to_string().contains("Too many open files");
    for process in &crowd {
        process.kill();
    }
    let started = crowd.len();
    drop(crowd);
    let (squares, time) = timed(|| square::map(0..1000));
    println!("{started} {} {told} {}", time.as_nanos(), squares.iter().copied().eq((0..1000).map(|x| x * x)));
    eprintln!("{refused}");
    true
}

/// More processes than the system allows: an error where they are started, and a pool does the same work.
pub fn too_many(_: Scale) -> Vec<Row> {
    let shows = "too many processes; 1000 tasks on a pool";
    let executable = std::env::current_exe().unwrap_or_default();
    let limited =
        Command::new("sh").args(["-c", "ulimit -n 100; exec \"$0\" \"$1\""]).arg(executable).arg(CROWD).output();
    let output = match limited {
        Ok(output) => output,
        Err(error) => return vec![Row::new(shows, Err(format!("sh does not run: {error}")))],
    };
    let told = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = told.split_whitespace().collect();
    match words[..] {
        [started, nanoseconds, "true", "true"] => {
            let time = Duration::from_nanos(nanoseconds.parse().unwrap_or(0));
            vec![Row::new(shows, Ok(format!("process {started} of 100 files: an error, and no more"))).ours(time)]
        }
        _ => vec![Row::new(shows, Err(format!("{told} {}", String::from_utf8_lossy(&output.stderr))))],
    }
}
