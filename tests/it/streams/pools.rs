//! Several pools together, deaths, time limits, closed pools, nesting.

use std::sync::mpsc::channel;
use std::time::Duration;

use parallel_runtime::{ProcessPool, SharedVec, TaskError, ThreadPool, WaitFor, as_completed, parallel, scope, wait};

use super::block_on;

#[parallel(mode = "process", pool = 2)]
fn in_process(milliseconds: u64) -> String {
    std::thread::sleep(Duration::from_millis(milliseconds));
    format!("process {milliseconds}")
}

#[parallel(pool = 2)]
fn on_thread(milliseconds: u64) -> String {
    std::thread::sleep(Duration::from_millis(milliseconds));
    format!("thread {milliseconds}")
}

#[test]
fn tasks_of_different_pools_are_waited_for_together() {
    let other = ProcessPool::new(1);
    let make =
        || vec![in_process::submit(30), on_thread::submit(1), in_process::on(&other).submit(2), on_thread::submit(40)];
    let mut results: Vec<_> = as_completed(make()).map(|(index, result)| (index, result.unwrap())).collect();
    results.sort_unstable();
    let expected = ["process 30", "thread 1", "process 2", "thread 40"].map(str::to_owned);
    assert_eq!(results, expected.into_iter().enumerate().collect::<Vec<_>>());
    assert_eq!(wait(&make(), WaitFor::All, None).done, [0, 1, 2, 3]);
    assert!(!wait(&make(), WaitFor::FirstCompleted, None).done.is_empty());
    // Nothing of theirs goes on when the pool is gone.
    drop(other);
}

#[test]
fn tasks_come_as_they_end() {
    let gate = parallel_runtime::SharedEvent::new();
    #[parallel(mode = "process", pool = 2)]
    fn pass(gate: parallel_runtime::SharedEvent, waits: bool) -> bool {
        if waits {
            gate.wait();
        }
        waits
    }
    let mut ended = as_completed([pass::submit(gate.clone(), true), pass::submit(gate.clone(), false)]);
    assert_eq!(ended.next().map(|(index, result)| (index, result.unwrap())), Some((1, false)));
    gate.set();
    assert_eq!(ended.next().map(|(index, result)| (index, result.unwrap())), Some((0, true)));
    gate.clear();
    // Unordered results pass one that takes long; ordered ones wait for it.
    let items = [true, false, false, false].map(|waits| (gate.clone(), waits));
    let mut unordered = pass::imap_unordered(items);
    let first = unordered.next().unwrap();
    assert!(first.0 > 0 && !first.1.unwrap());
    gate.set();
    assert_eq!(unordered.count(), 3);
}

#[test]
fn a_death_costs_one_result_of_an_imap() {
    #[parallel(mode = "process", pool = 2)]
    fn fragile(x: u32) -> u32 {
        if x == 1234 {
            std::process::abort();
        }
        x
    }
    let mut failed = Vec::new();
    for (x, result) in fragile::imap(0..3000).enumerate() {
        match result {
            Ok(value) => assert_eq!(value, x as u32),
            Err(error) => failed.push((x, matches!(error, TaskError::WorkerDied { .. }))),
        }
    }
    assert_eq!(failed, [(1234, true)]);
    assert_eq!(fragile::options().retries(1).imap([1, 1234, 2]).filter(Result::is_ok).count(), 2);
    assert!(block_on(fragile::submit(1234)).is_err());
    let task = fragile::submit(1234);
    let (sender, receiver) = channel();
    task.on_done(move || sender.send(()).unwrap());
    receiver.recv().unwrap();
    assert!(task.is_finished());
}

#[test]
fn an_imap_of_a_pool_that_is_closed_ends_with_errors() {
    let (processes, threads) = (ProcessPool::new(1), ThreadPool::new(1));
    let (mut one, mut other) = (
        in_process::on(&processes).imap(std::iter::repeat_n(0, 500)),
        on_thread::on(&threads).imap(std::iter::repeat_n(0, 500)),
    );
    assert!(one.next().unwrap().is_ok() && other.next().unwrap().is_ok());
    processes.shutdown();
    threads.shutdown();
    let is_closed =
        |result: &Result<String, TaskError>| matches!(result, Err(TaskError::PoolClosed | TaskError::Cancelled));
    assert!(one.by_ref().last().as_ref().is_some_and(is_closed));
    assert!(other.by_ref().last().as_ref().is_some_and(is_closed));
}

#[test]
fn a_stream_of_items_that_cannot_be_sent_ends() {
    use futures_lite::StreamExt;
    #[parallel(mode = "process", pool = 1)]
    fn name((path,): (std::path::PathBuf,)) -> String {
        path.display().to_string()
    }
    // serde has no path that is not UTF-8.
    let bad = || (<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(vec![0xff]).into(),);
    let results = block_on(name::stream([bad(), bad(), ("x".into(),), bad()]).collect::<Vec<_>>());
    assert_eq!(results.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, false, true, false]);
    assert!(name::imap([bad(), ("y".into(),)]).map(|result| result.is_ok()).eq([false, true]));
    let (processes, threads) = (ProcessPool::new(1), ThreadPool::new(1));
    processes.shutdown();
    threads.shutdown();
    let closed = |results: Vec<Result<String, TaskError>>| results.len() == 3 && results.iter().all(Result::is_err);
    assert!(closed(block_on(in_process::on(&processes).stream([0; 3]).collect())));
    assert!(closed(block_on(on_thread::on(&threads).stream([0; 3]).collect())));
}

#[test]
fn a_time_limit_ends_what_is_awaited() {
    let slow = || in_process::options().timeout(Duration::from_millis(50)).submit(60_000);
    assert!(matches!(block_on(slow()), Err(TaskError::TimedOut { .. })));
    let late = || on_thread::options().timeout(Duration::from_millis(50)).submit(1_000);
    assert!(matches!(block_on(late()), Err(TaskError::TimedOut { .. })));
    let waited = wait(&[slow(), late()], WaitFor::All, Some(Duration::from_secs(60)));
    assert_eq!(waited.done, [0, 1]);
    let results: Vec<_> = on_thread::options().timeout(Duration::from_millis(200)).imap([1, 1_000, 2]).collect();
    assert!(results[0].is_ok() && matches!(results[1], Err(TaskError::TimedOut { .. })) && results[2].is_ok());
}

#[test]
fn shared_memory_streams_through_workers() {
    #[parallel(mode = "process", pool = 2)]
    fn double(mut numbers: SharedVec<u32>) -> SharedVec<u32> {
        numbers.iter_mut().for_each(|number| *number *= 2);
        numbers
    }
    let doubled = double::imap((0..50).map(|number| SharedVec::from_slice(&[number; 100])));
    for (number, doubled) in doubled.enumerate() {
        assert_eq!(doubled.unwrap()[99], number as u32 * 2);
    }
}

#[test]
fn a_task_on_a_thread_awaits_a_task_of_its_own_pool() {
    #[parallel(pool = 1)]
    fn inner(x: u32) -> u32 {
        x + 1
    }
    #[parallel(pool = 1)]
    fn outer(x: u32) -> u32 {
        let awaited = block_on(inner::submit(x)).unwrap();
        let mut completed = as_completed([inner::submit(awaited)]);
        let completed = completed.next().unwrap().1.unwrap();
        let awaited = block_on(later(completed));
        inner::imap([awaited]).map(Result::unwrap).sum()
    }
    #[parallel(pool = 1)]
    async fn later(x: u32) -> u32 {
        smol::Timer::after(Duration::from_millis(1)).await;
        x + 1
    }
    assert_eq!(outer(0), 4);
    assert_eq!(outer::submit(0).join().unwrap(), 4);
}

#[test]
fn streams_work_inside_workers() {
    #[parallel(mode = "process", pool = 1)]
    fn sum(upto: u64) -> u64 {
        let squares = as_completed((0..upto).map(twice::submit)).map(|(_, result)| result.unwrap()).sum::<u64>();
        squares + twice::imap(0..upto).map(Result::unwrap).sum::<u64>() + block_on(twice::submit(1)).unwrap()
    }
    #[parallel(mode = "process", pool = 1)]
    fn twice(x: u64) -> u64 {
        2 * x
    }
    assert_eq!(sum(10), 90 + 90 + 2);
}

#[test]
fn a_scope_waits_for_what_takes_too_long() {
    #[parallel(pool = 1, timeout = "20ms")]
    fn slow(numbers: &mut [u64]) {
        std::thread::sleep(Duration::from_millis(100));
        numbers.fill(1);
    }
    #[parallel(mode = "process", pool = 1, timeout = "50ms")]
    fn endless(numbers: &mut [u64]) {
        numbers.fill(1);
        loop {
            std::hint::spin_loop();
        }
    }
    let (mut one, mut other) = ([0; 3], [0; 3]);
    let mut shared = SharedVec::from_slice(&[0_u64; 3]);
    scope(|s| {
        let (slow, endless) = (slow::scoped(s, &mut one), endless::scoped(s, &mut other));
        let lent = endless::scoped(s, &mut shared);
        assert!(matches!(slow.join(), Err(TaskError::TimedOut { .. })));
        assert!(matches!(endless.join(), Err(TaskError::TimedOut { .. })));
        assert!(matches!(lent.join(), Err(TaskError::TimedOut { .. })));
    });
    assert_eq!((one, other), ([1; 3], [0; 3]), "a thread has run to its end, a process has not");
    assert_eq!(shared, [1; 3]);
}

#[test]
fn a_scope_of_many_tasks_keeps_few() {
    #[parallel(mode = "process", pool = 2)]
    fn one(number: &u64) -> u64 {
        *number
    }
    let numbers: Vec<u64> = (0..3000).collect();
    let sum = scope(|s| numbers.iter().map(|number| one::scoped(s, number).join().unwrap()).sum::<u64>());
    assert_eq!(sum, 4_498_500);
    let cancelled = scope(|s| {
        let tasks: Vec<_> = numbers.iter().map(|number| one::scoped(s, number)).collect();
        tasks.iter().filter(|task| task.cancel() || task.kill()).count()
    });
    assert!(cancelled <= 3000);
}

#[cfg(feature = "tokio")]
#[test]
fn bodies_of_async_functions_run_inside_tokio() {
    #[parallel(mode = "process", pool = 1)]
    async fn in_process(milliseconds: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        // In place, inside a runtime.
        on_thread(milliseconds).await + in_worker(milliseconds).await
    }
    #[parallel(pool = 1)]
    async fn on_thread(milliseconds: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        milliseconds
    }
    #[parallel(mode = "process", pool = 1)]
    async fn in_worker(milliseconds: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        milliseconds
    }
    assert_eq!(block_on(in_process(2)), 4);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(runtime.block_on(async { on_thread(3).await + in_process(1).await }), 5);
}
