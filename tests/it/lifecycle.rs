//! How pools and tasks live: names, variables, stacks, idle workers, cancelling what waits, handles of processes and maps.

use std::sync::mpsc::channel;
use std::time::Duration;

use parallel_runtime::{
    ProcessPool, SharedQueue, TaskError, ThreadPool, WaitFor, as_completed, current_worker, parallel, wait,
};
use parallel_workspace::{eventually, is_alive};

#[parallel(mode = "process")]
fn place() -> (Option<(String, usize, bool)>, u32, String) {
    let worker = current_worker().map(|worker| (worker.pool().to_owned(), worker.index(), worker.is_process()));
    (worker, std::process::id(), std::thread::current().name().unwrap_or_default().to_owned())
}

#[parallel(mode = "process")]
fn nap(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

#[test]
fn a_worker_knows_its_pool_and_its_number() {
    assert_eq!(current_worker(), None);
    let processes = ProcessPool::new(2).name("render");
    for (worker, pid, _) in place::on(&processes).map([(); 20]) {
        let (pool, index, is_process) = worker.unwrap();
        assert!(pool == "render" && index < 2 && is_process);
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
        assert!(line.starts_with(&format!("render-{index}")), "{line}");
    }
    assert_eq!(processes.stats().name, Some("render"));
    assert!(processes.stats().to_string().starts_with("pool      render\n"));
    let threads = ThreadPool::new(2).name("scan");
    let (worker, _, name) = place::on(&threads).submit(()).join().unwrap();
    let (pool, index, is_process) = worker.unwrap();
    assert_eq!((pool.as_str(), name, is_process), ("scan", format!("scan-{index}"), false));
    for (worker, _, _) in place::on(&threads).map([(); 20]) {
        assert_eq!(worker.unwrap().0, "scan");
    }
    assert_eq!(place::on(&threads).call(()).0, Some(("scan".to_owned(), 2, false)), "a plain call is its caller's");
    assert!(place().0.unwrap().0.starts_with("pool "));
    assert!(place::spawn().join().unwrap().0.unwrap().0.ends_with("of its own"));
    assert_eq!(place::inline().0, None);
}

#[test]
fn variables_are_set_before_a_worker_starts() {
    #[parallel(mode = "process")]
    fn variable(name: String) -> Option<String> {
        std::env::var(name).ok()
    }
    let pool = ProcessPool::new(1).env(&[("PARALLEL_TEST_ENV", "1"), ("PARALLEL_TEST_OTHER", "a b")]);
    let values = variable::on(&pool).map(["PARALLEL_TEST_ENV", "PARALLEL_TEST_OTHER"].map(str::to_owned));
    assert_eq!(values, [Some("1".to_owned()), Some("a b".to_owned())]);
    assert_eq!(variable("PARALLEL_TEST_ENV".to_owned()), None);
}

/// The standard library has it from glibc before `main`, and from musl only in `main`.
#[cfg(target_env = "gnu")]
#[test]
fn a_worker_has_the_command_line_of_the_program() {
    #[parallel(mode = "process")]
    fn arguments() -> Vec<String> {
        std::env::args().collect()
    }
    assert_eq!(arguments(), std::env::args().collect::<Vec<_>>());
}

#[test]
fn idle_workers_leave_and_come_back() {
    let pool = ProcessPool::new(2).idle_timeout(Duration::from_millis(100));
    let pids: Vec<u32> = place::on(&pool).map([(); 50]).iter().map(|(_, pid, _)| *pid).collect();
    assert!(eventually(|| pool.worker_pids().is_empty()));
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
    assert_eq!((pool.stats().worker_deaths, pool.stats().replaced), (0, 0));
    let (_, pid, _) = place::on(&pool).call(());
    assert!(!pids.contains(&pid));
    assert_eq!(nap::on(&pool).call(300), 300, "one that runs a task stays");

    #[parallel]
    fn number() -> std::thread::ThreadId {
        std::thread::current().id()
    }
    let threads = ThreadPool::new(1).idle_timeout(Duration::from_millis(50));
    let first = number::on(&threads).submit(()).join().unwrap();
    let comes = eventually(|| {
        number::on(&threads).submit(()).join().unwrap() != first || {
            std::thread::sleep(Duration::from_millis(100));
            false
        }
    });
    assert!(comes, "another thread");
}

#[test]
fn cancelled_queues_leave_what_runs_alone() {
    let (processes, threads) = (ProcessPool::new(1), ThreadPool::new(1));
    let submit = |milliseconds| [nap::on(&processes).submit(milliseconds), nap::on(&threads).submit(milliseconds)];
    let running = submit(300);
    assert!(eventually(|| running.iter().all(|task| task.is_running())));
    let waiting: Vec<_> = (0..100).flat_map(|_| submit(10_000)).collect();
    let map = nap::on(&processes).map_async((0..5).map(|_| 10_000));
    assert_eq!(threads.cancel_queued(), 100);
    assert!(eventually(|| processes.stats().queued > 100));
    assert!(processes.cancel_queued() > 100);
    assert!(waiting.into_iter().all(|task| matches!(task.join(), Err(TaskError::Cancelled))));
    assert!(matches!(map.join(), Err(TaskError::Cancelled)));
    assert!(running.into_iter().all(|task| task.join().is_ok()));
    assert_eq!((processes.cancel_queued(), threads.cancel_queued()), (0, 0));
    assert_eq!(nap::on(&processes).call(1), 1);
}

#[test]
fn a_spawned_process_is_waited_for_as_a_task_is() {
    let mut process = nap::spawn(200);
    assert!(process.join_timeout(Duration::from_millis(1)).is_none());
    let (tell, told) = channel();
    process.on_done(move || tell.send(()).unwrap());
    told.recv().unwrap();
    assert_eq!(process.join_timeout(Duration::from_secs(60)).unwrap().unwrap(), 200);
    let long = nap::spawn(100_000);
    let pid = long.pid().unwrap();
    let tasks = [nap::spawn(1).into_task(), long.into_task()];
    assert_eq!(wait(&tasks, WaitFor::FirstCompleted, None).done, [0]);
    let mut completed = as_completed(tasks);
    assert_eq!(completed.next_timeout(Duration::from_secs(60)).unwrap().0, 0);
    assert!(completed.next_timeout(Duration::from_millis(1)).is_none());
    assert_eq!(completed.len(), 1);
    drop(completed);
    assert!(is_alive(pid), "a task that is dropped runs on");
    // SAFETY: `kill` has no preconditions; the process is this program's child, and has not been waited for.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
}

#[test]
fn a_map_in_the_background_can_be_waited_for_for_a_while() {
    let mut map = nap::map_async([200, 1]);
    assert!(map.join_timeout(Duration::from_millis(1)).is_none());
    let (tell, told) = channel();
    map.on_done(move || tell.send(()).unwrap());
    told.recv().unwrap();
    assert_eq!(map.join_timeout(Duration::from_secs(60)).unwrap().unwrap(), [200, 1]);
    assert!(matches!(map.join_timeout(Duration::ZERO), Some(Err(TaskError::ResultTaken))));
    let (tell, told) = channel();
    map.on_done(move || tell.send(()).unwrap());
    told.recv().unwrap();
}

#[test]
fn a_queue_is_iterated_until_it_is_closed_and_drained_without_waiting() {
    let queue = SharedQueue::bounded(10);
    assert_eq!(queue.drain().count(), 0);
    (1..=3).for_each(|number| queue.push(number).unwrap());
    assert_eq!(queue.drain().collect::<Vec<_>>(), [1, 2, 3]);
    queue.push(4).unwrap();
    queue.close();
    assert_eq!(queue.iter().collect::<Vec<_>>(), [4]);
    assert_eq!((queue.iter().next(), queue.drain().next()), (None, None));
}

#[test]
fn stacks_of_threads_are_as_large_as_asked_for() {
    #[parallel]
    fn deep(left: u64) -> u64 {
        let here = std::hint::black_box([left; 1000]);
        if left == 0 { here[0] } else { 1 + deep::inline(left - 1) }
    }
    let pool = ThreadPool::new(2).stack_size(256 << 20);
    assert_eq!(deep::on(&pool).map([5000, 4000]), [5000, 4000]);
    assert_eq!(deep::on(&pool).submit(5000).join().unwrap(), 5000);
}

#[test]
fn a_full_queue_makes_submit_wait_and_gives_arguments_back() {
    use parallel_runtime::TrySubmitError;
    #[parallel(mode = "process")]
    fn join(one: String, two: &str, milliseconds: u64) -> String {
        std::thread::sleep(Duration::from_millis(milliseconds));
        one + two
    }
    let (processes, threads) = (ProcessPool::new(1).queue(2), ThreadPool::new(1).queue(2));
    let check = |submit: &dyn Fn(u64) -> parallel_runtime::Task<String>, full: &dyn Fn() -> String| {
        let first = [submit(200), submit(0)];
        assert_eq!(full(), "ab");
        // It waits until one of the first two has ended.
        let third = submit(0);
        assert!(first[0].is_finished());
        let results: Vec<_> = first.into_iter().chain([third]).map(|task| task.join().unwrap()).collect();
        assert_eq!(results, ["ab"; 3]);
    };
    let item = |milliseconds| ("a".to_owned(), "b".to_owned(), milliseconds);
    let back = |error: TrySubmitError<(String, String, u64)>| {
        assert!(matches!(error, TrySubmitError::Full(_)), "{error}");
        let (one, two, _) = error.into_inner();
        one + &two
    };
    check(&|ms| join::on(&processes).submit(item(ms)), &|| back(join::on(&processes).try_submit(item(0)).unwrap_err()));
    check(&|ms| join::on(&threads).submit(item(ms)), &|| back(join::on(&threads).try_submit(item(0)).unwrap_err()));
    // Tasks that fail, or are cancelled, make room as others do.
    for _ in 0..10 {
        join::on(&processes).submit(item(0)).cancel();
    }
    processes.shutdown();
    assert!(matches!(join::on(&processes).try_submit(item(0)), Err(TrySubmitError::Closed(_))));
    for _ in 0..5 {
        assert!(matches!(join::on(&processes).submit(item(0)).join(), Err(TaskError::PoolClosed)));
    }
    assert_eq!(join::try_submit("a".to_owned(), "b".to_owned(), 0).unwrap().join().unwrap(), "ab");
}

#[test]
fn a_task_that_submits_to_its_own_full_pool_does_not_hang() {
    static POOL: ThreadPool = ThreadPool::new(1).queue(1);
    #[parallel(pool = POOL)]
    fn countdown(left: u32) -> u32 {
        if left == 0 { 0 } else { 1 + countdown::try_submit(left - 1).map_or(0, |task| task.join().unwrap()) }
    }
    assert_eq!(countdown::submit(3).join().unwrap(), 1, "it takes the only place itself");
}

#[test]
fn cancelling_a_queue_leaves_futures_that_have_begun_and_counts_what_it_cancels() {
    use std::sync::Mutex;
    use std::task::{Poll, Waker};
    static BEGUN: Mutex<Option<Waker>> = Mutex::new(None);
    #[parallel]
    async fn waits() -> u32 {
        let mut polls = 0;
        std::future::poll_fn(|context| {
            polls += 1;
            *BEGUN.lock().unwrap() = Some(context.waker().clone());
            if polls == 1 { Poll::Pending } else { Poll::Ready(polls) }
        })
        .await
    }
    let pool = ThreadPool::new(1);
    let begun = waits::on(&pool).submit(());
    assert!(eventually(|| BEGUN.lock().unwrap().is_some()));
    let keeps_the_thread = nap::on(&pool).submit(300);
    assert!(eventually(|| keeps_the_thread.is_running()));
    // It lies in the queue again, with others that have not begun.
    BEGUN.lock().unwrap().take().unwrap().wake();
    let waiting = [1, 2, 3].map(|_| nap::on(&pool).submit(10_000));
    assert!(waiting[0].cancel());
    assert_eq!(pool.cancel_queued(), 2);
    assert_eq!(begun.join().unwrap(), 2, "it goes on");
    assert!(keeps_the_thread.join().is_ok());
}

#[test]
fn room_in_a_queue_comes_back_when_submitting_panics() {
    #[derive(serde::Deserialize)]
    struct Fragile(bool);
    impl serde::Serialize for Fragile {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            assert!(!self.0, "it cannot be encoded");
            serializer.serialize_newtype_struct("Fragile", &self.0)
        }
    }
    #[parallel(mode = "process")]
    fn takes(_fragile: Fragile) {}
    let pool = ProcessPool::new(1).queue(1);
    let submit = |fails| {
        let submit = || takes::on(&pool).try_submit(Fragile(fails)).map(|task| task.join().is_ok());
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(submit))
    };
    for _ in 0..3 {
        assert!(!matches!(submit(true), Ok(Ok(true)) | Ok(Err(_))), "it fails, and not because the queue is full");
    }
    assert!(matches!(submit(false), Ok(Ok(true))));
}
