//! What the attribute makes of a function in each mode: every verb by the function's own name, nested calls, references and `async fn`. What
//! the verbs do in detail is in the tables `conformance` and `streams`, which are compiled once.

macro_rules! modes {
    ($module:ident, $mode:literal $(, $pool:ident = $workers:literal)? $(, #[$attribute:meta])?) => {
        mod $module {
            use std::path::{Path, PathBuf};
            use std::task::{Context, Waker};

            use parallel_runtime::{TaskError, as_completed, parallel, scope};

            use super::{Kind, Record, Runs, block_on, record};

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn add(a: u64, b: u64) -> u64 {
                a + b
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn square(x: u64) -> u64 {
                x * x
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn nothing() {}

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn odd(x: u64) -> u64 {
                assert!(x % 2 == 1, "{x} is even");
                x
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn describe(name: &str, numbers: &[f64], path: &Path, record: &Record) -> String {
                format!("{name} {} {} {}", numbers.iter().sum::<f64>(), path.display(), record.name)
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn change(words: &mut [String], record: &mut Record, numbers: &mut [u16]) -> usize {
                words.iter_mut().for_each(|word| word.push('!'));
                record.kind = Kind::Tuple(1, -1);
                numbers.iter_mut().for_each(|number| *number *= 2);
                numbers.len()
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn factorial(n: u64) -> u64 {
                if n == 0 { 1 } else { n * factorial(n - 1) }
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn sum_tree(depth: u32) -> u64 {
                if depth == 0 { 1 } else { sum_tree::map([depth - 1, depth - 1]).iter().sum::<u64>() + 1 }
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn join_inside(n: u64) -> u64 {
                if n == 0 { 0 } else { join_inside::submit(n - 1).join().unwrap() + 1 }
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            fn map_async_inside(n: u64) -> u64 {
                square::map_async(0..n).join().unwrap().len() as u64
            }

            #[parallel(mode = $mode $(, $pool = $workers)?)]
            async fn later(text: String, times: usize) -> usize {
                futures_lite::future::yield_now().await;
                assert!(!text.is_empty(), "no text");
                text.len() * times
            }

            #[test]
            $(#[$attribute])?
            fn a_function_is_called_by_its_name_and_by_every_verb() {
                assert_eq!((add(2, 3), add::inline(2, 3)), (5, 5));
                nothing();
                assert_eq!(add::submit(20, 22).join().unwrap(), 42);
                assert_eq!(add::spawn(1, 2).join().unwrap(), 3);
                assert_eq!(square::map(0..100)[99], 9801);
                assert_eq!(square::options().chunk(7).map(0..100)[99], 9801);
                assert!(square::map([]).is_empty());
                assert_eq!(nothing::map([(), (), ()]).len(), 3);
                assert_eq!(add::starmap([(1, 2), (3, 4)]), [3, 7]);
                assert_eq!(add::starmap_async([(1, 2), (3, 4)]).join().unwrap(), [3, 7]);
                assert_eq!(square::map_async(0..100).join().unwrap()[99], 9801);
                assert!(square::imap(0..100).map(Result::unwrap).eq((0..100).map(|x| x * x)));
                assert_eq!(square::imap_unordered(0..100).map(|(_, square)| square.unwrap()).sum::<u64>(), 328_350);
                assert_eq!(as_completed((0..10).map(square::submit)).count(), 10);
                let odd = odd::try_map(0..10);
                assert!(odd.iter().enumerate().all(|(x, result)| result.is_ok() == (x % 2 == 1)));
            }

            #[test]
            $(#[$attribute])?
            fn references_are_taken_and_what_is_behind_them_is_changed() {
                let text = describe("n", &[1.0, 2.5], Path::new("/tmp/x"), &record());
                assert_eq!(text, "n 3.5 /tmp/x ünï");
                let owned = describe::submit("n".to_owned(), vec![1.0, 2.5], PathBuf::from("/tmp/x"), record());
                assert_eq!(owned.join().unwrap(), text);
                let (mut words, mut changed, mut numbers) = (["a".to_owned()], record(), [1, 2, 3]);
                assert_eq!(change(&mut words, &mut changed, &mut numbers), 3);
                scope(|scope| _ = change::scoped(scope, &mut words, &mut changed, &mut numbers));
                assert_eq!((words[0].as_str(), &changed.kind, numbers), ("a!!", &Kind::Tuple(1, -1), [4, 8, 12]));
            }

            #[test]
            $(#[$attribute])?
            fn a_function_calls_itself() {
                assert_eq!(factorial(10), 3_628_800);
                assert_eq!(sum_tree(6), 127);
                assert_eq!(join_inside(10), 10);
                assert_eq!(map_async_inside(10), 10);
            }

            #[test]
            $(#[$attribute])?
            fn a_panic_in_a_call_is_a_panic_of_the_caller() {
                let payload = std::panic::catch_unwind(|| odd(2)).unwrap_err();
                assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("2 is even"));
                assert!(matches!(odd::submit(2).join(), Err(TaskError::Panicked { .. })));
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
                #[parallel(mode = $mode $(, $pool = $workers)?)]
                fn pause(milliseconds: u64) {
                    std::thread::sleep(std::time::Duration::from_millis(milliseconds));
                }
                let runs = Runs::new();
                drop(count(runs.clone()));
                // The tasks before it keep every worker busy.
                let busy: Vec<_> = (0..4).map(|_| pause::submit(200)).collect();
                let mut call = Box::pin(count(runs.clone()));
                assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                drop(call);
                drop(busy);
                pause::submit(0).join().unwrap();
                assert_eq!(runs.get(), 0);
            }
        }
    };
}
