//! Sections about shared memory.

use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use parallel_runtime::{SharedDict, SharedQueue, SharedSlice, SharedValue, SharedVec, parallel};
use rayon::prelude::*;

use crate::measure::{Section, Subject};

/// 256 MiB of `f64`.
const NUMBERS: usize = 32 << 20;

/// 1 MiB each.
const CHUNK: usize = 128 << 10;

fn doubled(numbers: &mut [f64]) {
    numbers.iter_mut().for_each(|number| *number *= 2.0);
}

#[parallel(pool = 2, mode = "process")]
fn double(numbers: &mut [f64]) {
    doubled(numbers);
}

/// How long it takes.
pub fn timed(run: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    run();
    begun.elapsed()
}

/// 256 MiB doubled in place.
pub fn in_place() -> Section<'static> {
    let mut shared = SharedVec::from_fn(NUMBERS, |index| index as f64);
    let mut heap: Vec<f64> = (0..NUMBERS).map(|index| index as f64).collect();
    let mut serial = heap.clone();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads start");
    Section::new("256 MiB of `f64` doubled in place, 2 workers", 9)
        .subject(Subject::ours("ours, SharedVec", move || timed(|| drop(double::map(shared.chunks_mut(CHUNK))))))
        .subject(Subject::new("rayon, heap", move || {
            timed(|| pool.install(|| heap.par_chunks_mut(CHUNK).for_each(doubled)))
        }))
        .subject(Subject::new("serial, heap", move || timed(|| doubled(&mut serial))))
}

/// The same from an ordinary `Vec`, there and back.
pub fn by_copy() -> Section<'static> {
    let mut ours: Vec<f64> = (0..NUMBERS).map(|index| index as f64).collect();
    let mut there = ours.clone();
    let mut here = ours.clone();
    let procspawn = procspawn::Pool::new(2).expect("procspawn starts");
    Section::new("256 MiB of `f64` doubled by 2 workers, copied there and back", 5)
        .subject(Subject::ours("ours, Vec", move || timed(|| drop(double::map(ours.chunks_mut(CHUNK))))))
        .subject(Subject::new("copied there and back", move || {
            timed(|| {
                there.copy_from_slice(black_box(&here));
                here.copy_from_slice(black_box(&there));
            })
        }))
        .subject(Subject::new("procspawn, 16 MiB", move || {
            // A sixteenth, times sixteen: it takes seconds. One part for each worker: with more it may wait for itself.
            let parts: Vec<Vec<f64>> = vec![vec![1.0; NUMBERS / 32]; 2];
            16 * timed(|| {
                let tasks: Vec<_> = parts
                    .into_iter()
                    .map(|part| {
                        procspawn.spawn(part, |mut part| {
                            doubled(&mut part);
                            part
                        })
                    })
                    .collect();
                tasks.into_iter().for_each(|task| drop(task.join().expect("no worker dies")));
            })
        }))
}

#[parallel(pool = 1, mode = "process")]
fn last(table: &[u8]) -> u8 {
    table[table.len() - 1]
}

#[parallel(pool = 1, mode = "process")]
fn last_of(table: SharedSlice<u8>) -> u8 {
    table[table.len() - 1]
}

/// Large and small slices to a task.
pub fn passing() -> Section<'static> {
    let small = SharedVec::<u8>::zeroed(4 << 10).share();
    let large = SharedVec::<u8>::zeroed(4 << 30).share();
    let per = |call: &dyn Fn() -> u8| {
        let calls = 20_000;
        timed(|| (0..calls).for_each(|_| assert_eq!(black_box(call()), 0))) / calls
    };
    let (small_handle, large_handle) = (small.clone(), large.clone());
    Section::new("a part of shared memory passed to a task", 9)
        .subject(Subject::ours("4 KiB, as &[u8]", move || per(&|| last(&small))))
        .subject(Subject::new("4 GiB, as &[u8]", move || per(&|| last(&large))))
        .subject(Subject::ours("4 KiB, as SharedSlice", move || per(&|| last_of(small_handle.clone()))))
        .subject(Subject::new("4 GiB, as SharedSlice", move || per(&|| last_of(large_handle.clone()))))
}

#[parallel(pool = 2, mode = "process")]
fn update(value: SharedValue<u64>, times: u64) {
    for _ in 0..times {
        value.update(|value| *value += 1);
    }
}

#[parallel(pool = 2, mode = "process")]
fn use_dict(dict: SharedDict<u64, u64>, times: u64) -> f64 {
    let begun = Instant::now();
    for number in 0..times {
        dict.insert(number % 100, number);
        black_box(dict.get(&(number % 100)));
    }
    begun.elapsed().as_secs_f64() / times as f64
}

#[parallel(pool = 2, mode = "process")]
fn consume(queue: SharedQueue<u64>) -> f64 {
    let _first = queue.pop();
    let begun = Instant::now();
    let count = std::iter::from_fn(|| queue.pop().ok()).count();
    begun.elapsed().as_secs_f64() / count as f64
}

/// The same in Python; no time where there is none.
/// What a Python script says that it takes.
pub fn python(script: &'static str, what: &'static str) -> Subject<'static> {
    Subject::new("Python", move || {
        let script = format!("{}/{script}", env!("CARGO_MANIFEST_DIR"));
        let output = Command::new("python3").args([&script, what]).output();
        let seconds = output.ok().and_then(|output| String::from_utf8(output.stdout).ok()?.trim().parse().ok());
        Duration::from_secs_f64(seconds.unwrap_or(0.0))
    })
}

/// A value that two processes update.
pub fn value() -> Section<'static> {
    let value = SharedValue::new(0);
    Section::new("an update of a `SharedValue` by 2 processes at once", 5)
        .subject(Subject::ours("ours", move || {
            let times = 2_000_000;
            let elapsed = timed(|| drop(update::map([(value.clone(), times), (value.clone(), times)])));
            Duration::from_secs_f64(elapsed.as_secs_f64() / (2 * times) as f64)
        }))
        .subject(python("sharing.py", "value"))
}

/// A dictionary, from a worker.
pub fn dict() -> Section<'static> {
    Section::new("set and get in a `SharedDict`, in a worker", 5)
        .subject(Subject::ours("ours", || Duration::from_secs_f64(use_dict(SharedDict::new(), 200_000))))
        .subject(python("sharing.py", "dict"))
}

/// A queue, one way.
pub fn queue() -> Section<'static> {
    Section::new("an item through a `SharedQueue`", 5)
        .subject(Subject::ours("ours", || {
            let queue = SharedQueue::bounded(1000);
            let consumer = consume::submit(queue.clone());
            (0..500_000).for_each(|number| queue.push(number).expect("it is open"));
            queue.close();
            Duration::from_secs_f64(consumer.join().expect("no worker dies"))
        }))
        .subject(python("sharing.py", "queue"))
}
