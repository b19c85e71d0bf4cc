//! How results come back: through a dictionary, in order, as they end, from two maps at a time.

use std::thread::sleep;
use std::time::Duration;

use parallel_runtime::{SharedDict, parallel};

use crate::Scale;
use crate::starting::increments;
use crate::table::{Row, check, grouped, timed};

#[parallel(mode = "process")]
fn count_into(results: SharedDict<u32, u64>, number: u32, times: u64) {
    results.insert(number, increments(times));
}

/// Ten processes that leave their results in a dictionary.
pub fn dictionary(scale: Scale) -> Vec<Row> {
    let times = scale.of(10_000_000, 5_000_000);
    let in_place = SharedDict::new();
    let (_, serial) = timed(|| (0..10).for_each(|number| count_into::inline(in_place.clone(), number, times)));
    let results = SharedDict::new();
    let (_, ours) = timed(|| {
        let processes: Vec<_> = (0..10).map(|number| count_into::spawn(results.clone(), number, times)).collect();
        processes.into_iter().for_each(|process| process.join().unwrap());
    });
    let right = check(&results.to_map(), &in_place.to_map(), "10 results in one dictionary");
    vec![Row::new("10 processes, results in a shared dict", right).serial(serial).ours(ours)]
}

#[parallel(mode = "process")]
fn hundred(start: u64) -> u64 {
    start + increments(100)
}

/// A million small tasks.
pub fn million(scale: Scale) -> Vec<Row> {
    let items = scale.of(1_000_000, 200_000);
    let (plain, serial) = timed(|| (0..items).map(hundred::inline).collect::<Vec<_>>());
    let (mapped, ours) = timed(|| hundred::map(0..items));
    let right = check(&(mapped == plain), &true, "all in order");
    vec![Row::new(format!("process pool, {} × 100 increments", grouped(items)), right).serial(serial).ours(ours)]
}

#[parallel(mode = "process", pool = 4)]
fn late(item: u64, milliseconds: u64) -> u64 {
    sleep(Duration::from_millis(milliseconds));
    item
}

/// The first items take longest, and their results come first all the same.
pub fn ordered(scale: Scale) -> Vec<Row> {
    let count = scale.of(40, 20);
    let items = || (0..count).map(|item| (item, (count - item) / 2));
    let (plain, serial) = timed(|| items().map(|(item, time)| late::inline(item, time)).collect::<Vec<_>>());
    let (mapped, ours) = timed(|| late::options().chunk(1).map(items()));
    let right = check(&mapped, &plain, "in order");
    let in_order = Row::new("ordered results: map", right).serial(serial).ours(ours);

    let (ended, ours) = timed(|| {
        let results = late::options().chunk(1).imap_unordered(items());
        results.map(|(index, item)| (index as u64, item.unwrap())).collect::<Vec<_>>()
    });
    let mut sorted = ended.clone();
    sorted.sort_unstable();
    let overtaken = ended.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
    let right = check(
        &sorted,
        &(0..count).map(|item| (item, item)).collect(),
        format!("{overtaken} came before an earlier one"),
    );
    vec![in_order, Row::new("as they end: imap_unordered", right).serial(serial).ours(ours)]
}

/// Two maps under way at the same time, on the same pool.
pub fn map_async(scale: Scale) -> Vec<Row> {
    let nap = scale.of(20, 5);
    let items = |from: u64| (from..from + 20).map(move |item| (item, nap));
    let (plain, serial) =
        timed(|| items(0).chain(items(20)).map(|(item, nap)| late::inline(item, nap)).collect::<Vec<_>>());
    let mut both = 0;
    let ((one, other), ours) = timed(|| {
        let one = late::options().chunk(1).map_async(items(0));
        let other = late::options().chunk(1).map_async(items(20));
        while !one.is_finished() || !other.is_finished() {
            let done = [one.progress(), other.progress()];
            both += u32::from(done.iter().all(|(done, total)| (1..*total).contains(done)));
            sleep(Duration::from_millis(1));
        }
        (one.join().unwrap(), other.join().unwrap())
    });
    let right = check(&one.into_iter().chain(other).collect::<Vec<_>>(), &plain, "both whole and in order");
    let interleaved = if both > 0 { "in turns" } else { "one after the other" };
    vec![
        Row::new("two map_async of 20 on a pool of 4", right.map(|right| format!("{right}, {interleaved}")))
            .serial(serial)
            .ours(ours),
    ]
}

#[parallel(mode = "process")]
fn power(base: u64, exponent: u32) -> u64 {
    (0..exponent).fold(1, |product, _| product * base % 1_000_000_007)
}

/// Items of several arguments.
pub fn starmap(scale: Scale) -> Vec<Row> {
    let items = || (0..scale.of(2_000, 400)).map(|item| (item, 10_000));
    let (plain, serial) = timed(|| items().map(|(base, exponent)| power::inline(base, exponent)).collect::<Vec<_>>());
    let (mapped, ours) = timed(|| power::starmap(items()));
    let right = check(&(mapped == plain), &true, "all in order");
    vec![Row::new("starmap: power(base, exponent)", right).serial(serial).ours(ours)]
}

#[parallel(pool = 4, mode = "thread")]
fn on_threads(times: u64) -> u64 {
    increments(times)
}

#[parallel(pool = 4, mode = "process")]
fn in_processes(times: u64) -> u64 {
    increments(times)
}

/// The same function, one word changed.
pub fn one_word(scale: Scale) -> Vec<Row> {
    let times = scale.of(10_000_000, 5_000_000);
    let (plain, serial) = timed(|| (0..8).map(|_| on_threads::inline(times)).collect::<Vec<_>>());
    let (threads, on_threads) = timed(|| on_threads::map([times; 8]));
    let (processes, in_processes) = timed(|| in_processes::map([times; 8]));
    let row = |mode, found, time| {
        Row::new(format!("8 counts on 4 workers, mode = \"{mode}\""), check(&found, &plain, "the same"))
            .serial(serial)
            .ours(time)
    };
    vec![row("thread", threads, on_threads), row("process", processes, in_processes)]
}
