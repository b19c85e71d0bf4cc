//! Data that several processes work on: copied, and shared.

use std::process::Command;
use std::time::Duration;

use parallel_runtime::{SharedArray, SharedSlice, SharedValue, SharedVec, parallel};
use serde::{Deserialize, Serialize};

use crate::Scale;
use crate::memory::{self, Course};
use crate::table::{Row, check, grouped, timed};

#[parallel(mode = "process", pool = 2)]
fn double(numbers: &mut [i64]) {
    numbers.iter_mut().for_each(|number| *number *= 2);
}

/// Numbers in one part: 8 MB.
const PART: usize = 1 << 20;

/// The list doubled in one of three ways.
#[derive(Serialize, Deserialize)]
pub struct Doubled {
    pub time: Duration,
    pub memory: Course,
    pub right: bool,
}

/// Measures what it is given.
type Measure<'m> = &'m mut dyn FnMut(&mut dyn FnMut());

/// A way to double a list.
struct Way {
    name: &'static str,
    /// Makes so many numbers, has their doubling measured, and says whether they are right.
    run: fn(usize, Measure<'_>) -> bool,
}

const WAYS: [Way; 3] = [
    Way {
        name: "in place, serial",
        run: |count, measure| {
            let mut numbers: Vec<i64> = (0..count as i64).collect();
            measure(&mut || numbers.iter_mut().for_each(|number| *number *= 2));
            is_doubled(&numbers)
        },
    },
    Way {
        name: "by copy, 2 processes",
        run: |count, measure| {
            let mut numbers: Vec<i64> = (0..count as i64).collect();
            measure(&mut || {
                // What Python's pool does: the whole list goes in parts as big as there are workers, and comes back.
                let half = count.div_ceil(2);
                double::map(numbers.chunks_mut(half));
            });
            is_doubled(&numbers)
        },
    },
    Way {
        name: "in shared memory, 2 processes",
        run: |count, measure| {
            let mut numbers = SharedVec::from_fn(count, |index| index as i64);
            measure(&mut || drop(double::map(numbers.chunks_mut(PART))));
            is_doubled(&numbers)
        },
    },
];

/// Doubled as often as it was measured: a power of two.
fn is_doubled(numbers: &[i64]) -> bool {
    let times = numbers.get(1).copied().unwrap_or(1);
    times > 1 && times.count_ones() == 1 && (0_i64..).zip(numbers).all(|(index, number)| *number == index * times)
}

/// The argument that makes this executable the child of [`doubled`].
pub const DOUBLE: &str = "--double";

/// Doubles a list in one way: first watched, while no memory is left from before, then timed.
fn double_one(way: usize, count: usize) -> Doubled {
    let run = WAYS[way].run;
    let mut right = true;
    let memory = memory::observed(|| right &= run(count, &mut |double| double()));
    let mut time = Duration::MAX;
    // The first time memory is new to the workers; the second time shows what doubling costs.
    right &= run(count, &mut |double| {
        for _ in 0..2 {
            time = time.min(timed(&mut *double).1);
        }
    });
    Doubled { time, memory, right }
}

/// The same as a program of its own.
pub fn print_doubled(way: &str, count: &str) -> Result<bool, String> {
    let number = |word: &str| word.parse().map_err(|error| format!("{word}: {error}"));
    let doubled = double_one(number(way)?, number(count)?);
    println!("{}", serde_json::to_string(&doubled).map_err(|error| error.to_string())?);
    Ok(true)
}

/// Doubles a list of `count` numbers in each way, each in a program of its own, so that none has memory left from another.
pub fn doubled(count: usize) -> Vec<(&'static str, Result<Doubled, String>)> {
    let run = |way: usize| {
        let executable = std::env::current_exe().map_err(|error| error.to_string())?;
        let output = Command::new(executable).args([DOUBLE, &way.to_string(), &count.to_string()]).output();
        let output = output.map_err(|error| error.to_string())?;
        serde_json::from_slice(&output.stdout)
            .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    };
    WAYS.iter().enumerate().map(|(way, known)| (known.name, run(way))).collect()
}

/// The list of a hundred million integers.
pub fn list(scale: Scale) -> Vec<Row> {
    let count = scale.of(100_000_000, 4_000_000);
    let mut serial = Duration::ZERO;
    let rows = doubled(count).into_iter().enumerate().map(|(index, (way, result))| {
        let first = index == 0;
        let shows = if first { format!("{} M integers doubled {way}", count / 1_000_000) } else { format!("  {way}") };
        let result = match result {
            Ok(result) => result,
            Err(error) => return Row::new(shows, Err(error)),
        };
        if first {
            serial = result.time;
        }
        let row = Row::new(shows, check(&result.right, &true, "all doubled")).serial(serial).peak(result.memory.peak());
        if first { row } else { row.ours(result.time) }
    });
    rows.collect()
}

#[parallel(mode = "process")]
fn increment(counter: SharedValue<u64>, times: u64) {
    for _ in 0..times {
        counter.update(|counter| *counter += 1);
    }
}

/// One number that ten processes increment.
pub fn value(scale: Scale) -> Vec<Row> {
    let times = scale.of(100_000, 20_000);
    let alone = SharedValue::new(0);
    let (_, serial) = timed(|| (0..10).for_each(|_| increment::inline(alone.clone(), times)));
    let counter = SharedValue::new(0);
    let (_, ours) = timed(|| {
        let processes: Vec<_> = (0..10).map(|_| increment::spawn(counter.clone(), times)).collect();
        processes.into_iter().for_each(|process| process.join().unwrap());
    });
    let right = check(&counter.get(), &(10 * times), "no increment lost");
    vec![Row::new(format!("Value: 10 processes × {} increments", grouped(times)), right).serial(serial).ours(ours)]
}

#[parallel(mode = "process")]
fn write_at(array: SharedArray<i32>, index: usize, number: i32) {
    array.set(index, number);
}

/// An array of twenty million numbers that three processes write.
pub fn array(scale: Scale) -> Vec<Row> {
    let count = scale.of(20_000_000, 2_000_000);
    let places = [(0, 1), (count / 2, 2), (count - 1, 3)];
    let (_, serial) = timed(|| {
        let array = SharedArray::new(count);
        places.iter().for_each(|(index, number)| write_at::inline(array.clone(), *index, *number));
    });
    let (array, ours) = timed(|| {
        let array = SharedArray::new(count);
        let processes: Vec<_> =
            places.iter().map(|(index, number)| write_at::spawn(array.clone(), *index, *number)).collect();
        processes.into_iter().for_each(|process| process.join().unwrap());
        array
    });
    let written: Vec<_> = array.to_vec().into_iter().enumerate().filter(|(_, number)| *number != 0).collect();
    let right = check(&written, &places.to_vec(), "three written, the others 0");
    vec![Row::new(format!("Array of {} M, 3 processes write", count / 1_000_000), right).serial(serial).ours(ours)]
}

/// Makes the norm of each row 1.
#[parallel(mode = "process", pool = 2)]
fn normalise(rows: &mut [f64], columns: usize) {
    for row in rows.chunks_mut(columns) {
        let norm = row.iter().map(|number| number * number).sum::<f64>().sqrt();
        row.iter_mut().for_each(|number| *number /= norm);
    }
}

/// A matrix whose rows several processes change in place.
pub fn arrays(scale: Scale) -> Vec<Row> {
    let (rows, columns) = (scale.of(4_000, 1_000), 1_000);
    let matrix = || SharedVec::from_fn(rows * columns, |index| (index % 1009) as f64 + 1.0);
    let mut alone = matrix();
    let (_, serial) = timed(|| normalise::inline(&mut alone, columns));
    let mut shared = matrix();
    let part = rows / 20 * columns;
    let (_, ours) = timed(|| normalise::map(shared.chunks_mut(part).map(|rows| (rows, columns))));
    let right = check(&(shared[..] == alone[..]), &true, "the same to the last bit");
    let plain = Row::new(format!("array {rows} × {columns}, rows normalised"), right).serial(serial).ours(ours);
    #[cfg(feature = "ndarray")]
    let more = [with_features::array(rows, columns, &alone, serial)];
    #[cfg(not(feature = "ndarray"))]
    let more = [];
    [plain].into_iter().chain(more).collect()
}

/// A data frame: its columns lie in shared memory, and the frame itself is passed like any value.
#[derive(Clone, Serialize, Deserialize)]
struct Frame {
    city: SharedSlice<u8>,
    price: SharedSlice<f64>,
}

/// Sum of the prices by city, of some rows.
#[parallel(mode = "process", pool = 2)]
fn by_city(frame: Frame, from: usize, to: usize) -> Vec<f64> {
    let mut sums = vec![0.0; 8];
    for (city, price) in frame.city[from..to].iter().zip(&frame.price[from..to]) {
        sums[usize::from(*city)] += price;
    }
    sums
}

fn total(parts: impl IntoIterator<Item = Vec<f64>>) -> Vec<f64> {
    parts
        .into_iter()
        .fold(vec![0.0; 8], |total, part| total.iter().zip(part).map(|(total, part)| total + part).collect())
}

/// Columns that all processes read.
pub fn frames(scale: Scale) -> Vec<Row> {
    let rows = scale.of(4_000_000, 400_000);
    let (city, price) = (|row| (row * 7 % 8) as u8, |row| (row % 1000) as f64);
    let frame = Frame { city: SharedVec::from_fn(rows, city).share(), price: SharedVec::from_fn(rows, price).share() };
    let part = rows / 16;
    let parts = || (0..rows).step_by(part).map(|from| (frame.clone(), from, from + part));
    let (plain, serial) = timed(|| total(parts().map(|(frame, from, to)| by_city::inline(frame, from, to))));
    let (sums, ours) = timed(|| total(by_city::map(parts())));
    let right = check(&sums, &plain, "the same sums");
    let row = Row::new(format!("frame of {} rows, grouped", grouped(rows as u64)), right).serial(serial).ours(ours);
    #[cfg(feature = "arrow")]
    let more = [with_features::batch(rows, city, price, &plain, serial)];
    #[cfg(not(feature = "arrow"))]
    let more = [];
    [row].into_iter().chain(more).collect()
}

#[cfg(any(feature = "ndarray", feature = "arrow"))]
mod with_features;
