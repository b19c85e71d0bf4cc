//! Parameters of an `async fn` that are references.

use std::path::Path;
use std::time::Duration;

use parallel_runtime::{ProcessPool, SharedVec, TaskError, ThreadPool, parallel, scope};
use serde::{Deserialize, Serialize};
use smol::block_on;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    names: Vec<String>,
}

/// A function in each mode, with references to all that may stand behind one.
macro_rules! in_mode {
    ($mode:ident, $name:literal $(, $key:ident = $value:literal)*) => {
        mod $mode {
            use super::*;

            #[parallel(mode = $name)]
            pub(super) async fn describe(text: &str, numbers: &[u64], point: &Point, path: &Path, times: usize) -> String {
                smol::Timer::after(Duration::from_millis(1)).await;
                let sum: u64 = numbers.iter().sum();
                format!("{text} {sum} {} {} {}", point.x, point.names.len(), path.display()).repeat(times)
            }

            #[parallel(mode = $name)]
            pub(super) async fn length(text: &str) -> usize {
                text.len()
            }

            #[parallel(mode = $name $(, $key = $value)*)]
            pub(super) async fn sum(numbers: &[f64]) -> f64 {
                smol::Timer::after(Duration::from_millis(1)).await;
                numbers.iter().sum()
            }
        }
    };
}

in_mode!(threads, "thread");
in_mode!(processes, "process", retries = 1, timeout = "60s");
in_mode!(serial, "serial");

/// All verbs of the functions of a mode.
macro_rules! verbs {
    ($mode:ident) => {{
        let (text, numbers) = ("a".to_owned(), vec![1_u64, 2, 3]);
        let point = Point { x: 0.5, names: vec!["n".to_owned()] };
        let expected = "a 6 0.5 1 /p".repeat(2);
        let path = Path::new("/p");
        assert_eq!(block_on($mode::describe(&text, &numbers, &point, path, 2)), expected);
        assert_eq!(block_on($mode::describe::inline(&text, &numbers, &point, path, 2)), expected);
        let owned = || (text.clone(), numbers.clone(), point.clone(), path.to_owned(), 2);
        let (a, b, c, d, e) = owned();
        assert_eq!(block_on($mode::describe::submit(a, b, c, d, e)).unwrap(), expected);
        assert_eq!($mode::describe::map([(&text[..], &numbers[..], &point, path, 2)]), [expected.as_str()]);
        assert_eq!($mode::describe::map_async([owned(), owned()]).join().unwrap(), [&expected[..]; 2]);
        let texts: Vec<String> = (0..200).map(|length| "x".repeat(length)).collect();
        let lengths: Vec<usize> = (0..200).collect();
        assert_eq!($mode::length::map(texts.iter().map(String::as_str)), lengths);
        assert_eq!($mode::length::imap(texts.clone()).map(Result::unwrap).collect::<Vec<_>>(), lengths);
        assert_eq!($mode::length::spawn(texts[7].clone()).join().unwrap(), 7);
        let shared = SharedVec::from_slice(&[1.5; 100_000]);
        assert_eq!(block_on($mode::sum(&shared)), 150_000.0);
        assert_eq!($mode::sum::map(shared.chunks(10_000)), [15_000.0; 10]);
        let joined = scope(|scope| {
            let tasks: Vec<_> = shared.chunks(1000).map(|chunk| $mode::sum::scoped(scope, chunk)).collect();
            tasks.into_iter().map(|task| task.join().unwrap()).sum::<f64>()
        });
        assert_eq!(joined, 150_000.0);
    }};
}

#[test]
fn an_async_fn_may_take_references_on_threads() {
    verbs!(threads);
}

#[test]
fn an_async_fn_may_take_references_in_processes() {
    verbs!(processes);
}

#[test]
fn an_async_fn_may_take_references_in_place() {
    verbs!(serial);
}

#[test]
fn an_async_fn_that_takes_references_runs_on_either_kind_of_pool() {
    let (threads, processes) = (ThreadPool::new(2), ProcessPool::new(2));
    let texts = ["a", "bc"];
    assert_eq!(processes::length::on(&threads).map(texts), [1, 2]);
    assert_eq!(processes::length::on(&processes).map(texts), [1, 2]);
    assert_eq!(block_on(processes::length::on(&processes).submit("abc".to_owned())).unwrap(), 3);
}

/// What is awaited is a copy: a future that is forgotten leaves nothing behind that a task could still read.
#[test]
fn the_future_of_a_plain_call_may_be_forgotten_while_its_task_runs() {
    for forgotten in 0..20_usize {
        let mut shared = SharedVec::from_slice(&vec![1.0; 1000 + forgotten]);
        {
            let mut threads = Box::pin(threads::sum(&shared));
            let mut processes = Box::pin(processes::sum(&shared));
            let waker = std::task::Waker::noop();
            let mut context = std::task::Context::from_waker(waker);
            assert!(Future::poll(threads.as_mut(), &mut context).is_pending());
            assert!(Future::poll(processes.as_mut(), &mut context).is_pending());
            std::mem::forget((threads, processes));
        }
        shared.fill(f64::NAN);
    }
}

#[parallel]
impl Point {
    #[parallel(mode = "process")]
    async fn distance(&self, other: &Point) -> f64 {
        (self.x - other.x).abs()
    }

    #[parallel]
    async fn named(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }
}

#[test]
fn an_async_method_may_take_self_by_reference() {
    let point = Point { x: 1.0, names: vec!["n".to_owned()] };
    let other = Point { x: 3.5, names: Vec::new() };
    assert_eq!(block_on(point.distance(&other)), 2.5);
    assert!(block_on(point.named("n")) && !block_on(other.named("n")));
    assert_eq!(Point::distance_call().map([(&point, &other), (&other, &other)]), [2.5, 0.0]);
    assert!(scope(|scope| Point::named_call().scoped(scope, (&point, "n")).join()).unwrap());
}

#[parallel(mode = "process", pool = 1)]
async fn stubborn(text: &str, marker: &Path) -> usize {
    if !marker.exists() {
        std::fs::write(marker, "").unwrap();
        std::process::abort();
    }
    text.len()
}

#[parallel(mode = "process", pool = 1, timeout = "50ms")]
async fn slow(text: &str) -> usize {
    smol::Timer::after(Duration::from_secs(3600)).await;
    text.len()
}

#[test]
fn retries_and_limits_go_for_async_fns_with_references() {
    let marker = std::env::temp_dir().join(format!("parallel-async-borrows-{}", std::process::id()));
    let _ = std::fs::remove_file(&marker);
    let call = stubborn::options().retries(1);
    assert_eq!(call.map([("abc", marker.as_path())]), [3]);
    std::fs::remove_file(&marker).unwrap();
    assert_eq!(call.submit(("abc".to_owned(), marker.clone())).join().unwrap(), 3);
    std::fs::remove_file(&marker).unwrap();
    let late = slow::try_map(["a", "b"]);
    assert!(late.iter().all(|result| matches!(result, Err(TaskError::TimedOut { .. }))), "{late:?}");
    let scoped = scope(|scope| slow::scoped(scope, "a").join());
    assert!(matches!(scoped, Err(TaskError::TimedOut { .. })));
}
