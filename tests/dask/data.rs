//! What travels to a cluster, and what stays there.

use std::time::Duration;

use parallel_runtime::{SharedSlice, SharedValue, SharedVec, TaskError, WaitFor, as_completed, parallel, scope, wait};

use super::cluster::Cluster;
use super::streams::block_on;

#[parallel(mode = "dask")]
fn look_up(table: SharedSlice<u64>, index: usize) -> u64 {
    table[index]
}

#[parallel(mode = "dask")]
fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().sum()
}

#[parallel(mode = "dask")]
fn double(mut numbers: SharedVec<u64>) -> SharedVec<u64> {
    numbers.iter_mut().for_each(|number| *number *= 2);
    numbers
}

#[parallel(mode = "dask")]
fn double_in_place(numbers: &mut [u64]) {
    numbers.iter_mut().for_each(|number| *number *= 2);
}

#[parallel(mode = "dask")]
fn fill(len: usize) -> Vec<u64> {
    (0..len as u64).collect()
}

#[parallel(mode = "dask")]
fn get(value: SharedValue<u64>) -> u64 {
    value.get()
}

#[parallel(mode = "dask")]
fn forever(_x: u64) {
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Files that stand for shared data.
fn blobs() -> usize {
    let names = std::fs::read_dir("/dev/shm").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("parallel_blob-")).count()
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_large_slice_is_brought_to_a_machine_once() {
    let cluster = Cluster::start(2);
    let pool = cluster.pool();
    let before = blobs();
    let table = SharedVec::from_fn(4 << 20, |index| index as u64 * 3).share();
    let found = look_up::on(&pool).map((0..100).map(|index| (table.clone(), index * 1000)));
    assert_eq!(found, (0..100).map(|index| index * 3000).collect::<Vec<_>>());
    assert_eq!(blobs(), before + 1);
    // Parts of it, too.
    let sums = sum::on(&pool).map(table.chunks(1 << 20));
    assert_eq!(sums.iter().sum::<u64>(), table.iter().sum());
    assert_eq!(blobs(), before + 1);
    let copied = pool.stats().bytes_copied;
    assert!(copied < 1 << 20, "{copied} bytes were copied");
    // A program that has the same data finds it.
    let other = cluster.pool();
    assert_eq!(look_up::on(&other).call((table.clone(), 5)), 15);
    assert_eq!(blobs(), before + 1);
    other.shutdown();
    drop(table);
    while blobs() > before {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn buffers_are_copied_there_and_back() {
    let cluster = Cluster::start(1);
    let pool = cluster.pool();
    let doubled = double::on(&pool).call(SharedVec::from_fn(1000, |index| index as u64));
    assert!(doubled.iter().enumerate().all(|(index, number)| *number == 2 * index as u64));
    let mut numbers = SharedVec::from_fn(100_000, |index| index as u64);
    double_in_place::on(&pool).map(numbers.chunks_mut(1000));
    assert!(numbers.iter().enumerate().all(|(index, number)| *number == 2 * index as u64));
    let small = SharedVec::from_fn(10, |index| index as u64).share();
    assert_eq!(look_up::on(&pool).map((0..10).map(|index| (small.clone(), index))), (0..10).collect::<Vec<_>>());
    scope(|s| {
        let one = double_in_place::on(&pool).scoped(s, &mut numbers[..10]);
        one.join().unwrap();
    });
    assert_eq!(numbers[9], 36);
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn handles_of_this_machine_are_refused() {
    let cluster = Cluster::start(1);
    let pool = cluster.pool();
    match get::on(&pool).submit(SharedValue::new(1)).join() {
        Err(error @ TaskError::Encode { .. }) => assert!(error.to_string().contains("one machine"), "{error}"),
        other => panic!("{other:?}"),
    }
    // And the pool goes on.
    assert_eq!(sum::on(&pool).call(&[1, 2]), 3);
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn large_results_come_when_they_are_asked_for() {
    let cluster = Cluster::start(2);
    let pool = cluster.pool();
    const LEN: usize = 1 << 20;
    let is_right = |result: Result<Vec<u64>, TaskError>| {
        let result = result.unwrap();
        result.len() == LEN && result[LEN - 1] == LEN as u64 - 1
    };
    let tasks: Vec<_> = (0..4).map(|_| fill::on(&pool).submit(LEN)).collect();
    assert_eq!(wait(&tasks, WaitFor::All, None).done.len(), 4);
    let copied = pool.stats().bytes_copied;
    assert!(copied < 1 << 20, "{copied} bytes have come that nobody has asked for");
    let mut tasks = tasks.into_iter();
    assert!(is_right(tasks.next().unwrap().join()));
    assert!(is_right(block_on(tasks.next().unwrap())));
    // One that nobody wants.
    drop(tasks.next());
    assert!(as_completed(tasks).all(|(_, result)| is_right(result)));
    assert!(fill::on(&pool).map([LEN, LEN]).into_iter().all(|result| is_right(Ok(result))));
    assert!(fill::on(&pool).imap([LEN; 3]).all(is_right));
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn tasks_are_cancelled_killed_and_limited() {
    let cluster = Cluster::start(1);
    let pool = cluster.pool();
    let running = forever::on(&pool).submit(1);
    while !running.is_running() {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!running.cancel(), "it has begun");
    let waiting = forever::on(&pool).submit(2);
    assert!(!waiting.is_running());
    assert!(waiting.cancel());
    assert!(matches!(waiting.join(), Err(TaskError::Cancelled)));
    assert!(running.kill());
    assert!(matches!(running.join(), Err(TaskError::Cancelled)));
    let limited = forever::on(&pool).timeout(Duration::from_millis(200)).try_map([1, 2]);
    assert!(limited.iter().all(|result| matches!(result, Err(TaskError::TimedOut { .. }))), "{limited:?}");
    assert_eq!(sum::on(&pool).call(&[4]), 4);
    let stats = pool.stats();
    assert_eq!((stats.cancelled, stats.submitted), (2, stats.finished));
    let left = forever::on(&pool).submit(3);
    pool.kill();
    assert!(matches!(left.join(), Err(TaskError::Cancelled)));
    assert!(matches!(sum::on(&pool).submit(vec![1]).join(), Err(TaskError::PoolClosed)));
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_shutdown_runs_out_what_there_is() {
    let cluster = Cluster::start(2);
    let pool = cluster.pool();
    let tasks: Vec<_> = (0..50).map(|x| sum::on(&pool).submit(vec![x])).collect();
    pool.shutdown();
    for (x, task) in tasks.into_iter().enumerate() {
        assert!(task.is_finished());
        assert_eq!(task.join().unwrap(), x as u64);
    }
    assert!(matches!(sum::on(&pool).submit(vec![1]).join(), Err(TaskError::PoolClosed)));
}
