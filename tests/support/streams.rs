//! Results as they come, wherever the functions run: `as_completed`, `wait`, `imap`, streams, futures, callbacks, scopes. A table of
//! functions that take the pool.

use crate::pools::{TestPool, parallel};
use parallel_runtime::{SharedVec, TaskError, WaitFor, as_completed, scope, wait};
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// The smallest executor.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Counts what runs, on whatever workers of this machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Runs(PathBuf);

impl Runs {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("parallel-runs-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::write(&path, "").unwrap();
        Self(path)
    }

    pub(crate) fn add(&self) {
        File::options().append(true).open(&self.0).unwrap().write_all(b"|").unwrap();
    }

    /// How many have run. To be asked once.
    pub(crate) fn get(&self) -> u64 {
        let runs = fs::metadata(&self.0).unwrap().len();
        fs::remove_file(&self.0).unwrap();
        runs
    }
}

#[parallel(mode = "process", pool = 2)]
fn square(x: u64) -> u64 {
    x * x
}

#[parallel(mode = "process", pool = 2)]
fn length(text: &str, times: usize) -> usize {
    text.len() * times
}

#[parallel(mode = "process", pool = 2)]
fn pause(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

#[parallel(mode = "process", pool = 2)]
fn odd(x: u64) -> u64 {
    assert!(x % 2 == 1, "{x} is even");
    x
}

pub(crate) fn as_completed_gives_each_task_once(pool: &'static TestPool) {
    let tasks = (0..500).map(|item| pool.on::<square>().submit(item));
    let mut results: Vec<_> = as_completed(tasks).map(|(index, result)| (index, result.unwrap())).collect();
    results.sort_unstable();
    assert_eq!(results, (0..500).map(|x| (x as usize, x * x)).collect::<Vec<_>>());
    assert_eq!(as_completed(Vec::<parallel_runtime::Task<u8>>::new()).count(), 0);
}

pub(crate) fn as_completed_gives_failures_as_they_are(pool: &'static TestPool) {
    let results: Vec<_> = as_completed((0..10).map(|item| pool.on::<odd>().submit(item))).collect();
    assert_eq!(results.len(), 10);
    for (index, result) in results {
        match result {
            Ok(value) => assert_eq!((value, index % 2), (index as u64, 1)),
            Err(error) => {
                assert!(matches!(error, TaskError::Panicked { .. }) && index % 2 == 0);
                assert!(error.to_string().contains("is even"), "{error}");
            }
        }
    }
}

pub(crate) fn wait_tells_which_have_ended(pool: &'static TestPool) {
    let tasks: Vec<_> = (0..20).map(|item| pool.on::<square>().submit(item)).collect();
    let waited = wait(&tasks, WaitFor::All, None);
    assert_eq!((waited.done, waited.pending), ((0..20).collect(), vec![]));
    // It takes nothing, and may be asked again.
    assert_eq!(wait(&tasks, WaitFor::FirstCompleted, None).done.len(), 20);
    assert_eq!(tasks.into_iter().map(|task| task.join().unwrap()).sum::<u64>(), 2470);
    let tasks: Vec<_> = [1, 3, 2, 5].map(|item| pool.on::<odd>().submit(item)).into();
    let waited = wait(&tasks, WaitFor::FirstError, None);
    assert!(waited.done.contains(&2), "{waited:?}");
    assert_eq!(wait(&Vec::<parallel_runtime::Task<u8>>::new(), WaitFor::FirstCompleted, None).done.len(), 0);
}

pub(crate) fn a_cancelled_task_is_no_first_error(pool: &'static TestPool) {
    if pool.runs_in_place() {
        return;
    }
    let busy: Vec<_> = (0..4).map(|_| pool.on::<pause>().submit(300)).collect();
    let tasks = [pool.on::<pause>().submit(0), pool.on::<pause>().submit(1)];
    assert!(tasks[0].cancel());
    // It waits for the other one, which does not fail.
    let waited = wait(&tasks, WaitFor::FirstError, None);
    assert_eq!((waited.done, waited.pending), (vec![0, 1], vec![]));
    drop(busy);
}

pub(crate) fn wait_gives_up_at_its_limit(pool: &'static TestPool) {
    if pool.runs_in_place() {
        return;
    }
    let tasks = [pool.on::<pause>().submit(3_000), pool.on::<pause>().submit(1)];
    let waited = wait(&tasks, WaitFor::All, Some(Duration::from_millis(50)));
    assert!(waited.pending.contains(&0), "{waited:?}");
    tasks.iter().for_each(|task| _ = task.kill());
}

pub(crate) fn imap_gives_results_in_order(pool: &'static TestPool) {
    let squares: Vec<u64> = pool.on::<square>().imap(0..3000).map(Result::unwrap).collect();
    assert_eq!(squares, (0..3000).map(|x| x * x).collect::<Vec<_>>());
    assert_eq!(pool.on::<square>().imap(Vec::<u64>::new()).count(), 0);
    let lengths = pool.on::<length>().imap([("a".to_owned(), 2), ("bcd".to_owned(), 1), (String::new(), 9)]);
    assert_eq!(lengths.map(Result::unwrap).collect::<Vec<_>>(), [2, 3, 0]);
    let chunks = pool.on::<square>().chunk(7).imap(0..100);
    assert_eq!(chunks.map(Result::unwrap).last(), Some(9801));
}

pub(crate) fn imap_takes_items_only_a_little_ahead(pool: &'static TestPool) {
    let taken = Cell::new(0_u64);
    let mut squares = pool.on::<square>().imap((0..).inspect(|_| taken.set(taken.get() + 1)));
    assert_eq!(taken.get(), 0);
    let mut ahead = 0;
    for expected in 0..2000_u64 {
        assert_eq!(squares.next().unwrap().unwrap(), expected * expected);
        ahead = ahead.max(taken.get() - expected);
    }
    assert!(ahead < 1_000_000, "{ahead} items ahead of the results");
}

pub(crate) fn imap_goes_on_after_an_item_that_failed(pool: &'static TestPool) {
    let results: Vec<_> = pool.on::<odd>().imap(0..100).collect();
    assert_eq!(results.len(), 100);
    for (x, result) in results.into_iter().enumerate() {
        assert_eq!(result.ok(), (x % 2 == 1).then_some(x as u64));
    }
}

pub(crate) fn imap_unordered_gives_each_item_once_with_its_number(pool: &'static TestPool) {
    let mut results: Vec<_> =
        pool.on::<square>().imap_unordered(0..3000).map(|(index, result)| (index, result.unwrap())).collect();
    results.sort_unstable();
    assert_eq!(results, (0..3000).map(|x| (x as usize, x * x)).collect::<Vec<_>>());
}

pub(crate) fn what_an_iterator_has_not_started_never_runs(pool: &'static TestPool) {
    #[parallel(mode = "process", pool = 2)]
    fn counted(runs: Runs) {
        runs.add();
        std::thread::sleep(Duration::from_millis(10));
    }
    let runs = Runs::new();
    let mut results = pool.on::<counted>().chunk(1).imap(std::iter::repeat_n(runs.clone(), 1000));
    assert!(results.next().unwrap().is_ok());
    drop(results);
    // It comes after what has started.
    pool.on::<counted>().submit(runs.clone()).join().unwrap();
    assert!(runs.get() < 100, "{} have run", runs.get());
}

pub(crate) fn tasks_and_maps_are_futures(pool: &'static TestPool) {
    let sum = async {
        let (one, other) = (pool.on::<square>().submit(3), pool.on::<square>().submit(4));
        let squares = pool.on::<square>().map_async(0..100).await?;
        Ok::<_, TaskError>(one.await? + other.await? + squares[99])
    };
    assert_eq!(block_on(sum).unwrap(), 25 + 9801);
    assert!(matches!(block_on(pool.on::<odd>().submit(2)), Err(TaskError::Panicked { .. })));
    assert!(matches!(block_on(pool.on::<odd>().map_async([1, 2])), Err(TaskError::Panicked { .. })));
    let mut task = pool.on::<square>().submit(5);
    assert_eq!(block_on(&mut task).unwrap(), 25);
    assert!(matches!(block_on(&mut task), Err(TaskError::ResultTaken)), "the result is given once");
}

pub(crate) fn many_futures_are_awaited_at_once(pool: &'static TestPool) {
    use futures_lite::StreamExt;
    let all = async {
        let tasks: Vec<_> = (0..1000).map(|item| pool.on::<square>().submit(item)).collect();
        let mut sum = 0;
        let mut tasks = futures_lite::stream::iter(tasks);
        while let Some(task) = tasks.next().await {
            sum += task.await.unwrap();
        }
        sum
    };
    assert_eq!(smol::block_on(all), (0..1000_u64).map(|x| x * x).sum::<u64>());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let sum = runtime.block_on(async {
        let tasks: Vec<_> =
            (0..200).map(|x| tokio::spawn(async move { pool.on::<square>().submit(x).await.unwrap() })).collect();
        let mut sum = 0;
        for task in tasks {
            sum += task.await.unwrap();
        }
        sum
    });
    assert_eq!(sum, (0..200_u64).map(|x| x * x).sum::<u64>());
}

pub(crate) fn a_stream_gives_results_in_order_and_takes_items_as_they_are_wanted(pool: &'static TestPool) {
    use futures_lite::StreamExt;
    let taken = Cell::new(0_u64);
    let items = (0..).inspect(|_| taken.set(taken.get() + 1));
    let squares = block_on(async {
        let mut stream = pool.on::<square>().stream(items).take(3000);
        let mut squares = Vec::new();
        while let Some(square) = stream.next().await {
            squares.push(square.unwrap());
        }
        squares
    });
    assert_eq!(squares, (0..3000).map(|x| x * x).collect::<Vec<_>>());
    assert!(taken.get() < 1_000_000, "{}", taken.get());
    let lengths =
        smol::block_on(pool.on::<length>().stream([("a".to_owned(), 2), ("bcd".to_owned(), 1)]).collect::<Vec<_>>());
    assert_eq!(lengths.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [2, 3]);
}

#[parallel(mode = "process", pool = 2)]
fn total(numbers: &[u64]) -> u64 {
    numbers.iter().sum()
}

#[parallel(mode = "process", pool = 2)]
fn double(numbers: &mut [u64], words: &mut Vec<String>, fails: bool) -> usize {
    numbers.iter_mut().for_each(|number| *number *= 2);
    words.push("more".to_owned());
    assert!(!fails, "on purpose");
    numbers.len()
}

/// Ready when it is polled for the second time.
#[parallel(mode = "process", pool = 2)]
async fn later(text: String, times: usize) -> usize {
    futures_lite::future::yield_now().await;
    assert!(!text.is_empty(), "no text");
    text.len() * times
}

pub(crate) fn an_async_function_is_awaited_here_and_runs_there(pool: &'static TestPool) {
    let sum = async {
        let later = |text: &str, times| pool.on::<later>().submit((text.to_owned(), times));
        later("abc", 2).await.unwrap() + later("d", 1).await.unwrap()
    };
    assert_eq!(block_on(sum), 7);
    assert_eq!(pool.on::<later>().submit(("ab".to_owned(), 3)).join().unwrap(), 6);
    assert_eq!(pool.on::<later>().map((1..4).map(|times| ("x".to_owned(), times))), [1, 2, 3]);
    assert_eq!(block_on(later::inline("abc".to_owned(), 1)), 3);
    match block_on(pool.on::<later>().submit((String::new(), 1))) {
        Err(TaskError::Panicked { message, .. }) => assert_eq!(message, "no text"),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn tasks_in_a_scope_borrow(pool: &'static TestPool) {
    let table: Vec<u64> = (0..1000).collect();
    let (mut numbers, mut words) = ([1, 2, 3, 4], [vec![], vec![]]);
    let mut shared = SharedVec::from_slice(&[5_u64; 10]);
    let [one, other] = &mut words;
    let sums = scope(|s| {
        let (left, right) = numbers.split_at_mut(2);
        let doubled = pool.on::<double>().scoped(s, (left, one, false));
        let sums = table.chunks(100).map(|part| pool.on::<total>().scoped(s, part)).collect::<Vec<_>>();
        // These are not joined, and they are waited for.
        let _ = pool.on::<double>().scoped(s, (right, other, false));
        let _ = pool.on::<double>().scoped(s, (&mut shared[..5], Box::leak(Box::default()), false));
        assert_eq!(doubled.join().unwrap(), 2);
        sums.into_iter().map(|sum| sum.join().unwrap()).sum::<u64>()
    });
    assert_eq!((sums, numbers), (499_500, [2, 4, 6, 8]));
    assert_eq!(words, [["more"], ["more"]]);
    assert_eq!(shared, [10, 10, 10, 10, 10, 5, 5, 5, 5, 5]);
}

pub(crate) fn a_scope_does_not_lose_failures(pool: &'static TestPool) {
    let mut numbers = [1, 2];
    let result = scope(|s| pool.on::<double>().scoped(s, (&mut numbers, Box::leak(Box::default()), true)).join());
    assert!(matches!(result, Err(TaskError::Panicked { .. })));
    let unjoined = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        scope(|s| drop(pool.on::<double>().scoped(s, (&mut numbers, Box::leak(Box::default()), true))));
    }));
    let text = *unjoined.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("on purpose") && text.contains("double"), "{text}");
    // What panics in the scope itself comes out, after all tasks.
    let mut more = [3, 4];
    let own = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        scope(|s| {
            let _ = pool.on::<double>().scoped(s, (&mut more, Box::leak(Box::default()), false));
            panic!("of its own");
        })
    }));
    assert_eq!(*own.unwrap_err().downcast_ref::<&str>().unwrap(), "of its own");
    assert_eq!(more, [6, 8]);
}

pub(crate) fn on_done_calls_back_before_and_after_the_end(pool: &'static TestPool) {
    let (sender, receiver) = channel();
    let task = pool.on::<square>().submit(6);
    let say = |what: &'static str| {
        let sender = sender.clone();
        move || sender.send(what).unwrap()
    };
    task.on_done(say("first"));
    task.on_done(|| panic!("this is printed, and does no harm"));
    task.on_done(say("second"));
    // It may end between the two: then either call may come first.
    let mut said = [receiver.recv().unwrap(), receiver.recv().unwrap()];
    said.sort_unstable();
    assert_eq!(said, ["first", "second"]);
    task.on_done(say("late"));
    assert_eq!(receiver.recv().unwrap(), "late");
    assert_eq!(task.join().unwrap(), 36);
    // The task is dropped, and still calls back.
    pool.on::<pause>().submit(20).on_done(say("dropped"));
    assert_eq!(receiver.recv().unwrap(), "dropped");
}

/// A test for each behaviour, on this pool.
macro_rules! streams {
    ($module:ident, $pool:expr $(, #[$attribute:meta])?) => {
        cases! {
            $module, $pool, [$(#[$attribute])?]
            as_completed_gives_each_task_once
            as_completed_gives_failures_as_they_are
            wait_tells_which_have_ended
            a_cancelled_task_is_no_first_error
            wait_gives_up_at_its_limit
            imap_gives_results_in_order
            imap_takes_items_only_a_little_ahead
            imap_goes_on_after_an_item_that_failed
            imap_unordered_gives_each_item_once_with_its_number
            what_an_iterator_has_not_started_never_runs
            tasks_and_maps_are_futures
            many_futures_are_awaited_at_once
            a_stream_gives_results_in_order_and_takes_items_as_they_are_wanted
            an_async_function_is_awaited_here_and_runs_there
            tasks_in_a_scope_borrow
            a_scope_does_not_lose_failures
            on_done_calls_back_before_and_after_the_end
        }
    };
}
