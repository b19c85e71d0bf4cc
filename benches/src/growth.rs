//! What a task costs as things grow: outstanding tasks, payloads, workers; with a time limit; with the timeline on; cancelled.

use std::hint::black_box;
use std::time::{Duration, Instant};

use parallel_runtime::{ProcessPool, Task, Timeline, parallel};

use crate::measure::{Section, Subject};
use crate::work::{next, next_on_threads};

/// Time for each of so many tasks, submitted, then joined.
fn each(count: u64, submit: impl Fn(u64) -> Task<u64>) -> Duration {
    let begun = Instant::now();
    let tasks: Vec<_> = (0..count).map(submit).collect();
    for task in tasks {
        task.join().expect("no task fails");
    }
    Duration::from_secs_f64(begun.elapsed().as_secs_f64() / count as f64)
}

/// Outstanding tasks.
pub fn outstanding() -> Section<'static> {
    let mut section = Section::new("each of N tasks submitted, then joined, 2 workers", 7);
    for (name, count) in
        [("processes, 10,000", 10_000), ("100", 100), ("1,000", 1000), ("100,000", 100_000), ("1,000,000", 1_000_000)]
    {
        let run = move || each(count, next::submit);
        section = section.subject(if count == 10_000 { Subject::ours(name, run) } else { Subject::new(name, run) });
    }
    for (name, count) in
        [("threads, 10,000", 10_000), ("100", 100), ("1,000", 1000), ("100,000", 100_000), ("1,000,000", 1_000_000)]
    {
        let run = move || each(count, next_on_threads::submit);
        section = section.subject(if count == 10_000 { Subject::ours(name, run) } else { Subject::new(name, run) });
    }
    section
}

#[parallel(mode = "process", pool = 2)]
fn length(bytes: &[u8]) -> usize {
    bytes.len()
}

#[parallel(mode = "process", pool = 2)]
fn zeros(count: usize) -> Vec<u8> {
    vec![0; count]
}

const PAYLOADS: [(&str, usize); 5] =
    [("4 KiB", 4 << 10), ("8 B", 8), ("256 KiB", 256 << 10), ("4 MiB", 4 << 20), ("64 MiB", 64 << 20)];

/// Bytes of arguments, and of results.
pub fn payload() -> Section<'static> {
    let mut section = Section::new("a call with N bytes", 7);
    for (of, is_result) in [("arguments", false), ("results", true)] {
        for (size, bytes) in PAYLOADS {
            let name: &'static str = format!("{of} of {size}").leak();
            let calls = (64 << 20 >> 4) / bytes.max(4096) + 3;
            let data = vec![1_u8; bytes];
            let run = move || {
                let begun = Instant::now();
                for _ in 0..calls {
                    if is_result {
                        assert_eq!(black_box(zeros(bytes)).len(), bytes);
                    } else {
                        assert_eq!(length(&data), bytes);
                    }
                }
                begun.elapsed() / calls as u32
            };
            section = section.subject(if bytes == 4096 { Subject::ours(name, run) } else { Subject::new(name, run) });
        }
    }
    section
}

/// Worker processes.
pub fn workers() -> Section<'static> {
    let mut section = Section::new("each of 100,000 tasks submitted, then joined, N workers", 7);
    for (name, workers) in [("2 workers", 2), ("1", 1), ("4", 4), ("16", 16), ("64", 64)] {
        let pool: &'static ProcessPool = Box::leak(Box::new(ProcessPool::new(workers)));
        pool.start().expect("workers start");
        let run = move || each(100_000, |x| next::on(pool).submit(x));
        section = section.subject(if workers == 2 { Subject::ours(name, run) } else { Subject::new(name, run) });
    }
    section
}

/// A time limit, and the timeline.
pub fn watched() -> Section<'static> {
    let limited = Duration::from_secs(60);
    let with_timeline = |run: &dyn Fn() -> Duration| {
        let timeline = Timeline::start();
        let time = run();
        drop(timeline);
        time
    };
    Section::new("each of 100,000 tasks submitted, then joined, watched", 9)
        .subject(Subject::ours("processes", || each(100_000, next::submit)))
        .subject(Subject::new("with a time limit", move || {
            each(100_000, |x| next::options().timeout(limited).submit(x))
        }))
        .subject(Subject::new("with the timeline", move || with_timeline(&|| each(100_000, next::submit))))
        .subject(Subject::ours("threads", || each(100_000, next_on_threads::submit)))
        .subject(Subject::new("with a time limit", move || {
            each(100_000, |x| next_on_threads::options().timeout(limited).submit(x))
        }))
        .subject(Subject::new("with the timeline", move || with_timeline(&|| each(100_000, next_on_threads::submit))))
}

#[parallel(mode = "process", pool = 1)]
fn nap(_: u64) {
    std::thread::sleep(Duration::from_millis(300));
}

#[parallel(pool = 1)]
fn nap_on_thread(_: u64) {
    std::thread::sleep(Duration::from_millis(300));
}

/// Tasks that are cancelled while they wait.
pub fn cancelled() -> Section<'static> {
    fn each(count: u64, submit: impl Fn(u64) -> Task<()>) -> Duration {
        let first = submit(0);
        while !first.is_running() {
            std::thread::yield_now();
        }
        let tasks: Vec<_> = (0..count).map(submit).collect();
        let begun = Instant::now();
        // Some may have begun, if this takes long.
        let cancelled = tasks.iter().rev().filter(|task| task.cancel()).count();
        let time = begun.elapsed();
        assert!(cancelled > 0);
        drop(first);
        Duration::from_secs_f64(time.as_secs_f64() / count as f64)
    }
    let mut section = Section::new("cancelling one of N queued tasks", 3);
    for (name, count) in [("processes, 10,000", 10_000), ("100", 100), ("1,000,000", 1_000_000)] {
        let run = move || each(count, nap::submit);
        section = section.subject(if count == 10_000 { Subject::ours(name, run) } else { Subject::new(name, run) });
    }
    for (name, count) in [("threads, 10,000", 10_000), ("100", 100), ("1,000,000", 1_000_000)] {
        let run = move || each(count, nap_on_thread::submit);
        section = section.subject(if count == 10_000 { Subject::ours(name, run) } else { Subject::new(name, run) });
    }
    section
}
