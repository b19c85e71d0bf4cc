//! Results as they come, wherever the functions run: `as_completed`, `wait`, `imap`, streams, futures, callbacks, scopes.
//!
//! One table: a macro whose argument is the mode, so it cannot be spread over several files.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use serde::{Deserialize, Serialize};

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

macro_rules! streams {
    ($module:ident, $mode:literal $(, $pool:ident = $workers:literal)? $(, #[$attribute:meta])?) => {
        mod $module {
            use std::cell::Cell;
            use std::sync::mpsc::channel;
            use std::task::{Context, Waker};
            use std::time::{Duration, Instant};

            use parallel_runtime::{SharedVec, TaskError, WaitFor, as_completed, parallel, scope, wait};

            use super::table::{Runs, block_on};

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn square(x: u64) -> u64 {
                x * x
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn length(text: &str, times: usize) -> usize {
                text.len() * times
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn pause(milliseconds: u64) -> u64 {
                std::thread::sleep(Duration::from_millis(milliseconds));
                milliseconds
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn odd(x: u64) -> u64 {
                assert!(x % 2 == 1, "{x} is even");
                x
            }

            #[test]
            $(#[$attribute])?
            fn as_completed_gives_each_task_once() {
                let tasks = (0..500).map(square::submit);
                let mut results: Vec<_> = as_completed(tasks).map(|(index, result)| (index, result.unwrap())).collect();
                results.sort_unstable();
                assert_eq!(results, (0..500).map(|x| (x as usize, x * x)).collect::<Vec<_>>());
                assert_eq!(as_completed(Vec::<parallel_runtime::Task<u8>>::new()).count(), 0);
            }

            #[test]
            $(#[$attribute])?
            fn as_completed_gives_failures_as_they_are() {
                let results: Vec<_> = as_completed((0..10).map(odd::submit)).collect();
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

            #[test]
            $(#[$attribute])?
            fn wait_tells_which_have_ended() {
                let tasks: Vec<_> = (0..20).map(square::submit).collect();
                let waited = wait(&tasks, WaitFor::All, None);
                assert_eq!((waited.done, waited.pending), ((0..20).collect(), vec![]));
                // It takes nothing, and may be asked again.
                assert_eq!(wait(&tasks, WaitFor::FirstCompleted, None).done.len(), 20);
                assert_eq!(tasks.into_iter().map(|task| task.join().unwrap()).sum::<u64>(), 2470);
                let tasks: Vec<_> = [1, 3, 2, 5].map(odd::submit).into();
                let waited = wait(&tasks, WaitFor::FirstError, None);
                assert!(waited.done.contains(&2), "{waited:?}");
                assert_eq!(wait(&Vec::<parallel_runtime::Task<u8>>::new(), WaitFor::FirstCompleted, None).done.len(), 0);
            }

            #[test]
            $(#[$attribute])?
            fn wait_gives_up_at_its_limit() {
                if $mode == "serial" {
                    return;
                }
                let tasks = [pause::submit(3_000), pause::submit(1)];
                let begun = Instant::now();
                let waited = wait(&tasks, WaitFor::All, Some(Duration::from_millis(50)));
                assert!(begun.elapsed() < Duration::from_secs(2) && waited.pending.contains(&0), "{waited:?}");
                let _ = tasks.iter().map(|task| task.kill()).count();
            }

            #[test]
            $(#[$attribute])?
            fn imap_gives_results_in_order() {
                let squares: Vec<u64> = square::imap(0..3000).map(Result::unwrap).collect();
                assert_eq!(squares, (0..3000).map(|x| x * x).collect::<Vec<_>>());
                assert_eq!(square::imap([]).count(), 0);
                let lengths = length::imap([("a".to_owned(), 2), ("bcd".to_owned(), 1), (String::new(), 9)]);
                assert_eq!(lengths.map(Result::unwrap).collect::<Vec<_>>(), [2, 3, 0]);
                let chunks = square::options().chunk(7).imap(0..100);
                assert_eq!(chunks.map(Result::unwrap).last(), Some(9801));
            }

            #[test]
            $(#[$attribute])?
            fn imap_takes_items_only_a_little_ahead() {
                let taken = Cell::new(0_u64);
                let mut squares = square::imap((0..).inspect(|_| taken.set(taken.get() + 1)));
                assert_eq!(taken.get(), 0);
                let mut ahead = 0;
                for expected in 0..2000_u64 {
                    assert_eq!(squares.next().unwrap().unwrap(), expected * expected);
                    ahead = ahead.max(taken.get() - expected);
                }
                assert!(ahead < 1_000_000, "{ahead} items ahead of the results");
            }

            #[test]
            $(#[$attribute])?
            fn imap_goes_on_after_an_item_that_failed() {
                let results: Vec<_> = odd::imap(0..100).collect();
                assert_eq!(results.len(), 100);
                for (x, result) in results.into_iter().enumerate() {
                    assert_eq!(result.ok(), (x % 2 == 1).then_some(x as u64));
                }
            }

            #[test]
            $(#[$attribute])?
            fn imap_unordered_gives_each_item_once_with_its_number() {
                let mut results: Vec<_> = square::imap_unordered(0..3000).map(|(index, result)| (index, result.unwrap())).collect();
                results.sort_unstable();
                assert_eq!(results, (0..3000).map(|x| (x as usize, x * x)).collect::<Vec<_>>());
            }

            #[test]
            $(#[$attribute])?
            fn what_an_iterator_has_not_started_never_runs() {
                #[parallel(mode = $mode $(, $pool = $workers)?)]
                fn counted(runs: Runs) {
                    runs.add();
                    std::thread::sleep(Duration::from_millis(10));
                }
                let runs = Runs::new();
                let mut results = counted::options().chunk(1).imap(std::iter::repeat_n(runs.clone(), 1000));
                assert!(results.next().unwrap().is_ok());
                drop(results);
                // It comes after what has started.
                counted::submit(runs.clone()).join().unwrap();
                assert!(runs.get() < 100, "{} have run", runs.get());
            }

            #[test]
            $(#[$attribute])?
            fn tasks_and_maps_are_futures() {
                let sum = async {
                    let (one, other) = (square::submit(3), square::submit(4));
                    let squares = square::map_async(0..100).await?;
                    Ok::<_, TaskError>(one.await? + other.await? + squares[99])
                };
                assert_eq!(block_on(sum).unwrap(), 25 + 9801);
                assert!(matches!(block_on(odd::submit(2)), Err(TaskError::Panicked { .. })));
                assert!(matches!(block_on(odd::map_async([1, 2])), Err(TaskError::Panicked { .. })));
                let mut task = square::submit(5);
                assert_eq!(block_on(&mut task).unwrap(), 25);
                assert!(matches!(block_on(&mut task), Err(TaskError::Cancelled)), "the result is given once");
            }

            #[test]
            $(#[$attribute])?
            fn many_futures_are_awaited_at_once() {
                use futures_lite::StreamExt;
                let all = async {
                    let tasks: Vec<_> = (0..1000).map(square::submit).collect();
                    let mut sum = 0;
                    let mut tasks = futures_lite::stream::iter(tasks);
                    while let Some(task) = tasks.next().await {
                        sum += task.await.unwrap();
                    }
                    sum
                };
                assert_eq!(smol::block_on(all), (0..1000_u64).map(|x| x * x).sum());
                let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
                let sum = runtime.block_on(async {
                    let tasks: Vec<_> = (0..200).map(|x| tokio::spawn(async move { square::submit(x).await.unwrap() })).collect();
                    let mut sum = 0;
                    for task in tasks {
                        sum += task.await.unwrap();
                    }
                    sum
                });
                assert_eq!(sum, (0..200_u64).map(|x| x * x).sum());
            }

            #[test]
            $(#[$attribute])?
            fn a_stream_gives_results_in_order_and_takes_items_as_they_are_wanted() {
                use futures_lite::StreamExt;
                let taken = Cell::new(0_u64);
                let items = (0..).inspect(|_| taken.set(taken.get() + 1));
                let squares = block_on(async {
                    let mut stream = square::stream(items).take(3000);
                    let mut squares = Vec::new();
                    while let Some(square) = stream.next().await {
                        squares.push(square.unwrap());
                    }
                    squares
                });
                assert_eq!(squares, (0..3000).map(|x| x * x).collect::<Vec<_>>());
                assert!(taken.get() < 1_000_000, "{}", taken.get());
                let lengths = smol::block_on(length::stream([("a".to_owned(), 2), ("bcd".to_owned(), 1)]).collect::<Vec<_>>());
                assert_eq!(lengths.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [2, 3]);
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn total(numbers: &[u64]) -> u64 {
                numbers.iter().sum()
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn double(numbers: &mut [u64], words: &mut Vec<String>, fails: bool) -> usize {
                numbers.iter_mut().for_each(|number| *number *= 2);
                words.push("more".to_owned());
                assert!(!fails, "on purpose");
                numbers.len()
            }

            /// Ready when it is polled for the second time.
            #[parallel(mode = $mode $(, $pool = $workers)?)]
            async fn later(text: String, times: usize) -> usize {
                futures_lite::future::yield_now().await;
                assert!(!text.is_empty(), "no text");
                text.len() * times
            }

            #[test]
            $(#[$attribute])?
            fn an_async_function_is_awaited_here_and_runs_there() {
                let sum = async { later("abc".to_owned(), 2).await + later("d".to_owned(), 1).await };
                assert_eq!(block_on(sum), 7);
                assert_eq!(later::submit("ab".to_owned(), 3).join().unwrap(), 6);
                assert_eq!(later::map((1..4).map(|times| ("x".to_owned(), times))), [1, 2, 3]);
                assert_eq!(block_on(later::inline("abc".to_owned(), 1)), 3);
                let panicked = std::panic::catch_unwind(|| block_on(later(String::new(), 1)));
                let payload = panicked.unwrap_err();
                let text = payload.downcast_ref::<String>().map_or_else(|| *payload.downcast_ref::<&str>().unwrap(), String::as_str);
                assert_eq!(text, "no text");
            }

            #[test]
            $(#[$attribute])?
            fn an_async_call_that_is_dropped_before_it_starts_does_not_run() {
                if $mode == "serial" {
                    return;
                }
                #[parallel(mode = $mode $(, $pool = $workers)?)]
                async fn count(runs: Runs) {
                    runs.add();
                }
                let runs = Runs::new();
                drop(count(runs.clone()));
                // The tasks before it keep every worker busy.
                let busy: Vec<_> = (0..4).map(|_| pause::submit(200)).collect();
                let mut call = Box::pin(count(runs.clone()));
                assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                drop(call);
                drop(busy);
                assert_eq!(pause::submit(0).join().unwrap(), 0);
                assert_eq!(runs.get(), 0);
            }

            #[test]
            $(#[$attribute])?
            fn tasks_in_a_scope_borrow() {
                let table: Vec<u64> = (0..1000).collect();
                let (mut numbers, mut words) = ([1, 2, 3, 4], [vec![], vec![]]);
                let mut shared = SharedVec::from_slice(&[5_u64; 10]);
                let [one, other] = &mut words;
                let sums = scope(|s| {
                    let (left, right) = numbers.split_at_mut(2);
                    let doubled = double::scoped(s, left, one, false);
                    let sums = table.chunks(100).map(|part| total::scoped(s, part)).collect::<Vec<_>>();
                    // Nobody joins these, and they are waited for.
                    let _ = double::scoped(s, right, other, false);
                    let _ = double::options().scoped(s, (&mut shared[..5], Box::leak(Box::default()), false));
                    assert_eq!(doubled.join().unwrap(), 2);
                    sums.into_iter().map(|sum| sum.join().unwrap()).sum::<u64>()
                });
                assert_eq!((sums, numbers), (499_500, [2, 4, 6, 8]));
                assert_eq!(words, [["more"], ["more"]]);
                assert_eq!(shared, [10, 10, 10, 10, 10, 5, 5, 5, 5, 5]);
            }

            #[test]
            $(#[$attribute])?
            fn a_scope_does_not_lose_failures() {
                let mut numbers = [1, 2];
                let result = scope(|s| double::scoped(s, &mut numbers, Box::leak(Box::default()), true).join());
                assert!(matches!(result, Err(TaskError::Panicked { .. })));
                let unjoined = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    scope(|s| drop(double::scoped(s, &mut numbers, Box::leak(Box::default()), true)));
                }));
                let text = *unjoined.unwrap_err().downcast::<String>().unwrap();
                assert!(text.contains("on purpose") && text.contains("double"), "{text}");
                // What panics in the scope itself comes out, after all tasks.
                let mut more = [3, 4];
                let own = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    scope(|s| {
                        let _ = double::scoped(s, &mut more, Box::leak(Box::default()), false);
                        panic!("of its own");
                    })
                }));
                assert_eq!(*own.unwrap_err().downcast_ref::<&str>().unwrap(), "of its own");
                assert_eq!(more, [6, 8]);
            }

            #[test]
            $(#[$attribute])?
            fn on_done_calls_back_before_and_after_the_end() {
                let (sender, receiver) = channel();
                let task = square::submit(6);
                let say = |what: &'static str| {
                    let sender = sender.clone();
                    move || sender.send(what).unwrap()
                };
                task.on_done(say("first"));
                task.on_done(|| panic!("this is printed, and harms nobody"));
                task.on_done(say("second"));
                // It may end between the two: then nobody says which call comes first.
                let mut said = [receiver.recv().unwrap(), receiver.recv().unwrap()];
                said.sort_unstable();
                assert_eq!(said, ["first", "second"]);
                task.on_done(say("late"));
                assert_eq!(receiver.recv().unwrap(), "late");
                assert_eq!(task.join().unwrap(), 36);
                // The task is dropped, and still calls back.
                pause::submit(20).on_done(say("dropped"));
                assert_eq!(receiver.recv().unwrap(), "dropped");
            }
        }
    };
}
