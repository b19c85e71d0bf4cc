//! Functions on a Dask cluster beside Dask's own Python client, and beside the limit:
//! `tests/dask/with-cluster cargo bench -p parallel-benches --bench cluster`.

use std::collections::HashMap;
use std::process::Command;
use std::time::{Duration, Instant};

use parallel_runtime::{DaskPool, as_completed, parallel};

static CLUSTER: DaskPool = DaskPool::from_env();

#[parallel(pool = CLUSTER, mode = "dask")]
fn square(x: u64) -> u64 {
    x * x
}

#[parallel(pool = CLUSTER, mode = "dask")]
fn nap(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn time(run: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    run();
    begun.elapsed()
}

fn main() {
    let python = std::env::var("PARALLEL_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let Ok(address) = std::env::var("PARALLEL_DASK") else {
        println!("no cluster: tests/dask/with-cluster cargo bench -p parallel-benches --bench cluster");
        return;
    };
    let connected = time(|| CLUSTER.start().unwrap());
    let workers = CLUSTER.workers();
    println!("{workers} threads; connected, with the executable on every worker, after {connected:.0?}");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cluster.py");
    let peer = Command::new(python).args([script, &address]).output().unwrap();
    let text = String::from_utf8(peer.stdout).unwrap();
    let peer: HashMap<&str, f64> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, value)| (name, value.parse().unwrap()))
        .collect();

    (0..20).for_each(|x| _ = square(x));
    let call = median((0..100).map(|x| time(|| _ = square(x))).collect()).as_secs_f64() * 1e3;
    println!("one call               {call:>9.1} ms       {:>5.2} × that of Python's client", call / peer["call"]);

    let rates: Vec<f64> = (0..5).map(|_| 1e6 / time(|| _ = square::map(0..1_000_000)).as_secs_f64()).collect();
    let best = rates.iter().copied().fold(0.0, f64::max);
    let middle = median(rates.iter().map(|rate| Duration::from_secs_f64(1e3 / rate)).collect());
    println!(
        "map, tiny items        {:>9.2} M/s      {:>5.2} × that of Python's client in batches of 10,000 (best of 5: {:.2} M/s)",
        1e-3 / middle.as_secs_f64(),
        1e3 / middle.as_secs_f64() / peer["map"],
        best / 1e6
    );

    let naps = time(|| _ = nap::map(vec![10; 400])).as_secs_f64() * 1e3;
    let ideal = 4_000.0 / workers as f64;
    println!(
        "400 items of 10 ms     {naps:>9.0} ms       {:>5.2} × the ideal, {:.2} × Python's client",
        naps / ideal,
        naps / peer["naps"]
    );

    for position in [0, 500] {
        let mut items = vec![5; 1_000];
        items[position] = 5_000;
        let uneven = time(|| _ = nap::map(items)).as_secs_f64() * 1e3;
        // Those before it are done by all; then one is busy with it, and the others with the rest.
        let before = position as f64 * 5.0 / workers as f64;
        let rest = (999 - position) as f64 * 5.0;
        let ideal = before + f64::max(5_000.0, (rest + 5_000.0) / workers as f64);
        println!(
            "5 s in 999 of 5 ms     {uneven:>9.0} ms       {:>5.2} × the ideal (at position {position})",
            uneven / ideal
        );
    }

    let tasks = 1e4
        / time(|| {
            let tasks: Vec<_> = (0..10_000).map(square::submit).collect();
            assert!(as_completed(tasks).all(|(_, result)| result.is_ok()));
        })
        .as_secs_f64();
    println!("10,000 submitted tasks {tasks:>9.0} /s       {:>5.1} × that of Python's client", tasks / peer["tasks"]);
}
