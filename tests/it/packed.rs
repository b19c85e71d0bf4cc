//! Small tasks, many of which wait: they travel together, and nothing of it can be seen but the time.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parallel_runtime::{ProcessPool, SharedArray, Task, TaskError, as_completed, parallel, shared};
use parallel_workspace::{eventually, scratch};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum What {
    Nothing,
    /// Says that it runs, and goes on when it is told so.
    Waits,
    Panics,
    Dies,
    /// Far more than the results of a message have room for.
    Large,
}

/// How often tasks have run, by test and task.
#[shared]
static RUNS: SharedArray<u32> = SharedArray::new(10 * MOST);

const MOST: usize = 10_000;

/// Notes that it was run, for a test that has a number, and leaves files in `directory`.
#[parallel(mode = "process")]
fn work(what: What, test: u64, directory: &str, x: u64) -> Vec<u8> {
    if test != 0 {
        RUNS.update(test as usize * MOST + x as usize, |runs| *runs += 1);
    }
    match what {
        What::Nothing => {}
        What::Waits => {
            std::fs::write(format!("{directory}/runs-{x}"), "").unwrap();
            assert!(eventually(|| Path::new(&format!("{directory}/go-on")).exists()));
        }
        What::Panics => panic!("on purpose"),
        What::Dies => std::process::abort(),
        What::Large => return vec![x as u8; 200_000],
    }
    x.to_ne_bytes().to_vec()
}

/// A pool that knows how short these tasks are.
fn warm(pool: ProcessPool) -> ProcessPool {
    for x in 0..300 {
        assert_eq!(submit(&pool, What::Nothing, UNSEEN, x).join().unwrap(), x.to_ne_bytes());
    }
    pool
}

fn submit(pool: &ProcessPool, what: What, (test, directory): (u64, &str), x: u64) -> Task<Vec<u8>> {
    let directory = if what == What::Waits { directory } else { "" };
    work::on(pool).submit((what, test, directory.to_owned(), x))
}

fn right(result: Result<Vec<u8>, TaskError>, x: u64) {
    assert_eq!(result.unwrap(), x.to_ne_bytes());
}

const UNSEEN: (u64, &str) = (0, "");

/// What was run. Nothing twice.
fn ran((test, _): (u64, &str)) -> Vec<u64> {
    let runs = |x: &u64| RUNS.get(test as usize * MOST + *x as usize);
    let ran: Vec<u64> = (0..MOST as u64).filter(|x| runs(x) != 0).collect();
    assert!(ran.iter().all(|x| runs(x) == 1), "run twice");
    ran
}

#[test]
fn each_task_has_its_own_result_in_any_order_of_taking() {
    let pool = warm(ProcessPool::new(2));
    let what = |x: u64| if x % 1000 == 7 { What::Large } else { What::Nothing };
    let tasks: Vec<_> = (0..20_000).map(|x| submit(&pool, what(x), UNSEEN, x)).collect();
    let done = std::sync::Arc::new(AtomicUsize::new(0));
    for (x, task) in tasks.into_iter().enumerate().rev() {
        let x = x as u64;
        let done = std::sync::Arc::clone(&done);
        task.on_done(move || _ = done.fetch_add(1, Ordering::Relaxed));
        let result = task.join().unwrap();
        let expected = if what(x) == What::Large { vec![x as u8; 200_000] } else { x.to_ne_bytes().to_vec() };
        assert_eq!(result, expected);
    }
    assert!(eventually(|| done.load(Ordering::Relaxed) == 20_000));
    let completed = as_completed((0..5000).map(|x| submit(&pool, What::Nothing, UNSEEN, x)));
    assert_eq!(
        completed.map(|(_, result)| u64::from_ne_bytes(result.unwrap().try_into().unwrap())).sum::<u64>(),
        4999 * 2500
    );
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.done, stats.running, stats.queued), (25_300, 25_300, 0, 0));
}

#[test]
fn tasks_that_no_thread_waits_for_run_too() {
    let pool = warm(ProcessPool::new(2));
    let directory = scratch("packed-unwaited");
    let directory = (1, directory.to_str().unwrap());
    let tasks: Vec<_> = (0..1003).map(|x| submit(&pool, What::Nothing, directory, x)).collect();
    // Nothing is asked of the pool meanwhile.
    assert!(eventually(|| ran(directory).len() == 1003));
    drop(tasks);
    std::fs::remove_dir_all(directory.1).unwrap();
}

#[test]
fn a_death_or_a_panic_costs_its_own_task_and_each_task_runs_once() {
    let pool = warm(ProcessPool::new(2));
    let directory = scratch("packed-deaths");
    let directory = (2, directory.to_str().unwrap());
    let what = |x: u64| match x % 400 {
        17 => What::Dies,
        230 => What::Panics,
        _ => What::Nothing,
    };
    let tasks: Vec<_> = (0..4000).map(|x| submit(&pool, what(x), directory, x)).collect();
    for (x, task) in tasks.into_iter().enumerate() {
        match (what(x as u64), task.join()) {
            (What::Nothing, result) => right(result, x as u64),
            (What::Dies, Err(TaskError::WorkerDied { .. })) | (What::Panics, Err(TaskError::Panicked { .. })) => {}
            (what, result) => panic!("{x}: {what:?} gave {result:?}"),
        }
    }
    assert_eq!(ran(directory), (0..4000).collect::<Vec<_>>());
    assert_eq!(pool.stats().worker_deaths, 10);
    std::fs::remove_dir_all(directory.1).unwrap();
}

#[test]
fn tasks_behind_one_that_takes_long_go_to_another_worker() {
    let pool = warm(ProcessPool::new(2));
    let directory = scratch("packed-held");
    let directory = (3, directory.to_str().unwrap());
    let what = |x: u64| if x == 100 { What::Waits } else { What::Nothing };
    let mut tasks: Vec<_> = (0..2000).map(|x| submit(&pool, what(x), directory, x)).collect();
    let waits = tasks.remove(100);
    for (x, task) in tasks.into_iter().enumerate() {
        let x = x as u64;
        right(task.join(), if x < 100 { x } else { x + 1 });
    }
    assert!(!waits.is_finished() && waits.is_running());
    std::fs::write(format!("{}/go-on", directory.1), "").unwrap();
    right(waits.join(), 100);
    assert_eq!(ran(directory), (0..2000).collect::<Vec<_>>());
    std::fs::remove_dir_all(directory.1).unwrap();
}

#[test]
fn a_task_that_has_not_begun_can_be_cancelled_wherever_it_waits() {
    let pool = warm(ProcessPool::new(1));
    let directory = scratch("packed-cancel");
    let directory = (4, directory.to_str().unwrap());
    let waits = submit(&pool, What::Waits, directory, 0);
    assert!(eventually(|| waits.is_running()));
    let tasks: Vec<_> = (1..5000).map(|x| submit(&pool, What::Nothing, directory, x)).collect();
    let (mut cancelled, mut left) = (Vec::new(), Vec::new());
    for (x, task) in (1..).zip(tasks) {
        if x % 3 == 0 {
            left.push((x, task));
        } else {
            assert!(task.cancel(), "{x} has not begun");
            cancelled.push(task);
        }
    }
    assert!(!waits.cancel());
    for task in cancelled {
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    }
    std::fs::write(format!("{}/go-on", directory.1), "").unwrap();
    right(waits.join(), 0);
    for (x, task) in left {
        right(task.join(), x);
    }
    assert_eq!(ran(directory), (0..5000).filter(|x| x % 3 == 0).collect::<Vec<_>>());
    std::fs::remove_dir_all(directory.1).unwrap();
}

#[test]
fn cancelling_while_workers_begin_them_loses_none_and_runs_none_that_was_cancelled() {
    let pool = warm(ProcessPool::new(2));
    let directory = scratch("packed-race");
    let directory = (5, directory.to_str().unwrap());
    let tasks: Vec<_> = (0..10_000).map(|x| submit(&pool, What::Nothing, directory, x)).collect();
    let cancelled: Vec<bool> = tasks.iter().map(Task::cancel).collect();
    for ((x, task), cancelled) in (0..).zip(tasks).zip(&cancelled) {
        match task.join() {
            Err(TaskError::Cancelled) if *cancelled => {}
            result => {
                assert!(!cancelled, "{x}");
                right(result, x);
            }
        }
    }
    let not_cancelled = (0..10_000).filter(|x| !cancelled[*x as usize]);
    assert_eq!(ran(directory), not_cancelled.collect::<Vec<_>>());
    std::fs::remove_dir_all(directory.1).unwrap();
}

#[test]
fn to_kill_a_task_ends_no_other_one() {
    let pool = warm(ProcessPool::new(1));
    let directory = scratch("packed-kill");
    let directory = (6, directory.to_str().unwrap());
    let what = |x: u64| if x % 500 == 100 { What::Waits } else { What::Nothing };
    let tasks: Vec<_> = (0..1500).map(|x| submit(&pool, what(x), directory, x)).collect();
    for x in [100, 600, 1100] {
        assert!(eventually(|| Path::new(&format!("{}/runs-{x}", directory.1)).exists()));
        assert!(tasks[x as usize].kill());
    }
    for (x, task) in (0..).zip(tasks) {
        match (what(x), task.join()) {
            (What::Nothing, result) => right(result, x),
            (_, result) => assert!(matches!(result, Err(TaskError::Cancelled)), "{x}: {result:?}"),
        }
    }
    assert_eq!(ran(directory), (0..1500).collect::<Vec<_>>());
    std::fs::remove_dir_all(directory.1).unwrap();
}

#[test]
fn a_time_limit_ends_its_own_task_alone() {
    let pool = warm(ProcessPool::new(2).timeout(Duration::from_millis(200)));
    let directory = scratch("packed-limit");
    let directory = (7, directory.to_str().unwrap());
    let what = |x: u64| if x % 1000 == 300 { What::Waits } else { What::Nothing };
    let tasks: Vec<_> = (0..3000).map(|x| submit(&pool, what(x), directory, x)).collect();
    for (x, task) in (0..).zip(tasks) {
        match (what(x), task.join()) {
            (What::Nothing, result) => right(result, x),
            (_, result) => assert!(matches!(result, Err(TaskError::TimedOut { .. })), "{x}: {result:?}"),
        }
    }
    assert_eq!(pool.stats().timed_out, 3);
    assert_eq!(ran(directory), (0..3000).collect::<Vec<_>>());
    std::fs::remove_dir_all(directory.1).unwrap();
}

#[test]
fn a_worker_that_is_replaced_leaves_the_rest_to_the_next_one() {
    let pool = warm(ProcessPool::new(2).max_tasks_per_worker(100));
    let tasks: Vec<_> = (0..2000).map(|x| submit(&pool, What::Nothing, UNSEEN, x)).collect();
    for (x, task) in (0..).zip(tasks) {
        right(task.join(), x);
    }
    assert!(eventually(|| pool.stats().replaced >= 20));
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[test]
fn a_pool_that_is_shut_down_runs_what_it_has_and_one_that_is_killed_does_not() {
    let pool = warm(ProcessPool::new(2));
    let tasks: Vec<_> = (0..2000).map(|x| submit(&pool, What::Nothing, UNSEEN, x)).collect();
    pool.shutdown();
    for (x, task) in (0..).zip(tasks) {
        right(task.join(), x);
    }
    let pool = warm(ProcessPool::new(1));
    let directory = scratch("packed-killed");
    let waits = submit(&pool, What::Waits, (0, directory.to_str().unwrap()), 0);
    assert!(eventually(|| waits.is_running()));
    let tasks: Vec<_> = (1..2000).map(|x| submit(&pool, What::Nothing, UNSEEN, x)).collect();
    pool.kill();
    for task in tasks {
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    }
    assert!(matches!(waits.join(), Err(TaskError::Cancelled)));
    std::fs::remove_dir_all(directory).unwrap();
}
