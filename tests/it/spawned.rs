//! Processes that tasks start: `f::spawn` inside a worker.

use std::time::Duration;

use parallel_runtime::{
    ProcessPool, SharedDict, SharedSlice, SharedVec, WaitFor, as_completed, current_worker, parallel, wait,
};
use parallel_workspace::{eventually, is_alive};

#[parallel(mode = "process", pool = 2)]
fn pid() -> u32 {
    std::process::id()
}

/// The process ids of nested tasks: each begins with its own.
#[parallel(mode = "process", pool = 2)]
fn nest(depth: u32) -> Vec<u32> {
    let mut pids = vec![std::process::id()];
    if depth > 0 {
        pids.extend(nest::spawn(depth - 1).join().unwrap());
    }
    pids
}

#[test]
fn a_task_in_a_worker_starts_a_process_of_its_own_which_may_do_the_same() {
    let mut pids = nest(3);
    pids.push(std::process::id());
    let count = pids.len();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!((pids.len(), count), (5, 5));
}

#[parallel(mode = "process", pool = 2)]
fn crash(how: u32) -> u32 {
    match how {
        0 => std::process::abort(),
        1 => panic!("on purpose"),
        2 => std::thread::sleep(Duration::from_secs(3600)),
        _ => {}
    }
    how
}

/// What becomes of tasks in processes that a task starts, as text.
#[parallel(mode = "process", pool = 1)]
fn survive() -> Vec<String> {
    let spawned = (0..2).map(|how| crash::spawn(how).join());
    let mut ends: Vec<String> = spawned.map(|result| format!("{:?}", result.unwrap_err())).collect();
    let mut endless = crash::spawn(2);
    assert!(endless.join_timeout(Duration::from_millis(50)).is_none() && endless.pid().is_some_and(is_alive));
    assert!(endless.kill());
    ends.push(format!("{:?}", endless.join().unwrap_err()));
    let limited = crash::options().timeout(Duration::from_millis(100)).spawn(2).join();
    ends.push(format!("{:?}", limited.unwrap_err()));
    ends.push(crash::options().retries(1).spawn(3).join().unwrap().to_string());
    ends
}

#[test]
fn what_a_process_in_a_worker_does_costs_its_task_alone() {
    let ends = survive::on(&ProcessPool::new(1)).call(());
    let expected = ["WorkerDied", "Panicked", "Cancelled", "TimedOut", "3"];
    assert_eq!(ends.len(), expected.len());
    for (end, expected) in ends.iter().zip(expected) {
        assert!(end.starts_with(expected), "{ends:?}");
    }
}

/// Gives the pid of an endless process that it leaves behind, and its own.
#[parallel(mode = "process", pool = 1)]
fn leave() -> (u32, u32) {
    let endless = crash::spawn(2);
    let pid = endless.pid().unwrap();
    std::mem::forget(endless);
    (pid, std::process::id())
}

#[test]
fn a_process_that_a_task_has_started_ends_with_the_worker_however_that_ends() {
    let pool = ProcessPool::new(1);
    let (left, worker) = leave::on(&pool).call(());
    assert!(is_alive(left) && is_alive(worker));
    pool.shutdown();
    assert!(eventually(|| !is_alive(left)));
    let pool = ProcessPool::new(1);
    let (left, worker) = leave::on(&pool).call(());
    // SAFETY: kill has no preconditions; the process is the pool's.
    unsafe { libc::kill(worker.cast_signed(), libc::SIGKILL) };
    assert!(eventually(|| !is_alive(left)));
}

#[parallel(mode = "process", pool = 2)]
fn sum(values: &[u64], table: SharedSlice<u64>, owned: SharedVec<u64>) -> (u64, SharedVec<u64>) {
    (values.iter().chain(table.iter()).chain(owned.iter()).sum(), owned)
}

#[parallel(mode = "process", pool = 2)]
fn pass(table: SharedSlice<u64>) -> (u64, Vec<u64>, u64) {
    let own = SharedVec::from_slice(&[1, 2, 3]);
    let (total, back) = sum::spawn(vec![10; 100_000], table.clone(), own).join().unwrap();
    // The program's table is still there.
    (total, back.to_vec(), table.iter().sum())
}

#[test]
fn slices_and_vectors_are_copied_into_a_process_of_a_task_and_back() {
    let table = SharedSlice::from_slice(&vec![1_u64; 1_000_000]);
    assert_eq!(pass(table.clone()), (2_000_006, vec![1, 2, 3], 1_000_000));
    assert_eq!(table.len(), 1_000_000);
}

#[parallel(mode = "process", pool = 2)]
fn count(counts: SharedDict<String, u32>) -> usize {
    counts.len()
}

#[parallel(mode = "process", pool = 2)]
fn pass_dict(counts: SharedDict<String, u32>) -> String {
    let refused = count::spawn(counts.clone()).join().unwrap_err().to_string();
    counts.insert("used".to_owned(), 1);
    refused
}

#[test]
fn other_shared_objects_are_refused_by_a_clear_error() {
    let counts = SharedDict::new();
    let refused = pass_dict(counts.clone());
    assert!(refused.contains("SharedDict<String, u32>") && refused.contains("shares no objects"), "{refused}");
    assert_eq!(counts.get("used"), Some(1));
}

#[parallel(mode = "process", pool = 1)]
fn collect() -> Vec<u32> {
    let tasks: Vec<_> = (3..6).map(|number| crash::spawn(number).into_task()).collect();
    assert_eq!(wait(&tasks, WaitFor::All, None).done.len(), 3);
    as_completed(tasks).map(|(_, result)| result.unwrap()).collect()
}

#[test]
fn processes_of_a_task_are_waited_for_together() {
    let mut numbers = collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [3, 4, 5]);
}

#[parallel(mode = "process", pool = 1)]
fn speak() -> Option<usize> {
    eprintln!("from a process of a task");
    let pool = ProcessPool::new(2);
    // Pooled calls run in place, there as here.
    assert_eq!(pid::on(&pool).map([(); 4]), [std::process::id(); 4]);
    current_worker().map(|worker| worker.index())
}

#[parallel(mode = "process", pool = 1)]
fn listen() -> Option<usize> {
    speak::spawn().join().unwrap()
}

#[test]
fn a_process_of_a_task_is_a_worker_like_others() {
    assert_eq!(listen(), Some(0));
}

#[parallel(mode = "thread")]
fn thread() -> u32 {
    std::process::id()
}

#[parallel(mode = "process", pool = 1)]
fn start_thread() -> (u32, u32) {
    (std::process::id(), thread::spawn().join().unwrap())
}

#[test]
fn a_thread_of_a_task_is_one_of_its_worker() {
    let (own, other) = start_thread();
    assert_eq!(own, other);
}

#[cfg(not(parallel_portable))]
mod confined_and_limited {
    use parallel_runtime::{Sandbox, TaskError};

    use super::*;

    #[parallel(mode = "process", pool = 1, sandbox = "strict")]
    fn confined() -> String {
        match pid::spawn().join() {
            Err(TaskError::Spawn(error)) => error.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_task_in_a_sandbox_starts_no_process_and_is_told_so() {
        let said = confined();
        assert!(
            said.contains("spawned::pid` was to run in a process of its own") && said.contains("in place"),
            "{said}"
        );
        assert!(confined::on(&ProcessPool::new(1).sandbox(Sandbox::strict())).call(()).contains("may not start any"));
    }

    #[parallel(mode = "process", pool = 1, memory_limit = "1GiB")]
    fn allocate(mebibytes: usize) -> usize {
        std::hint::black_box(vec![1_u8; mebibytes << 20]).len() >> 20
    }

    #[parallel(mode = "process", pool = 1)]
    fn allocate_freely(mebibytes: usize) -> usize {
        allocate::inline(mebibytes)
    }

    #[parallel(mode = "process", pool = 1, memory_limit = "128MiB")]
    fn allocate_elsewhere(mebibytes: usize) -> [usize; 2] {
        [allocate::spawn(mebibytes).join().unwrap(), allocate_freely::spawn(mebibytes).join().unwrap()]
    }

    #[test]
    fn a_process_of_a_task_has_its_own_memory_limit_and_not_the_workers() {
        assert_eq!(allocate_elsewhere(200), [200, 200]);
    }

    #[parallel(mode = "process", pool = 1, sandbox = "strict")]
    fn is_confined() -> bool {
        std::fs::File::open("/etc/passwd").is_err()
    }

    #[parallel(mode = "process", pool = 1)]
    fn start_confined() -> (bool, bool) {
        (is_confined::spawn().join().unwrap(), is_confined::submit().join().is_err())
    }

    #[test]
    fn a_process_of_a_task_may_be_in_a_sandbox_although_the_worker_is_not() {
        assert_eq!(start_confined(), (true, true));
    }

    fn start_in_init() {
        let refused = pid::spawn().join();
        assert!(matches!(refused, Err(TaskError::Spawn(_))), "{refused:?}");
    }

    #[test]
    fn the_init_of_a_sandboxed_pool_starts_no_process_and_the_pool_works() {
        let pool = ProcessPool::new(1).init(start_in_init).sandbox(Sandbox::strict());
        assert!(is_confined::on(&pool).call(()));
    }
}
