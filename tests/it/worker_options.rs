//! `init`, `max_tasks_per_worker`, and workers that cannot start.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parallel_runtime::{PoolError, ProcessPool, TaskError, ThreadPool, parallel};
use parallel_workspace::{eventually, is_alive};

static PREPARED: AtomicU32 = AtomicU32::new(0);

fn prepare() {
    PREPARED.fetch_add(1, Ordering::SeqCst);
}

#[parallel(mode = "process", pool = 2, init = prepare)]
fn prepared_in_process(_: u32) -> (u32, u32) {
    (std::process::id(), PREPARED.load(Ordering::SeqCst))
}

#[test]
fn init_runs_once_in_each_process_before_its_first_task() {
    for (pid, count) in prepared_in_process::map(0..200) {
        assert_ne!(pid, std::process::id());
        assert_eq!(count, 1);
    }
    assert_eq!(prepared_in_process::spawn(1).join().unwrap().1, 1);
}

#[test]
fn init_runs_once_on_each_thread_of_a_pool() {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static HERE: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    }
    fn count() {
        HERE.set(HERE.get() + 1);
        COUNT.fetch_add(1, Ordering::SeqCst);
    }
    #[parallel(pool = 3, init = count)]
    fn here(_: u32) -> u32 {
        HERE.get()
    }
    assert_eq!(here(0), 1, "a plain call runs on a thread that is prepared");
    assert!(here::map(0..100).iter().all(|count| *count == 1));
    assert_eq!(here::submit(1).join().unwrap(), 1);
    assert!((1..=3).contains(&COUNT.load(Ordering::SeqCst)));
    assert_eq!(HERE.get(), 0, "and not on the caller's");
}

fn refuse() {
    panic!("no licence");
}

#[parallel(mode = "process", pool = 2, init = refuse)]
fn never_in_process(x: u32) -> u32 {
    x
}

#[parallel(pool = 2, init = refuse)]
fn never_on_thread(x: u32) -> u32 {
    x
}

#[test]
fn an_init_that_panics_is_the_error_of_every_task() {
    let spawn = |error: &TaskError| match error {
        TaskError::Spawn(error) => error.to_string().contains("`init` panicked at tests/it/worker_options.rs"),
        _ => false,
    };
    let begun = Instant::now();
    for error in [
        never_in_process::submit(1).join().unwrap_err(),
        never_on_thread::submit(1).join().unwrap_err(),
        never_in_process::map_async([1, 2]).join().unwrap_err(),
        never_on_thread::map_async([1, 2]).join().unwrap_err(),
    ] {
        assert!(spawn(&error) && error.to_string().contains("no licence"), "{error}");
    }
    assert!(never_in_process::try_map(0..10).iter().all(Result::is_err));
    assert!(never_on_thread::try_map(0..10).iter().all(Result::is_err));
    assert!(std::panic::catch_unwind(|| never_in_process(1)).is_err());
    assert!(std::panic::catch_unwind(|| never_on_thread(1)).is_err());
    let pool = ProcessPool::new(2).init(refuse);
    match pool.start() {
        Err(PoolError::Spawn(error)) => assert!(error.to_string().contains("no licence"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
}

fn die_at_once() {
    std::process::exit(7);
}

#[test]
fn workers_that_die_at_their_start_do_not_spin() {
    let pool = ProcessPool::new(2).init(die_at_once);
    let error = answer::on(&pool).submit(1).join().unwrap_err();
    assert!(error.to_string().contains("exited with code 7"), "{error}");
    // With nothing to do, nothing is started; with something to do, once a pause.
    let deaths = pool.stats().worker_deaths;
    let begun = Instant::now();
    let mut errors = 0;
    while begun.elapsed() < Duration::from_millis(500) {
        errors += u64::from(answer::on(&pool).submit(1).join().is_err());
    }
    let died = pool.stats().worker_deaths - deaths;
    assert!(errors > 0 && died < 40, "{died} workers died for {errors} tasks in half a second");
}

#[parallel(mode = "process", pool = 2)]
fn answer(x: u32) -> (u32, u32) {
    (x, std::process::id())
}

#[test]
fn a_worker_that_dies_without_a_task_is_replaced() {
    let pool = ProcessPool::new(2);
    pool.start().unwrap();
    let pids = pool.worker_pids();
    for pid in &pids {
        // SAFETY: kill has no preconditions; the process is a worker of ours.
        unsafe { libc::kill(pid.cast_signed(), libc::SIGTERM) };
    }
    assert!(eventually(|| pids.iter().all(|pid| !is_alive(*pid))));
    assert_eq!(answer::on(&pool).map(0..100).len(), 100);
}

#[test]
fn a_worker_is_replaced_after_its_number_of_tasks() {
    #[parallel(mode = "process", pool = 2, max_tasks_per_worker = 10)]
    fn pid(_: u32) -> u32 {
        std::process::id()
    }
    let mut tasks: BTreeMap<u32, u32> = BTreeMap::new();
    let one_by_one = (0..100).map(|x| pid::submit(x).join().unwrap());
    let at_once: Vec<_> = (0..100).map(pid::submit).collect();
    for pid in at_once.into_iter().map(|task| task.join().unwrap()).chain(one_by_one) {
        *tasks.entry(pid).or_default() += 1;
    }
    // The items of a message count one by one.
    for pid in pid::options().chunk(7).map(0..100).into_iter().chain(pid::map(0..100)) {
        *tasks.entry(pid).or_default() += 1;
    }
    assert_eq!(tasks.values().sum::<u32>(), 400);
    assert!(tasks.values().all(|count| *count <= 10), "{tasks:?}");
    assert!(tasks.len() >= 40);
}

#[test]
fn a_replaced_worker_is_no_death() {
    static POOL: ProcessPool = ProcessPool::new(1).max_tasks_per_worker(1);
    #[parallel(mode = "process", pool = POOL)]
    fn add(x: u32) -> u32 {
        x + 1
    }
    assert_eq!(add::map(0..20), (1..21).collect::<Vec<_>>());
    assert!(eventually(|| POOL.stats().replaced == 20));
    assert_eq!(POOL.stats().worker_deaths, 0);
}

#[test]
fn threads_take_the_options_of_calls() {
    static POOL: ThreadPool = ThreadPool::new(2).chunk(5).timeout(Duration::from_secs(60)).init(prepare_thread);
    fn prepare_thread() {}
    #[parallel(pool = POOL)]
    fn double(x: u32) -> u32 {
        2 * x
    }
    assert_eq!(double::map(0..100), (0..100).map(|x| 2 * x).collect::<Vec<_>>());
    assert_eq!(double(4), 8);
}

#[test]
fn where_calls_run_in_place_a_failing_init_is_an_error_too() {
    #[parallel(mode = "process", pool = 1, init = refuse)]
    fn refused(x: u32) -> u32 {
        x
    }
    #[parallel(mode = "process", pool = 1)]
    fn in_a_worker() -> Vec<bool> {
        let spawn = |result: Result<u32, TaskError>| matches!(result, Err(TaskError::Spawn(_)));
        let mut results = vec![spawn(refused::submit(1).join()), spawn(refused::spawn(1).join())];
        results.extend(refused::try_map([1, 2]).into_iter().map(spawn));
        results
    }
    assert_eq!(in_a_worker(), [true; 4]);
}
