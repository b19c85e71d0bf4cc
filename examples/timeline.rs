//! A picture of what ran where: threads, worker processes, tasks that wait, die and take too long.
//!
//! `cargo run --release --example timeline` writes `timeline.html`, to be opened in a browser, and `timeline.json`, for
//! <https://ui.perfetto.dev>. Of any other program: `PARALLEL_TIMELINE=run.html cargo run ...`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use parallel_runtime::{ProcessPool, Timeline, parallel};

static POOL: ProcessPool = ProcessPool::new(4);

/// Works for about so long.
fn work(milliseconds: u64) {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

#[parallel(pool = POOL, mode = "process")]
fn decode(frame: u64) -> Vec<u8> {
    work(2 + frame % 3);
    vec![0; 100_000]
}

#[parallel(pool = POOL, mode = "process", timeout = "120ms")]
fn parse(input: u64) -> u64 {
    match input % 40 {
        13 => std::process::abort(),
        27 => loop {
            std::thread::sleep(Duration::from_secs(1));
        },
        _ => work(5),
    }
    input
}

#[parallel(pool = POOL, mode = "process")]
async fn fetch(url: String) -> usize {
    // A body that waits for a network frees its worker.
    smol::Timer::after(Duration::from_millis(20 + url.len() as u64)).await;
    url.len()
}

#[parallel(pool = 2)]
fn checksum(frame: Vec<u8>) -> u64 {
    work(1);
    frame.iter().map(|byte| u64::from(*byte)).sum()
}

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    let timeline = Timeline::start();

    let frames = decode::map(0..60);
    let sums = checksum::map(frames);
    let parsed = parse::try_map(0..80);
    let fetched = fetch::map((0..60).map(|page| format!("https://example.org/{}", "x".repeat(page))));
    let tasks: Vec<_> = (0..40).map(decode::submit).collect();
    let decoded = tasks.into_iter().filter_map(|task| task.join().ok()).count();

    let failed = parsed.iter().filter(|result| result.is_err()).count();
    println!(
        "{} sums, {failed} of {} inputs failed, {} pages, {decoded} frames",
        sums.len(),
        parsed.len(),
        fetched.len()
    );
    println!("{}", POOL.stats());
    for name in ["timeline.html", "timeline.json"] {
        timeline.write(folder.join(name))?;
        println!("written: {}", folder.join(name).display());
    }
    Ok(())
}
