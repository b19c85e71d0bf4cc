//! Behaviours that the tests of Python's `concurrent.futures` and `multiprocessing.pool` ask for, on threads and in processes. Those that a table of ours asks for
//! too are not here: see `conformance` and `streams`. The name of Python's test stands above each.

use std::panic::catch_unwind;
use std::sync::mpsc::channel;
use std::time::Duration;

use parallel_runtime::{ProcessFn, ProcessPool, SharedValue, TaskError, WaitFor, as_completed, parallel, wait};

use crate::pools::TestPool;

#[parallel(mode = "process", pool = 2)]
fn half(x: u64) -> u64 {
    assert!(x.is_multiple_of(2), "{x} is odd");
    x / 2
}

#[parallel(mode = "process", pool = 2)]
fn nap(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

#[parallel(mode = "process", pool = 2)]
fn count(counter: SharedValue<u64>, fails: bool) {
    counter.update(|count| *count += 1);
    assert!(!fails, "on purpose");
}

/// The pool still works.
fn assert_works(pool: &TestPool) {
    assert_eq!(pool.on::<half>().map((0..100).map(|x| 2 * x)), (0..100).collect::<Vec<_>>());
}

mod table {
    use super::*;

    /// `test_done_callback_with_result`, `..._with_exception`, `..._with_cancel`, `test_done_callback_already_failed`
    pub(super) fn a_callback_runs_however_its_task_ends(pool: &'static TestPool) {
        let (sender, receiver) = channel();
        let tell = |what: &'static str| {
            let sender = sender.clone();
            move || sender.send(what).unwrap()
        };
        let done = pool.on::<half>().submit(4);
        done.on_done(tell("done"));
        assert_eq!(receiver.recv().unwrap(), "done");
        let failed = pool.on::<half>().submit(3);
        failed.on_done(tell("failed"));
        assert_eq!(receiver.recv().unwrap(), "failed");
        failed.on_done(tell("again"));
        assert_eq!(receiver.recv().unwrap(), "again");
        let busy: Vec<_> = (0..2).map(|_| pool.on::<nap>().submit(50)).collect();
        let cancelled = pool.on::<nap>().submit(1);
        cancelled.on_done(tell("cancelled"));
        if cancelled.cancel() {
            assert!(matches!(cancelled.join(), Err(TaskError::Cancelled)));
        }
        assert_eq!(receiver.recv().unwrap(), "cancelled");
        assert!(busy.into_iter().all(|task| task.join().is_ok()));
    }

    /// `test_first_completed_some_already_completed`, `test_first_exception_one_already_failed`, `test_all_completed`
    pub(super) fn what_has_ended_before_is_not_waited_for(pool: &'static TestPool) {
        let tasks = [pool.on::<half>().submit(4), pool.on::<half>().submit(3)];
        assert_eq!(wait(&tasks, WaitFor::All, None).done, [0, 1]);
        let tasks: Vec<_> = tasks.into_iter().chain([pool.on::<nap>().submit(100)]).collect();
        let first = wait(&tasks, WaitFor::FirstCompleted, None);
        assert!(first.done.starts_with(&[0, 1]));
        let failed = wait(&tasks, WaitFor::FirstError, None);
        assert!(failed.done.contains(&1));
        assert_eq!(wait(&tasks, WaitFor::All, None).pending, Vec::<usize>::new());
        assert_eq!(as_completed(tasks).filter(|(_, result)| result.is_ok()).count(), 2);
    }

    /// `test_map_exception`, `test_map_no_failfast`, `test_traceback`
    pub(super) fn a_failure_costs_no_other_item_and_says_where_it_was(pool: &'static TestPool) {
        let counter = SharedValue::new(0);
        let items = (0..50).map(|index| (counter.clone(), index % 10 == 3));
        let results = pool.on::<count>().try_map(items);
        assert_eq!((counter.get(), results.iter().filter(|result| result.is_err()).count()), (50, 5));
        let Err(TaskError::Panicked { message, location, .. }) = &results[3] else { panic!("{:?}", results[3]) };
        assert!(message == "on purpose" && location.as_ref().is_some_and(|place| place.contains("python.rs")));
    }

    /// `test_map_handle_iterable_exception`, `test_imap_handle_iterable_exception`
    pub(super) fn an_iterator_that_panics_ends_its_verb_and_nothing_else(pool: &'static TestPool) {
        let items = || (0..100).map(|x| if x == 60 { panic!("of the iterator") } else { 2 * x });
        assert!(catch_unwind(|| pool.on::<half>().map(items())).is_err());
        assert!(catch_unwind(|| pool.on::<half>().try_map(items())).is_err());
        let mut lazily = pool.on::<half>().imap(items());
        for expected in 0..60 {
            assert_eq!(lazily.next().unwrap().unwrap(), expected, "results of items before it come first");
        }
        assert!(catch_unwind(std::panic::AssertUnwindSafe(|| lazily.next())).is_err());
        assert_works(pool);
    }

    /// `test_empty_iterable`
    pub(super) fn no_items_are_no_results_by_any_verb(pool: &'static TestPool) {
        let call = pool.on::<half>();
        assert!(
            call.map([]).is_empty() && call.try_map([]).is_empty() && call.map_async([0; 0]).join().unwrap().is_empty()
        );
        assert!(call.imap([0; 0]).next().is_none() && call.imap_unordered([0; 0]).next().is_none());
        assert_eq!(as_completed(Vec::<parallel_runtime::Task<u64>>::new()).count(), 0);
        assert_eq!(wait::<u64>(&[], WaitFor::All, None).done, Vec::<usize>::new());
    }

    /// `test_map_chunksize`
    pub(super) fn the_size_of_a_chunk_changes_no_result(pool: &'static TestPool) {
        for chunk in [1, 3, 99, 100, 101, 100_000] {
            let call = pool.on::<half>().chunk(chunk);
            let expected: Vec<u64> = (0..100).collect();
            assert_eq!(call.map((0..100).map(|x| 2 * x)), expected);
            assert_eq!(call.imap((0..100).map(|x| 2 * x)).map(Result::unwrap).collect::<Vec<_>>(), expected);
        }
    }

    /// `test_async_timeout`, `test_result_with_timeout`
    pub(super) fn a_result_that_was_waited_for_in_vain_comes_later(pool: &'static TestPool) {
        let mut task = pool.on::<nap>().submit(200);
        let mut map = pool.on::<nap>().map_async([200, 1]);
        assert!(task.join_timeout(Duration::from_millis(1)).is_none());
        assert!(map.join_timeout(Duration::from_millis(1)).is_none() && !map.is_finished());
        assert_eq!((task.join().unwrap(), map.join().unwrap()), (200, vec![200, 1]));
    }

    /// `test_cancel`, `test_running`, `test_done`
    pub(super) fn a_task_is_queued_then_running_then_finished(pool: &'static TestPool) {
        let tasks: Vec<_> = (0..3).map(|_| pool.on::<nap>().submit(100)).collect();
        assert!(parallel_workspace::eventually(|| tasks[0].is_running() || tasks[0].is_finished()));
        let cancelled = tasks[2].cancel();
        assert_eq!(tasks[2].cancel(), cancelled, "it says the same again");
        assert_eq!(tasks.into_iter().map(|task| task.join().is_err()).collect::<Vec<_>>(), [false, false, cancelled]);
    }
}

macro_rules! on_both {
    ($($name:ident)*) => {
        cases!(threads, TestPool::threads(2), [] $($name)*);
        cases!(processes, TestPool::processes(2), [] $($name)*);
    };
}

on_both! {
    a_callback_runs_however_its_task_ends
    what_has_ended_before_is_not_waited_for
    a_failure_costs_no_other_item_and_says_where_it_was
    an_iterator_that_panics_ends_its_verb_and_nothing_else
    no_items_are_no_results_by_any_verb
    the_size_of_a_chunk_changes_no_result
    a_result_that_was_waited_for_in_vain_comes_later
    a_task_is_queued_then_running_then_finished
}

/// A pool of either kind that is made, used and ended by each test.
trait Ends {
    fn close(&self);
    fn end_now(&self);
    fn cancel_all(&self) -> usize;
}

impl Ends for TestPool {
    fn close(&self) {
        match self {
            Self::Threads(pool) => pool.shutdown(),
            Self::Processes(pool) => pool.shutdown(),
            _ => unreachable!("these have no end of their own"),
        }
    }

    fn end_now(&self) {
        match self {
            Self::Threads(pool) => pool.kill(),
            Self::Processes(pool) => pool.kill(),
            _ => unreachable!("these have no end of their own"),
        }
    }

    fn cancel_all(&self) -> usize {
        match self {
            Self::Threads(pool) => pool.cancel_queued(),
            Self::Processes(pool) => pool.cancel_queued(),
            _ => unreachable!("these have no end of their own"),
        }
    }
}

fn both() -> [TestPool; 2] {
    [TestPool::threads(2), TestPool::processes(2)]
}

fn submit<F>(pool: &TestPool, item: F::Owned) -> parallel_runtime::Task<F::Output>
where
    F: ProcessFn + parallel_runtime::OwnedFn,
    F::Owned: parallel_runtime::private::IntoOwned<F::Parameters, Owned = F::Owned>,
{
    pool.on::<F>().submit(item)
}

/// `test_context_manager_shutdown`, `test_run_after_shutdown`, `test_early_close`
#[test]
fn a_shutdown_runs_out_what_is_queued_and_takes_nothing_more() {
    for pool in both() {
        let tasks: Vec<_> = (0..20).map(|_| submit::<nap>(&pool, 5)).collect();
        pool.close();
        pool.close();
        assert!(tasks.into_iter().all(|task| task.is_finished() && task.join().unwrap() == 5));
        assert!(matches!(submit::<nap>(&pool, 1).join(), Err(TaskError::PoolClosed)));
    }
}

/// `test_del_shutdown`, `test_del_pool`
#[test]
fn a_pool_that_is_dropped_runs_out_what_is_queued() {
    for pool in both() {
        let tasks: Vec<_> = (0..10).map(|_| submit::<nap>(&pool, 5)).collect();
        drop(pool);
        assert!(tasks.into_iter().all(|task| task.join().is_ok()));
    }
}

/// `test_terminate`, `test_hang_issue12364`
#[test]
fn a_pool_that_is_killed_leaves_no_task_without_an_end() {
    for pool in both() {
        let tasks: Vec<_> = (0..200).map(|_| submit::<nap>(&pool, 20)).collect();
        pool.end_now();
        let ends: Vec<bool> = tasks.into_iter().map(|task| task.join().is_ok()).collect();
        assert!(ends.iter().filter(|is_done| !**is_done).count() > 100, "what had not begun is cancelled");
    }
}

/// `test_cancel_futures`
#[test]
fn what_is_cancelled_before_a_shutdown_never_runs() {
    let counter = SharedValue::new(0_u64);
    for pool in [TestPool::threads(1), TestPool::processes(1)] {
        counter.set(0);
        let first = submit::<nap>(&pool, 200);
        assert!(parallel_workspace::eventually(|| first.is_running() || first.is_finished()));
        let tasks: Vec<_> = (0..50).map(|_| submit::<count>(&pool, (counter.clone(), false))).collect();
        let cancelled = pool.cancel_all();
        pool.close();
        let ends = tasks.into_iter().map(|task| task.join().is_err()).filter(|is_cancelled| *is_cancelled).count();
        assert_eq!((cancelled, counter.get()), (ends, 50 - ends as u64));
        assert!(first.join().is_ok());
    }
}

/// `test_no_stale_references`, `test_free_reference`
#[test]
fn neither_arguments_nor_results_live_longer_than_they_are_wanted() {
    #[parallel]
    fn pass(value: std::sync::Arc<u64>) -> std::sync::Arc<u64> {
        value
    }
    let value = std::sync::Arc::new(7);
    assert_eq!(*pass::submit(value.clone()).join().unwrap(), 7);
    assert!(parallel_workspace::eventually(|| std::sync::Arc::strong_count(&value) == 1));
    for result in pass::imap(vec![value.clone(); 10]) {
        drop(result.unwrap());
    }
    assert!(parallel_workspace::eventually(|| std::sync::Arc::strong_count(&value) == 1));
}

/// `test_saturation`, `test_max_tasks_per_child`, `test_pool_worker_lifetime`
#[test]
fn a_pool_has_no_more_workers_than_asked_for_and_renews_them_as_asked() {
    #[parallel(mode = "process")]
    fn pid(_: u32) -> u32 {
        std::process::id()
    }
    let pool = ProcessPool::new(2).max_tasks_per_worker(5);
    let tasks: Vec<_> = (0..30).map(|x| pid::on(&pool).submit(x)).collect();
    assert!(pool.worker_pids().len() <= 2);
    let mut pids: Vec<u32> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
    pids.sort_unstable();
    assert!(pids.chunk_by(|one, other| one == other).all(|tasks| tasks.len() <= 5));
}
