//! What travels to a cluster, and what stays there.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use parallel_runtime::{SharedSlice, SharedValue, SharedVec, TaskError, WaitFor, as_completed, parallel, scope, wait};

use serde::{Deserialize, Serialize};

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

/// What serde's attributes make of types, in one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
struct Everything {
    #[serde(skip_deserializing)]
    id: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    maybe: Option<u8>,
    nested: Option<Option<()>>,
    any: Vec<Any>,
    value: serde_json::Value,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Rest {
    x: Any,
    y: Option<char>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Any {
    Number(i64),
    Text(String),
    Pair(bool, f64),
}

#[parallel(mode = "dask")]
fn through(value: Everything, lent: &Everything, changed: &mut Everything) -> [Everything; 2] {
    changed.maybe = Some(7);
    [value, lent.clone()]
}

#[parallel(mode = "dask")]
fn read(path: String) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn every_representation_and_errors_of_any_type_cross() {
    let cluster = Cluster::start(1);
    let pool = cluster.pool();
    let any = vec![Any::Number(-1), Any::Text("a".to_owned()), Any::Pair(true, 0.5)];
    let rest = Rest { x: Any::Number(1), y: Some('y') };
    let value = serde_json::json!({"a": [null, 1.5, "b"]});
    let sent = Everything { id: 9, maybe: None, nested: Some(None), any, value, rest };
    let expected = Everything { id: 0, ..sent.clone() };
    let mut changed = sent.clone();
    let arrived = through::on(&pool).call((sent.clone(), &sent, &mut changed));
    assert_eq!(arrived, [expected.clone(), expected.clone()]);
    assert_eq!(changed, Everything { maybe: Some(7), ..expected });
    let error = read::on(&pool).call("/no/such/file".to_owned()).unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (std::io::ErrorKind::NotFound, Some(2)));
}

/// How often shared data is in the memory of this machine.
fn blobs() -> usize {
    let entries = std::fs::read_dir("/dev/shm").unwrap().filter_map(Result::ok);
    let blobs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("parallel_blob-"));
    blobs.filter_map(|entry| Some(entry.metadata().ok()?.ino())).collect::<BTreeSet<_>>().len()
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
    assert_eq!(sums.iter().sum::<u64>(), table.iter().sum::<u64>());
    assert_eq!(blobs(), before + 1);
    let copied = pool.stats().bytes_copied;
    assert!(copied < 1 << 20, "{copied} bytes were copied");
    // A pool, or a program, that has the same data finds it; and takes nothing along when it goes.
    let other = cluster.pool();
    assert_eq!(look_up::on(&other).call((table.clone(), 5)), 15);
    assert_eq!(blobs(), before + 1);
    other.shutdown();
    assert_eq!(look_up::on(&pool).map([(table.clone(), 5), (table.clone(), 6)]), [15, 18]);
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
    assert!(copied < 1 << 20, "{copied} bytes have come without a request");
    let mut tasks = tasks.into_iter();
    assert!(is_right(tasks.next().unwrap().join()));
    assert!(is_right(block_on(tasks.next().unwrap())));
    // One that is not wanted.
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

#[parallel(mode = "dask")]
fn make_table(len: usize) -> SharedSlice<u64> {
    SharedVec::from_fn(len, |index| index as u64).share()
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_slice_that_is_returned_is_copied() {
    let cluster = Cluster::start(1);
    let table = make_table::on(&cluster.pool()).call(1 << 16);
    assert!(table.len() == 1 << 16 && table[12_345] == 12_345);
}

/// Does something when it is woken.
struct Then<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Then<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_waker_may_use_the_pool() {
    let cluster = Cluster::start(1);
    let pool = Arc::new(cluster.pool());
    let mut task = fill::on(&*pool).submit(1 << 20);
    assert_eq!(wait(std::slice::from_ref(&task), WaitFor::All, None).done, [0]);
    let (sender, receiver) = channel();
    let theirs = Arc::clone(&pool);
    let waker = Waker::from(Arc::new(Then(move || sender.send(theirs.stats().finished).unwrap())));
    // It has ended, and its result has to be fetched.
    assert!(std::pin::Pin::new(&mut task).poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(receiver.recv_timeout(Duration::from_secs(60)).unwrap(), 1);
    assert!(task.join().is_ok());
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn what_is_counted_adds_up_after_a_kill() {
    let cluster = Cluster::start(1);
    let pool = cluster.pool();
    let task = fill::on(&pool).submit(1 << 20);
    assert_eq!(wait(std::slice::from_ref(&task), WaitFor::All, None).done, [0]);
    pool.kill();
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.finished, stats.queued), (1, 1, 0));
    assert!(matches!(task.join(), Err(TaskError::Cancelled | TaskError::PoolClosed)));
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_task_that_has_hardly_begun_is_ended_with_its_pool() {
    let cluster = Cluster::start(1);
    for milliseconds in [0, 2, 4, 6, 8, 12, 20] {
        let pool = cluster.pool();
        pool.start().unwrap();
        let task = forever::on(&pool).submit(1);
        std::thread::sleep(Duration::from_millis(milliseconds));
        pool.kill();
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
        // The only thread of the cluster is free.
        let begun = Instant::now();
        assert_eq!(sum::on(&cluster.pool()).call(&[4, 5]), 9);
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?} after {milliseconds} ms", begun.elapsed());
    }
}

static STARTED: std::sync::OnceLock<u32> = std::sync::OnceLock::new();

fn start() {
    STARTED.set(std::process::id()).unwrap();
}

/// The process that it runs in, which `start` has prepared; after taking so many bytes of memory.
#[parallel(mode = "dask")]
fn worker(bytes: usize) -> u32 {
    assert_eq!(STARTED.get(), Some(&std::process::id()));
    std::hint::black_box(vec![1_u8; bytes]);
    std::process::id()
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn options_of_workers_hold_there() {
    let cluster = Cluster::start(1);
    let pool = cluster.pool().init(start).max_tasks_per_worker(5).memory_limit(64 << 20).retries(1);
    let workers: BTreeSet<u32> = worker::on(&pool).map([0; 20]).into_iter().collect();
    assert!(workers.len() >= 4 && !workers.contains(&std::process::id()), "{workers:?}");
    match worker::on(&pool).submit(256 << 20).join() {
        Err(TaskError::WorkerDied { reason, .. }) => assert!(reason.contains("memory"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(worker::on(&pool).submit(1 << 20).join().is_ok());
    let spawned = worker::on(&pool).spawn(0);
    assert_ne!(spawned.join().unwrap(), std::process::id());
    let endless = forever::on(&pool).spawn(1);
    assert!(!endless.is_finished() && endless.kill());
    assert!(matches!(endless.join(), Err(TaskError::Cancelled)));
}
