//! Time limits, on threads and in processes, and ending a task by hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parallel_runtime::{ProcessPool, TaskError, ThreadPool, parallel};
use parallel_workspace::{eventually, is_alive};

/// Longer than a machine under load takes for a task that does next to nothing.
const SHORT: Duration = Duration::from_millis(500);

fn timed_out<R: std::fmt::Debug>(result: &Result<R, TaskError>) -> bool {
    matches!(result, Err(TaskError::TimedOut { after, .. }) if *after == SHORT)
}

/// What is the same on threads and in processes.
macro_rules! limits {
    ($module:ident, $mode:literal) => {
        mod $module {
            use super::*;

            #[parallel(mode = $mode, pool = 4, timeout = "500ms")]
            fn nap(milliseconds: u64) -> u64 {
                std::thread::sleep(Duration::from_millis(milliseconds));
                milliseconds
            }

            #[parallel(mode = $mode, pool = 4)]
            fn patient(milliseconds: u64) -> u64 {
                std::thread::sleep(Duration::from_millis(milliseconds));
                milliseconds
            }

            #[test]
            fn what_takes_too_long_ends_as_timed_out_and_the_rest_goes_on() {
                let begun = Instant::now();
                let results = nap::try_map([1, 2_000, 2, 3]);
                assert_eq!(results[0].as_ref().unwrap(), &1);
                assert!(timed_out(&results[1]), "{:?}", results[1]);
                assert_eq!((results[2].as_ref().unwrap(), results[3].as_ref().unwrap()), (&2, &3));
                assert!(timed_out(&nap::submit(2_000).join()));
                assert!(timed_out(&nap::spawn(2_000).join()));
                assert!(timed_out(&nap::map_async([1, 2_000]).join().map(|_| ())));
                assert!(begun.elapsed() < Duration::from_secs(30), "the end was waited for");
            }

            #[test]
            fn a_call_and_a_map_panic_with_the_text() {
                for payload in [
                    std::panic::catch_unwind(|| nap(2_000)).unwrap_err(),
                    std::panic::catch_unwind(|| nap::map([1, 2_000])[0]).unwrap_err(),
                ] {
                    let text = payload.downcast_ref::<String>().expect("a text");
                    assert!(text.contains("500ms"), "{text}");
                }
            }

            #[test]
            fn a_limit_for_one_call_counts_before_that_of_the_function() {
                assert!(timed_out(&patient::options().timeout(SHORT).submit(2_000).join()));
                let longer = nap::options().timeout(Duration::from_secs(60));
                assert_eq!(longer.call(200), 200);
                assert_eq!(longer.map([150, 1]), [150, 1]);
            }

            #[test]
            fn an_end_in_time_is_no_timeout_and_waiting_does_not_count() {
                // Four workers, twelve tasks of 0.8 s: the last of them end after longer than one may run.
                let tasks: Vec<_> =
                    (0..12).map(|_| nap::options().timeout(Duration::from_secs(2)).submit(800)).collect();
                for task in tasks {
                    assert_eq!(task.join().unwrap(), 800);
                }
                let mut task = patient::options().timeout(Duration::from_secs(60)).submit(2_000);
                assert!(task.join_timeout(Duration::from_millis(1)).is_none(), "that is only the waiting");
                assert_eq!(task.join().unwrap(), 2_000);
            }
        }
    };
}

limits!(thread, "thread");
limits!(process, "process");

static LIMITED_THREADS: ThreadPool = ThreadPool::new(2).timeout(SHORT);

static RELEASE: AtomicU64 = AtomicU64::new(0);

#[parallel(pool = LIMITED_THREADS)]
fn wait_for_release(owned: u64) -> u64 {
    while RELEASE.load(Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    owned
}

#[test]
fn a_thread_that_timed_out_is_counted_until_it_ends_and_keeps_its_place() {
    assert!(timed_out(&wait_for_release::submit(1).join()));
    let stats = LIMITED_THREADS.stats();
    assert_eq!((stats.timed_out, stats.abandoned, stats.running), (1, 1, 1), "{stats}");
    RELEASE.store(1, Ordering::Release);
    assert!(eventually(|| LIMITED_THREADS.stats().abandoned == 0));
    assert_eq!(wait_for_release(2), 2);
}

#[test]
fn a_borrow_on_a_thread_is_waited_for_and_the_call_then_says_that_it_took_too_long() {
    #[parallel(timeout = "500ms")]
    fn slow_sum(numbers: &[u64]) -> u64 {
        std::thread::sleep(Duration::from_millis(700));
        numbers.iter().sum()
    }
    let numbers = vec![1, 2, 3];
    let results = slow_sum::try_map([&numbers[..], &numbers[1..]]);
    assert!(results.iter().all(timed_out), "{results:?}");
    assert!(std::panic::catch_unwind(|| slow_sum(&numbers)).is_err());
    // Without the borrow, the caller need not wait.
    assert!(timed_out(&slow_sum::submit(numbers).join()));
}

#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
enum Stubborn {
    Spin,
    BlockAllSignals,
    IgnoreTerm,
    Stop,
}

#[parallel(mode = "process", pool = 2, timeout = "500ms")]
fn resist(how: Stubborn) {
    match how {
        Stubborn::Spin => {}
        Stubborn::BlockAllSignals => {
            let mut all = std::mem::MaybeUninit::uninit();
            // SAFETY: `all` is filled by the first call and read by the second.
            unsafe { libc::sigfillset(all.as_mut_ptr()) };
            // SAFETY: as above.
            unsafe { libc::sigprocmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut()) };
        }
        // SAFETY: `SIG_IGN` is a valid action.
        Stubborn::IgnoreTerm => unsafe {
            libc::signal(libc::SIGTERM, libc::SIG_IGN);
        },
        // SAFETY: kill has no preconditions.
        Stubborn::Stop => unsafe {
            libc::kill(libc::getpid(), libc::SIGSTOP);
        },
    }
    loop {
        std::hint::spin_loop();
    }
}

#[test]
fn a_worker_that_resists_is_ended_all_the_same() {
    for how in [Stubborn::Spin, Stubborn::BlockAllSignals, Stubborn::IgnoreTerm, Stubborn::Stop] {
        let begun = Instant::now();
        let result = resist::submit(how).join();
        assert!(timed_out(&result), "{how:?}: {result:?}");
        assert!(begun.elapsed() < Duration::from_secs(20), "{how:?} took {:?}", begun.elapsed());
    }
}

#[test]
fn a_worker_may_clean_up_when_its_time_is_over() {
    static POOL: ProcessPool = ProcessPool::new(1).timeout(SHORT);
    #[parallel(pool = POOL, mode = "process")]
    fn leave_a_note(path: String) {
        static PATH: std::sync::OnceLock<std::ffi::CString> = std::sync::OnceLock::new();
        extern "C" fn note(_: i32) {
            // SAFETY: `creat` may be called by a signal handler; the path ends in a zero.
            unsafe { libc::creat(PATH.get().map_or(std::ptr::null(), |path| path.as_ptr()), 0o600) };
            // SAFETY: `_exit` has no preconditions.
            unsafe { libc::_exit(0) };
        }
        PATH.set(std::ffi::CString::new(path).unwrap()).unwrap();
        // SAFETY: the handler does only what a handler may.
        unsafe { libc::signal(libc::SIGTERM, note as *const () as usize) };
        loop {
            std::hint::spin_loop();
        }
    }
    let directory = parallel_workspace::scratch("note");
    let path = directory.join("note");
    assert!(timed_out(&leave_a_note::submit(path.to_string_lossy().into_owned()).join()));
    assert!(path.exists());
    let stats = POOL.stats();
    assert_eq!((stats.timed_out, stats.worker_deaths), (1, 0), "{stats}");
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn in_a_message_of_many_items_each_has_its_own_time() {
    #[parallel(mode = "process", pool = 1, timeout = "2s")]
    fn item(milliseconds: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(milliseconds));
        milliseconds
    }
    // Together they take longer than one may.
    let results = item::options().chunk(10).try_map([250; 10]);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let mut times = [20; 10];
    times[4] = 10_000;
    let results = item::options().chunk(10).try_map(times);
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result.is_ok(), index != 4, "{index}: {result:?}");
    }
}

#[test]
fn many_short_limits_end_no_task_that_is_in_time() {
    #[parallel(mode = "process", pool = 2, timeout = "5s")]
    fn quick(x: u64) -> u64 {
        x + 1
    }
    for _ in 0..5 {
        let tasks: Vec<_> = (0..3000).map(quick::submit).collect();
        for (x, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.join().unwrap(), x as u64 + 1);
        }
        assert_eq!(quick::map(0..20_000).len(), 20_000);
    }
}

#[parallel(mode = "process", pool = 2)]
fn spin(_: u64) {
    loop {
        std::hint::spin_loop();
    }
}

#[parallel(mode = "process", pool = 2)]
fn pid(_: u64) -> u32 {
    std::process::id()
}

#[test]
fn a_running_task_can_be_killed_and_costs_its_worker_alone() {
    let pool = ProcessPool::new(2);
    pool.start().unwrap();
    let before = pool.worker_pids();
    let task = spin::on(&pool).submit(1);
    assert!(eventually(|| task.is_running()));
    let others: Vec<_> = (0..100).map(|x| pid::on(&pool).submit(x)).collect();
    assert!(task.kill());
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    assert!(others.into_iter().all(|task| task.join().is_ok()));
    assert!(eventually(|| pool.worker_pids().iter().filter(|pid| !before.contains(pid)).count() == 1));
    assert_eq!(pool.stats().worker_deaths, 0, "the pool has ended it itself");
}

#[test]
fn a_task_that_waits_is_killed_without_running_and_one_that_is_done_is_not() {
    let pool = ProcessPool::new(1);
    let busy = spin::on(&pool).submit(1);
    let waiting = pid::on(&pool).submit(2);
    assert!(waiting.kill());
    assert!(matches!(waiting.join(), Err(TaskError::Cancelled)));
    assert!(eventually(|| busy.is_running()) && busy.kill());
    let done = pid::on(&pool).submit(3);
    assert!(eventually(|| done.is_finished()));
    assert!(!done.kill());
    assert!(done.join().is_ok());
}

#[test]
fn killing_tasks_at_random_moments_never_ends_another() {
    let pool = ProcessPool::new(2);
    for round in 0..300_u64 {
        let victim = pid::on(&pool).submit(round);
        let others: Vec<_> = (0..5).map(|x| pid::on(&pool).submit(x)).collect();
        for _ in 0..round % 50 {
            std::hint::spin_loop();
        }
        let killed = victim.kill();
        match victim.join() {
            Ok(_) => {}
            Err(TaskError::Cancelled) => assert!(killed),
            Err(other) => panic!("{other}"),
        }
        for task in others {
            task.join().expect("this one was not killed");
        }
    }
    assert_eq!(pool.stats().worker_deaths, 0);
}

#[test]
fn a_pool_with_a_stopped_worker_closes_soon() {
    let pool = ProcessPool::new(2);
    pool.start().unwrap();
    let pids = pool.worker_pids();
    // SAFETY: kill has no preconditions; the process is a worker of ours.
    unsafe { libc::kill(pids[0].cast_signed(), libc::SIGSTOP) };
    let begun = Instant::now();
    drop(pool);
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(pids.iter().all(|pid| !is_alive(*pid)));
}

#[test]
fn a_kill_counts_more_than_a_timeout_that_is_being_carried_out() {
    // It ignores SIGTERM, so there is time between the two.
    let task = resist::options().retries(3).submit(Stubborn::IgnoreTerm);
    assert!(eventually(|| task.is_running()));
    std::thread::sleep(SHORT + Duration::from_millis(50));
    task.kill();
    let result = task.join();
    assert!(matches!(result, Err(TaskError::Cancelled)), "{result:?}");
}

#[test]
fn tasks_that_timed_out_unseen_do_not_hold_up_a_thread_pool() {
    let pool = ThreadPool::new(2);
    #[parallel]
    fn nap(milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }
    let late: Vec<_> = (0..4).map(|_| nap::on(&pool).timeout(Duration::from_millis(5)).submit(50)).collect();
    std::thread::sleep(Duration::from_millis(20));
    for _ in 0..300 {
        nap::on(&pool).submit(0).join().unwrap();
    }
    assert!(late.into_iter().all(|task| matches!(task.join(), Err(TaskError::TimedOut { .. }))));
}

#[test]
fn a_limit_that_never_ends_is_none() {
    #[parallel(pool = 2)]
    fn on_thread(x: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(20));
        x
    }
    #[parallel(mode = "process", pool = 2)]
    fn in_process(x: u64) -> u64 {
        x
    }
    assert_eq!(on_thread::options().timeout(Duration::MAX).call(3), 3);
    assert_eq!(in_process::options().timeout(Duration::MAX).map([3, 4]), [3, 4]);
}

#[test]
fn a_limited_map_on_threads_can_be_cancelled() {
    static STARTED: AtomicU64 = AtomicU64::new(0);
    #[parallel(pool = 2, timeout = "60s")]
    fn nap(_: u64) {
        STARTED.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
    }
    let map = nap::map_async(0..1000);
    assert!(eventually(|| STARTED.load(Ordering::SeqCst) > 0));
    map.cancel();
    assert!(matches!(map.join(), Err(TaskError::Cancelled)));
    assert!(STARTED.load(Ordering::SeqCst) < 50);
}

#[test]
fn a_worker_that_is_stopped_while_it_is_idle_holds_nothing_up() {
    let pool = ProcessPool::new(1);
    pool.start().unwrap();
    let stopped = pool.worker_pids()[0];
    // SAFETY: kill has no preconditions; the process is a worker of ours.
    unsafe { libc::kill(stopped.cast_signed(), libc::SIGSTOP) };
    let stat = || std::fs::read_to_string(format!("/proc/{stopped}/stat")).unwrap();
    assert!(eventually(|| stat().contains(") T ")));
    assert_ne!(pid::on(&pool).call(1), stopped);
    assert!(!is_alive(stopped));
}

#[test]
fn a_pool_that_is_shut_down_finishes_the_maps_that_it_has_accepted() {
    #[parallel(mode = "process")]
    fn nap(milliseconds: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(milliseconds));
        milliseconds
    }
    let (processes, threads) = (ProcessPool::new(2), ThreadPool::new(2));
    let maps = [nap::on(&processes).map_async([5; 60]), nap::on(&threads).map_async([5; 60])];
    drop((processes, threads));
    for map in maps {
        assert_eq!(map.join().unwrap(), [5; 60]);
    }
    // One whose items shut the pool down is not waited for.
    let pool = ProcessPool::new(1);
    let results = nap::on(&pool).try_map((0..3).inspect(|item| {
        if *item == 2 {
            pool.shutdown();
        }
    }));
    assert_eq!(results.len(), 3);
    let pool = ProcessPool::new(2);
    std::thread::scope(|scope| {
        let results = scope.spawn(|| nap::on(&pool).chunk(1).map([5; 60]));
        assert!(eventually(|| pool.stats().submitted > 5));
        pool.shutdown();
        assert_eq!(results.join().unwrap(), [5; 60]);
    });
}

#[test]
fn a_thread_pool_that_is_killed_cancels_what_has_not_started() {
    #[parallel]
    fn nap(milliseconds: u64) -> u64 {
        std::thread::sleep(Duration::from_millis(milliseconds));
        milliseconds
    }
    let pool = ThreadPool::new(2);
    std::thread::scope(|scope| {
        let results = scope.spawn(|| nap::on(&pool).try_map([20; 200]));
        assert!(eventually(|| pool.stats().submitted > 0));
        std::thread::sleep(Duration::from_millis(60));
        pool.kill();
        let results = results.join().unwrap();
        assert!(results.iter().any(Result::is_ok));
        assert!(results.iter().any(|result| matches!(result, Err(TaskError::Cancelled))));
    });
}

#[test]
fn what_a_task_has_started_ends_with_its_time_limit() {
    #[parallel(mode = "process", pool = 1)]
    fn convert(note: &str) -> bool {
        let mut child = std::process::Command::new("sleep").arg("3600").spawn().expect("it can be started");
        std::fs::write(note, child.id().to_string()).expect("it can be written");
        child.wait().is_ok()
    }

    let note = parallel_workspace::scratch("started").with_extension("pid");
    let limited = convert::options().timeout(Duration::from_millis(500));
    assert!(matches!(limited.submit(note.to_str().unwrap().to_owned()).join(), Err(TaskError::TimedOut { .. })));
    let pid = std::fs::read_to_string(&note).unwrap().parse().unwrap();
    assert!(parallel_workspace::eventually(|| !parallel_workspace::is_alive(pid)));
    std::fs::remove_file(note).unwrap();
}
