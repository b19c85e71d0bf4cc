//! Pools of threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use parallel_runtime::{Task, TaskError, ThreadPool, parallel};

static RUNNING: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

fn alone() -> bool {
    let now = RUNNING.fetch_add(1, Ordering::SeqCst) + 1;
    MOST.fetch_max(now, Ordering::SeqCst);
    std::thread::sleep(Duration::from_micros(200));
    RUNNING.fetch_sub(1, Ordering::SeqCst);
    now == 1
}

static ONE: ThreadPool = ThreadPool::new(1);

#[parallel(pool = ONE)]
fn exclusive(_: u32) -> bool {
    alone()
}

#[parallel(pool = ONE)]
fn exclusive_nested(depth: u32) -> bool {
    alone() && (depth == 0 || exclusive_nested(depth - 1) && exclusive::map([1, 2]).iter().all(|alone| *alone))
}

#[test]
fn a_pool_of_one_never_runs_two_tasks_at_a_time() {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for x in 0..20 {
                    assert!(exclusive(x));
                    assert!(exclusive::submit(x).join().unwrap());
                    assert!(exclusive::map(0..4).iter().all(|alone| *alone));
                    assert!(exclusive_nested(2));
                    assert!(exclusive::map_async(0..2).join().unwrap().iter().all(|alone| *alone));
                }
            });
        }
    });
    assert_eq!(MOST.load(Ordering::SeqCst), 1);
}

#[test]
fn a_pool_of_three_runs_at_most_three_at_a_time() {
    static NOW: AtomicUsize = AtomicUsize::new(0);
    static PEAK: AtomicUsize = AtomicUsize::new(0);
    #[parallel(pool = 3)]
    fn counted(_: u32) {
        PEAK.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(1));
        NOW.fetch_sub(1, Ordering::SeqCst);
    }
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for x in 0..10 {
                    counted(x);
                    counted::map(0..5);
                }
            });
        }
    });
    let peak = PEAK.load(Ordering::SeqCst);
    assert!((2..=3).contains(&peak), "{peak}");
}

#[test]
fn two_pools_call_each_other() {
    #[parallel(pool = 2)]
    fn ping(n: u32) -> u32 {
        if n == 0 { 0 } else { pong(n - 1) + pong::map([n - 1]).len() as u32 }
    }
    #[parallel(pool = 3)]
    fn pong(n: u32) -> u32 {
        if n == 0 { 0 } else { ping(n - 1) + 1 }
    }
    assert_eq!(ping(6), 6);
    assert_eq!(ping::map([4, 4]), [4, 4]);
}

#[test]
fn a_rayon_pool_of_the_users_calls_ours() {
    use rayon::prelude::*;
    #[parallel(pool = 2)]
    fn square(x: u64) -> u64 {
        x * x
    }
    let sum: u64 = (0..100_u64).into_par_iter().map(|x| square(x) + square::map([x, x])[1]).sum();
    assert_eq!(sum, 2 * (0..100_u64).map(|x| x * x).sum::<u64>());
}

#[test]
fn results_may_borrow_from_the_arguments() {
    #[parallel(pool = 2)]
    fn longest<'w>(words: &'w [String], prefix: &str) -> &'w str {
        words.iter().filter(|word| word.starts_with(prefix)).max_by_key(|word| word.len()).map_or("", |word| word)
    }
    let words = ["ab".to_owned(), "abc".to_owned(), "b".to_owned()];
    assert_eq!(longest(&words, "a"), "abc");
    assert_eq!(longest::map([(&words[..], "a"), (&words[..], "b")]), ["abc", "b"]);
}

#[test]
fn shutdown_runs_out_what_is_queued() {
    let pool = ThreadPool::new(1);
    let tasks: Vec<_> = (0..20).map(|x| slow::on(&pool).submit(x)).collect();
    pool.shutdown();
    assert!(tasks.iter().all(|task| task.is_finished()));
    assert!(matches!(slow::on(&pool).submit(1).join(), Err(TaskError::PoolClosed)));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| slow::on(&pool).call(1))).is_err());
}

#[test]
fn kill_cancels_what_has_not_started() {
    let pool = ThreadPool::new(1);
    let tasks: Vec<_> = (0..20).map(|_| slow::on(&pool).submit(20)).collect();
    pool.kill();
    let results: Vec<_> = tasks.into_iter().map(|task| task.join()).collect();
    let cancelled = results.iter().filter(|result| matches!(result, Err(TaskError::Cancelled))).count();
    assert!(cancelled >= 18, "{cancelled}");
}

#[parallel]
fn slow(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

/// The first task waits until it is let go of, and has begun. Its thread has taken some of the others with it, which were in the queue by then.
fn behind_one_that_waits(
    pool: &ThreadPool,
    threads: usize,
    count: u64,
) -> (mpsc::Sender<()>, Task<u64>, Vec<Task<u64>>) {
    let ((go_on, waits), (tell, told)) = (mpsc::channel(), mpsc::channel());
    *GATE.lock().unwrap() = Some((tell, waits));
    HELD.store(true, Ordering::SeqCst);
    let held: Vec<_> = (0..threads).map(|_| hold::on(pool).submit(())).collect();
    assert!(parallel_workspace::eventually(|| held.iter().all(Task::is_running)));
    let first = gated::on(pool).submit(0);
    let others = (1..count).map(|x| gated::on(pool).submit(x)).collect();
    HELD.store(false, Ordering::SeqCst);
    told.recv().unwrap();
    (go_on, first, others)
}

static HELD: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

#[parallel]
fn hold() {
    assert!(parallel_workspace::eventually(|| !HELD.load(Ordering::SeqCst)));
}

/// To be used by one test at a time.
static GATE: Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>> = Mutex::new(None);

#[parallel]
fn gated(x: u64) -> u64 {
    if x == 0
        && let Some((tell, waits)) = GATE.lock().unwrap().take()
    {
        tell.send(()).unwrap();
        let _ = waits.recv();
    }
    x
}

#[parallel]
fn joins(x: u64) -> u64 {
    // In a chain: each waits for one that was submitted after all that are queued.
    if x == 0 { 0 } else { 1 + joins::on(&CHAIN).submit(x - 1).join().unwrap() }
}

static CHAIN: ThreadPool = ThreadPool::new(2);

#[test]
fn what_a_thread_has_taken_and_not_begun_waits_for_no_task_of_its() {
    // Two threads: one task waits on something that is not of this library's, all others run on the other thread.
    let pool = ThreadPool::new(2);
    for _ in 0..20 {
        let (go_on, first, others) = behind_one_that_waits(&pool, 2, 300);
        for (x, task) in (1..).zip(others) {
            assert_eq!(task.join().unwrap(), x);
        }
        assert!(!first.is_finished());
        drop(go_on);
        assert_eq!(first.join().unwrap(), 0);
    }
    // One thread: all of them can be cancelled, or end with the pool.
    let pool = ThreadPool::new(1);
    let (go_on, first, others) = behind_one_that_waits(&pool, 1, 300);
    let (cancelled, left): (Vec<_>, Vec<_>) = others.into_iter().partition(|task| task.id() % 2 == 0 && task.cancel());
    assert!(cancelled.len() >= 149);
    drop(go_on);
    assert_eq!(first.join().unwrap(), 0);
    left.into_iter().for_each(|task| assert!(task.join().unwrap() > 0));
    for task in cancelled {
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    }
    let (go_on, first, others) = behind_one_that_waits(&pool, 1, 300);
    pool.kill();
    for task in others {
        assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    }
    drop(go_on);
    assert_eq!(first.join().unwrap(), 0);
    // Tasks that wait for tasks behind those that their threads have taken.
    let chains: Vec<_> = (0..200).map(|x| joins::on(&CHAIN).submit(x % 7)).collect();
    for (x, chain) in chains.into_iter().enumerate() {
        assert_eq!(chain.join().unwrap(), x as u64 % 7);
    }
    let stats = CHAIN.stats();
    assert_eq!((stats.submitted, stats.done, stats.running, stats.queued), (stats.done, stats.submitted, 0, 0));
}

static SINGLE: ThreadPool = ThreadPool::new(1);
static OTHER: ThreadPool = ThreadPool::new(1);
static TARGET: Mutex<Option<Task<u64>>> = Mutex::new(None);

#[parallel(pool = OTHER)]
fn waits_for_the_target() -> u64 {
    let target = TARGET.lock().unwrap().take().unwrap();
    target.join().unwrap()
}

#[parallel(pool = SINGLE)]
fn in_a_row(x: u64) -> u64 {
    match x {
        0 => {
            assert!(parallel_workspace::eventually(|| TARGET.lock().unwrap().is_some()));
            0
        }
        1 => waits_for_the_target::submit().join().unwrap(),
        x => x,
    }
}

#[test]
fn a_task_that_waits_holds_up_none_that_its_thread_has_taken() {
    // The thread takes the second and the others at once, and the second waits for the tenth, by way of another pool.
    let mut tasks: Vec<_> = (0..10).map(in_a_row::submit).collect();
    *TARGET.lock().unwrap() = Some(in_a_row::submit(10));
    tasks.extend((11..50).map(in_a_row::submit));
    let results: Vec<u64> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
    assert_eq!(results[..3], [0, 10, 2]);
}

/// Channels between tasks, by which they wait in a way that the pool does not see.
type Line = Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>;
static LINE: Line = Mutex::new(None);
static JOINED: Mutex<Option<Task<u64>>> = Mutex::new(None);
static TWO: ThreadPool = ThreadPool::new(2);

#[parallel(pool = TWO)]
fn on_the_line(x: u64) -> u64 {
    match x {
        0 => {
            let (tell, waits) = LINE.lock().unwrap().take().unwrap();
            *LINE.lock().unwrap() = Some((tell, mpsc::channel().1));
            waits.recv().unwrap();
        }
        1 => {
            let there = || LINE.lock().unwrap().as_ref().is_some_and(|(tell, _)| tell.send(()).is_ok());
            assert!(parallel_workspace::eventually(there));
        }
        2 => {
            let first = || JOINED.lock().unwrap().take();
            let mut task = None;
            assert!(parallel_workspace::eventually(|| {
                task = first();
                task.is_some()
            }));
            return task.unwrap().join().unwrap();
        }
        _ => {}
    }
    x
}

#[test]
fn where_both_threads_wait_what_one_has_taken_is_run_by_a_third() {
    HOLD_TWO.store(true, Ordering::SeqCst);
    let held = [hold_two::submit(), hold_two::submit()];
    assert!(parallel_workspace::eventually(|| held.iter().all(Task::is_running)));
    *LINE.lock().unwrap() = Some(mpsc::channel());
    // The first takes the second with it, and waits for it; the last waits for the first.
    let tasks = [0, 1, 3, 4, 2].map(on_the_line::submit);
    let [first, rest @ ..] = tasks;
    *JOINED.lock().unwrap() = Some(first);
    HOLD_TWO.store(false, Ordering::SeqCst);
    assert_eq!(rest.map(|task| task.join().unwrap()), [1, 3, 4, 0]);
}

static HOLD_TWO: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

#[parallel(pool = TWO)]
fn hold_two() {
    assert!(parallel_workspace::eventually(|| !HOLD_TWO.load(Ordering::SeqCst)));
}

fn nothing() {}

static PREPARED: ThreadPool = ThreadPool::new(1).init(nothing);
static HOLD_PREPARED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

#[parallel(pool = PREPARED)]
fn until_let_go() {
    assert!(parallel_workspace::eventually(|| !HOLD_PREPARED.load(Ordering::SeqCst)));
}

#[parallel(pool = PREPARED)]
fn echo(x: u64) -> u64 {
    x
}

#[test]
fn a_call_returns_when_it_has_ended_and_not_with_what_its_thread_has_taken() {
    HOLD_PREPARED.store(true, Ordering::SeqCst);
    let held = until_let_go::submit();
    assert!(parallel_workspace::eventually(|| held.is_running()));
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let calls = scope.spawn(move || {
            let result = echo(7);
            tell.send(()).unwrap();
            result
        });
        assert!(parallel_workspace::eventually(|| PREPARED.stats().submitted >= 2));
        *TOLD.lock().unwrap() = Some(told);
        let others = [waits_to_be_told::submit(), waits_to_be_told::submit()];
        HOLD_PREPARED.store(false, Ordering::SeqCst);
        assert_eq!(calls.join().unwrap(), 7);
        others.into_iter().for_each(|task| task.join().unwrap());
    });
}

static TOLD: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);

#[parallel(pool = PREPARED)]
fn waits_to_be_told() {
    let told = TOLD.lock().unwrap().take();
    if let Some(told) = told {
        told.recv_timeout(Duration::from_secs(60)).unwrap();
    }
}

#[test]
fn a_spawned_thread_is_outside_every_pool() {
    let names: Vec<_> = (0..4).map(|_| thread_name::spawn()).collect();
    for name in names {
        assert_eq!(name.pid(), None);
        assert!(!name.kill(), "a thread cannot be killed");
        assert_eq!(name.join().unwrap(), "thread_name");
    }
}

#[parallel(pool = 1)]
fn thread_name() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

#[test]
fn after_a_panic_in_a_map_values_are_dropped_once() {
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, Ordering::SeqCst);
        }
    }
    #[parallel(pool = 2)]
    fn make(x: u32) -> Counted {
        assert!(x != 700, "no");
        ALIVE.fetch_add(1, Ordering::SeqCst);
        Counted
    }
    assert!(std::panic::catch_unwind(|| make::map(0..1000)).is_err());
    assert_eq!(ALIVE.load(Ordering::SeqCst), 0);
    assert_eq!(make::map(0..100).len(), 100);
    assert_eq!(ALIVE.load(Ordering::SeqCst), 0);
}

#[test]
fn stats_count_what_happened() {
    let pool = ThreadPool::new(2);
    slow::on(&pool).call(0);
    slow::on(&pool).map([0, 0]);
    let stats = pool.stats();
    assert_eq!((stats.submitted, stats.finished, stats.queued), (2, 2, 0));
    assert_eq!(pool.workers(), 2);
    let written = serde_json::to_value(&stats).unwrap();
    assert_eq!((&written["done"], &written["workers"]), (&2.into(), &2.into()));
    assert!(written["ran"]["median"].is_object() && written["load"].as_array().is_some_and(|load| load.len() == 1));
}

#[test]
fn every_item_runs_once_however_large_a_chunk_is() {
    #[parallel(pool = 2)]
    fn first(values: Vec<usize>) -> usize {
        values[0]
    }
    fn init() {}
    let prepared = ThreadPool::new(2).init(init);
    for chunk in [1, 3, usize::MAX / 2, usize::MAX / 2 + 1, usize::MAX] {
        let results = first::on(&prepared).chunk(chunk).try_map((0..1000).map(|x| vec![x]));
        assert!(results.into_iter().map(Result::unwrap).eq(0..1000), "{chunk}");
        assert!(first::options().chunk(chunk).map((0..1000).map(|x| vec![x])).into_iter().eq(0..1000), "{chunk}");
    }
}
