//! Bodies of `async fn`s: many at a time on one worker.

use std::collections::BTreeSet;
use std::time::Duration;

use parallel_runtime::{ProcessPool, SharedValue, TaskError, ThreadPool, as_completed, parallel};
use smol::Timer;
use smol::stream::StreamExt;

use super::block_on;

const SHORT: Duration = Duration::from_millis(1);

/// Counts up when it is made, and down when it is dropped.
struct Counted(SharedValue<i64>);

impl Counted {
    fn new(count: SharedValue<i64>) -> Self {
        count.fetch_add(1);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(-1);
    }
}

macro_rules! many {
    ($module:ident, $mode:literal, $pool:ident, $workers:literal) => {
        mod $module {
            use super::*;

            /// Ends when as many are under way: never, if they do not run at the same time.
            #[parallel(mode = $mode, pool = $workers)]
            async fn meet(count: SharedValue<i64>, all: i64) -> u32 {
                count.fetch_add(1);
                while count.get() < all {
                    // With thousands of them, looking takes longer than this.
                    Timer::after(SHORT * (1 + all as u32 / 100)).await;
                }
                std::process::id()
            }

            #[parallel(mode = $mode, pool = $workers)]
            async fn meet_inside(count: SharedValue<i64>, all: i64) -> u32 {
                meet(count, all).await
            }

            #[parallel(mode = $mode, pool = $workers)]
            async fn fail(x: u64) -> u64 {
                Timer::after(SHORT).await;
                assert!(x % 2 == 0, "{x} is odd");
                x
            }

            #[parallel(mode = $mode, pool = $workers)]
            async fn pause(milliseconds: u64, count: SharedValue<i64>) -> u64 {
                let _counted = Counted::new(count);
                Timer::after(Duration::from_millis(milliseconds)).await;
                milliseconds
            }

            #[parallel(mode = $mode, pool = $workers)]
            fn double(x: u64) -> u64 {
                2 * x
            }

            fn items(all: usize) -> Vec<(SharedValue<i64>, i64)> {
                let count = SharedValue::new(0);
                (0..all).map(|_| (count.clone(), all as i64)).collect()
            }

            #[test]
            fn all_verbs_run_many_at_a_time() {
                let all = 100;
                assert_eq!(meet::map(items(all)).len(), all);
                assert!(meet::try_map(items(all)).into_iter().all(|result| result.is_ok()));
                assert_eq!(meet::map_async(items(all)).join().unwrap().len(), all);
                assert_eq!(meet::imap(items(all)).filter(Result::is_ok).count(), all);
                assert_eq!(meet::imap_unordered(items(all)).count(), all);
                assert_eq!(block_on(meet::stream(items(all)).count()), all);
                let tasks: Vec<_> = items(all).into_iter().map(|(count, all)| meet::submit(count, all)).collect();
                assert!(as_completed(tasks).all(|(_, result)| result.is_ok()));
                let calls: Vec<_> = items(all)
                    .into_iter()
                    .map(|(count, all)| smol::spawn(async move { meet(count, all).await }))
                    .collect();
                for call in calls {
                    block_on(call);
                }
                let limit = Duration::from_secs(60);
                assert_eq!(meet::options().timeout(limit).map(items(all)).len(), all);
                assert_eq!(meet::options().timeout(limit).map_async(items(all)).join().unwrap().len(), all);
            }

            #[test]
            fn thousands_run_at_a_time() {
                let tasks: Vec<_> = items(10_000).into_iter().map(|(count, all)| meet::submit(count, all)).collect();
                let workers: BTreeSet<u32> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
                assert!(workers.len() <= $workers, "{workers:?}");
            }

            #[test]
            fn those_that_they_call_run_in_place_and_at_the_same_time() {
                assert_eq!(meet_inside::map(items(100)).len(), 100);
            }

            #[test]
            fn a_panic_fails_one() {
                let results = fail::try_map(0..20);
                for (x, result) in results.into_iter().enumerate() {
                    match result {
                        Ok(value) => assert_eq!((x % 2, value), (0, x as u64)),
                        Err(TaskError::Panicked { message, location, .. }) => {
                            assert_eq!(message, format!("{x} is odd"));
                            assert!(location.unwrap().contains("many.rs"));
                        }
                        Err(other) => panic!("{other}"),
                    }
                }
            }

            #[test]
            fn one_that_is_over_its_limit_is_dropped_and_the_others_go_on() {
                let count = SharedValue::new(0);
                // Of its own: in a pool that others use, the worker may die of their tasks.
                let pool = $pool::new($workers);
                pool.start().unwrap();
                let pids = || pool.stats().load.into_iter().map(|load| load.pid).collect::<Vec<_>>();
                let before = pids();
                let on = || pause::on(&pool).timeout(Duration::from_millis(300));
                let results = on().try_map([1, 60_000, 2, 60_000].map(|time| (time, count.clone())));
                for (index, result) in results.into_iter().enumerate() {
                    match result {
                        Err(TaskError::TimedOut { after, .. }) => assert_eq!((index % 2, after.as_millis()), (1, 300)),
                        other => assert_eq!(other.unwrap(), 1 + index as u64 / 2),
                    }
                }
                // This one has no waiter.
                drop(on().submit((60_000, count.clone())));
                let other = pause::on(&pool).submit((1, count.clone())).join();
                assert_eq!(other.unwrap(), 1);
                // A worker that does not get to dropping one in time, because others keep the processor, is ended instead: then what it
                // had is not counted any more.
                while pool.stats().timed_out < 3 || (count.get() > 0 && pids() == before) {
                    std::thread::sleep(SHORT);
                }
            }

            #[test]
            fn others_that_keep_their_thread_run_between_them() {
                let count = SharedValue::new(0);
                let tasks: Vec<_> = (0..9).map(|_| meet::submit(count.clone(), 10)).collect();
                while count.get() < 9 {
                    std::thread::sleep(SHORT);
                }
                assert_eq!(double::map(0..100).len(), 100);
                assert_eq!(double(4), 8);
                assert!(tasks.iter().all(|task| !task.is_finished() && task.is_running()));
                assert!(!tasks[0].cancel(), "it has begun");
                count.fetch_add(1);
                assert!(tasks.into_iter().all(|task| task.join().is_ok()));
            }

            #[test]
            fn one_has_a_thread_or_a_process_of_its_own() {
                let count = SharedValue::new(0);
                let spawned = meet::spawn(count.clone(), 2);
                block_on(meet(count, 2));
                spawned.join().unwrap();
            }
        }
    };
}

many!(in_a_process, "process", ProcessPool, 1);
many!(in_processes, "process", ProcessPool, 2);
many!(on_a_thread, "thread", ThreadPool, 1);
many!(on_threads, "thread", ThreadPool, 2);

#[parallel(mode = "process")]
async fn wait_until(count: SharedValue<i64>, all: i64) -> u32 {
    count.fetch_add(1);
    while count.get() < all {
        Timer::after(SHORT).await;
    }
    std::process::id()
}

#[parallel(mode = "process")]
async fn abort_when(count: SharedValue<i64>, all: i64) {
    while count.get() < all {
        Timer::after(SHORT).await;
    }
    std::process::abort();
}

#[test]
fn a_death_costs_all_that_ran_there_and_the_pool_goes_on() {
    let pool = ProcessPool::new(1);
    let count = SharedValue::new(0);
    let victims: Vec<_> = (0..10).map(|_| wait_until::on(&pool).submit((count.clone(), 1000))).collect();
    let abort = abort_when::on(&pool).submit((count.clone(), 10));
    for victim in victims {
        let error = victim.join().unwrap_err();
        assert!(matches!(error, TaskError::WorkerDied { signal: Some(6), .. }), "{error}");
    }
    assert!(matches!(abort.join(), Err(TaskError::WorkerDied { .. })));
    count.set(0);
    assert!(wait_until::on(&pool).submit((count, 1)).join().is_ok());
    assert_eq!(pool.stats().worker_deaths, 1);
}

#[test]
fn those_with_retries_run_again_elsewhere() {
    let pool = ProcessPool::new(1);
    let count = SharedValue::new(0);
    let on = || wait_until::on(&pool).retries(1);
    let victims: Vec<_> = (0..10).map(|_| on().submit((count.clone(), 20))).collect();
    let abort = abort_when::on(&pool).submit((count.clone(), 10));
    assert!(matches!(abort.join(), Err(TaskError::WorkerDied { .. })));
    // Each has counted itself twice.
    let workers: BTreeSet<u32> = victims.into_iter().map(|task| task.join().unwrap()).collect();
    assert_eq!(workers.len(), 1);
    assert_eq!(pool.stats().retried, 10);
}

#[test]
fn one_that_was_over_its_limit_is_tried_again() {
    #[parallel(mode = "process", pool = 1, retries = 1, timeout = "300ms")]
    async fn slow_at_first(tries: SharedValue<u32>) -> u32 {
        let before = tries.fetch_add(1);
        Timer::after(if before == 0 { Duration::from_secs(60) } else { SHORT }).await;
        before + 1
    }
    let tries = || SharedValue::new(0);
    assert_eq!(slow_at_first::submit(tries()).join().unwrap(), 2);
    assert_eq!(slow_at_first::map([tries(), tries()]), [2, 2]);
    assert_eq!(block_on(slow_at_first(tries())), 2);
    assert_eq!(slow_at_first::imap([tries()]).map(Result::unwrap).collect::<Vec<_>>(), [2]);
}

#[test]
fn one_that_keeps_its_thread_is_ended_with_its_worker() {
    #[parallel(mode = "process", pool = 1, timeout = "200ms")]
    async fn block(seconds: u64) {
        Timer::after(SHORT).await;
        std::thread::sleep(Duration::from_secs(seconds));
    }
    assert!(matches!(block::submit(60).join(), Err(TaskError::TimedOut { .. })));
    assert!(block::submit(0).join().is_ok());
}

#[test]
fn a_worker_that_has_begun_its_last_task_ends_what_it_has() {
    let pool = ProcessPool::new(1).max_tasks_per_worker(3);
    let count = SharedValue::new(0);
    let results = wait_until::on(&pool).map((0..12).map(|_| (count.clone(), 1)));
    let workers: BTreeSet<u32> = results.into_iter().collect();
    assert_eq!(workers.len(), 4);
    // Three at a time: of four that meet the last never comes.
    let count = SharedValue::new(0);
    let tasks: Vec<_> = (0..3).map(|_| wait_until::on(&pool).submit((count.clone(), 3))).collect();
    assert!(tasks.into_iter().all(|task| task.join().is_ok()));
}

#[parallel(mode = "process")]
async fn hold(count: SharedValue<i64>, open: SharedValue<i64>) {
    let _counted = Counted::new(count);
    while open.get() == 0 {
        Timer::after(SHORT).await;
    }
}

fn wait_for(count: &SharedValue<i64>, wanted: i64) {
    while count.get() != wanted {
        std::thread::sleep(SHORT);
    }
}

#[test]
fn a_body_is_killed_alone() {
    let (pool, threads) = (ProcessPool::new(1), ThreadPool::new(1));
    for on_threads in [false, true] {
        let (count, open) = (SharedValue::new(0), SharedValue::new(0));
        let submit = || {
            let item = (count.clone(), open.clone());
            if on_threads { hold::on(&threads).submit(item) } else { hold::on(&pool).submit(item) }
        };
        let [one, other] = [submit(), submit()];
        wait_for(&count, 2);
        assert!(one.kill());
        assert!(matches!(one.join(), Err(TaskError::Cancelled)));
        // Its future was dropped.
        wait_for(&count, 1);
        assert!(!other.is_finished());
        open.set(1);
        assert!(other.join().is_ok());
    }
    assert_eq!(pool.stats().worker_deaths, 0);
    assert_eq!((pool.stats().cancelled, threads.stats().cancelled), (1, 1));
}

#[test]
fn a_body_that_keeps_its_thread_is_killed_with_its_worker() {
    #[parallel(mode = "process")]
    async fn block(count: SharedValue<i64>) {
        Timer::after(SHORT).await;
        let _counted = Counted::new(count);
        std::thread::sleep(Duration::from_secs(60));
    }
    let pool = ProcessPool::new(1);
    let count = SharedValue::new(0);
    let task = block::on(&pool).submit(count.clone());
    wait_for(&count, 1);
    assert!(task.kill());
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    assert!(hold::on(&pool).submit((SharedValue::new(0), SharedValue::new(1))).join().is_ok());
}

#[test]
fn a_limit_of_a_body_costs_no_task_that_keeps_the_worker() {
    #[parallel(mode = "process")]
    fn work(milliseconds: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(milliseconds));
        milliseconds
    }
    let pool = ProcessPool::new(1);
    let (count, open) = (SharedValue::new(0), SharedValue::new(0));
    let limited = hold::on(&pool).timeout(Duration::from_millis(200)).submit((count.clone(), open));
    wait_for(&count, 1);
    let innocent = work::on(&pool).submit(1000);
    assert!(matches!(limited.join(), Err(TaskError::TimedOut { .. })));
    assert!(!innocent.is_finished(), "who waits for the other is told in time");
    assert_eq!(innocent.join().unwrap(), 1000);
    wait_for(&count, 0);
    let stats = pool.stats();
    assert_eq!((stats.timed_out, stats.worker_deaths, stats.failed, stats.done), (1, 0, 1, 1));
}

#[test]
fn all_that_are_over_their_limits_say_so_although_one_keeps_the_thread() {
    #[parallel(mode = "process")]
    async fn block(seconds: u64) {
        std::thread::sleep(Duration::from_secs(seconds));
    }
    let pool = ProcessPool::new(1);
    let (count, open) = (SharedValue::new(0), SharedValue::new(0));
    let limit = Duration::from_millis(200);
    let held: Vec<_> = (0..5).map(|_| hold::on(&pool).timeout(limit).submit((count.clone(), open.clone()))).collect();
    wait_for(&count, 5);
    let blocked = block::on(&pool).submit(60);
    for task in held {
        let error = task.join().unwrap_err();
        assert!(matches!(error, TaskError::TimedOut { .. }), "{error}");
    }
    assert!(matches!(blocked.join(), Err(TaskError::WorkerDied { .. })));
}

#[test]
fn neither_kind_of_task_keeps_the_other_from_its_turn() {
    #[parallel(mode = "process")]
    fn open_it(open: SharedValue<i64>) {
        open.set(1);
    }
    let pool = ProcessPool::new(2);
    let (count, open) = (SharedValue::new(0), SharedValue::new(0));
    let held: Vec<_> = (0..6000).map(|_| hold::on(&pool).submit((count.clone(), open.clone()))).collect();
    open_it::on(&pool).call(open);
    assert!(held.into_iter().all(|task| task.join().is_ok()));
}

#[test]
fn a_body_is_tried_again_without_a_waiter() {
    let pool = ProcessPool::new(1).retries(2).timeout(Duration::from_millis(50));
    #[parallel(mode = "process")]
    async fn never(tries: SharedValue<i64>) {
        tries.fetch_add(1);
        std::future::pending::<()>().await;
    }
    let tries = SharedValue::new(0);
    drop(never::on(&pool).submit(tries.clone()));
    wait_for(&tries, 3);
}

#[test]
fn a_worker_is_not_waited_for_for_ever_by_what_comes_after_its_last_task() {
    let pool = ProcessPool::new(1).max_tasks_per_worker(2);
    let (count, open) = (SharedValue::new(0), SharedValue::new(0));
    let held = hold::on(&pool).submit((count.clone(), open.clone()));
    wait_for(&count, 1);
    let on = || wait_until::on(&pool).submit((SharedValue::new(0), 1));
    let others: Vec<_> = (0..3).map(|_| on()).collect();
    assert!(others.into_iter().all(|task| task.join().is_ok()));
    open.set(1);
    assert!(held.join().is_ok());
}

#[test]
fn a_pool_that_is_shut_down_runs_them_out_and_one_that_is_killed_does_not() {
    let count = SharedValue::new(0);
    let tasks = {
        let (pool, threads) = (ProcessPool::new(1), ThreadPool::new(1));
        let tasks =
            [wait_until::on(&pool).submit((count.clone(), 2)), wait_until::on(&threads).submit((count.clone(), 2))];
        pool.shutdown();
        tasks
    };
    assert!(tasks.into_iter().all(|task| task.join().is_ok()));

    let (pool, threads) = (ProcessPool::new(1), ThreadPool::new(1));
    let count = SharedValue::new(0);
    let tasks = [wait_until::on(&pool).submit((count.clone(), 9)), wait_until::on(&threads).submit((count.clone(), 9))];
    while count.get() < 2 {
        std::thread::sleep(SHORT);
    }
    pool.kill();
    threads.kill();
    assert!(tasks.into_iter().all(|task| matches!(task.join(), Err(TaskError::Cancelled))));
}

#[cfg(feature = "tokio")]
#[test]
fn tens_of_thousands_sleep_in_tokio() {
    #[parallel(mode = "process", pool = 2)]
    async fn in_process(milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
    #[parallel(pool = 2)]
    async fn on_thread(milliseconds: u64) {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        tokio::spawn(async {}).await.unwrap();
    }
    assert_eq!(in_process::map(std::iter::repeat_n(100, 20_000)).len(), 20_000);
    assert_eq!(on_thread::map(std::iter::repeat_n(100, 20_000)).len(), 20_000);
}
