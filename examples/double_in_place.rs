//! A hundred million numbers doubled: serially, through copies, and in place in shared memory; with the memory of all processes
//! together over time.
//!
//! ```sh
//! cargo run --release --example double_in_place            # 100 M numbers, 800 MB
//! cargo run --release --example double_in_place -- 10      # 10 M
//! ```

#[path = "article/memory.rs"]
mod memory;

use std::time::{Duration, Instant};

use parallel_runtime::{ProcessPool, SharedVec, parallel};

static POOL: ProcessPool = ProcessPool::new(2);

#[parallel(mode = "process", pool = POOL)]
fn double(numbers: &mut [i64]) {
    numbers.iter_mut().for_each(|number| *number *= 2);
}

/// Numbers in one part: 8 MB.
const PART: usize = 1 << 20;

/// Runs `work` twice: prints how long it took the first time, and the memory of all processes while it ran the second time. To ask for
/// the memory takes so long that it must not be timed.
fn measured(name: &str, data: u64, mut work: impl FnMut()) {
    let begun = Instant::now();
    work();
    let elapsed = begun.elapsed();
    let memory = memory::observed(work);
    let peak = memory.peak();
    let most = data * 3;
    let bars: Vec<char> = "▁▂▃▄▅▆▇█".chars().collect();
    let step = memory.samples.len().div_ceil(50);
    let course = memory.samples.iter().step_by(step).map(|(_, bytes)| bars[(*bytes * 7 / most.max(1)).min(7) as usize]);
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
