//! Functions that wait.

use std::time::Duration;

use parallel_runtime::parallel;

use crate::Scale;
use crate::table::{Row, check, timed};

#[parallel(mode = "process", pool = 2)]
async fn in_processes(item: u64, milliseconds: u64) -> u64 {
    smol::Timer::after(Duration::from_millis(milliseconds)).await;
    item
}

#[parallel(mode = "thread", pool = 2)]
async fn on_threads(item: u64, milliseconds: u64) -> u64 {
    smol::Timer::after(Duration::from_millis(milliseconds)).await;
    item
}

/// Ten thousand that sleep at a time. One after the other was not tried: the serial time is their sum.
pub fn asynchronous(scale: Scale) -> Vec<Row> {
    let (count, nap) = (scale.of(10_000, 2_000), scale.of(500, 100));
    let items = || (0..count).map(|item| (item, nap));
    let serial = Duration::from_millis(count * nap);
    let row = |mode, found: Vec<u64>, time| {
        let right = check(&found.into_iter().eq(0..count), &true, "all in order (serial: the sum)");
        Row::new(format!("{count} async sleeps, 2 workers, \"{mode}\""), right).serial(serial).ours(time)
    };
    let (threads, on_threads) = timed(|| on_threads::map(items()));
    let (processes, in_processes) = timed(|| in_processes::map(items()));
    vec![row("thread", threads, on_threads), row("process", processes, in_processes)]
}
