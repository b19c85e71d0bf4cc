//! What workers keep between tasks: `state`, `#[worker]`, `state_with`.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parallel_runtime::{
    ParallelFn, ProcessPool, SharedSlice, SharedValue, SharedVec, TaskError, ThreadPool, parallel, shared,
};

/// Neither `Send` nor serialisable.
struct Counter {
    count: Rc<Cell<u64>>,
    thread: std::thread::ThreadId,
}

impl Counter {
    fn new() -> Self {
        MADE.update(|made| *made += 1);
        Self { count: Rc::default(), thread: std::thread::current().id() }
    }

    fn next(&self) -> u64 {
        assert_eq!(self.thread, std::thread::current().id(), "it stays where it was made");
        self.count.set(self.count.get() + 1);
        self.count.get()
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        assert_eq!(self.thread, std::thread::current().id());
        DROPPED.update(|dropped| *dropped += 1);
    }
}

/// How many counters were made and dropped, in all processes.
#[shared]
static MADE: SharedValue<u64> = SharedValue::new(0);
#[shared]
static DROPPED: SharedValue<u64> = SharedValue::new(0);

/// Tests that look at those counts take turns.
static COUNTS: Mutex<()> = Mutex::new(());

fn made_and_dropped(run: impl FnOnce()) -> (u64, u64) {
    let before = (MADE.get(), DROPPED.get());
    run();
    (MADE.get() - before.0, DROPPED.get() - before.1)
}

fn turn() -> std::sync::MutexGuard<'static, ()> {
    COUNTS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[parallel(mode = "process", state = Counter::new)]
fn count(#[worker] counter: &mut Counter, by: u64) -> (u64, u32) {
    (counter.next() * by, std::process::id())
}

#[parallel(state = Counter::new)]
fn count_on_thread(by: u64, #[worker] counter: &Counter) -> u64 {
    counter.next() * by
}

#[parallel(mode = "serial", state = Counter::new)]
fn count_here(#[worker] counter: &Counter) -> u64 {
    counter.next()
}

#[test]
fn a_process_makes_its_state_once_keeps_it_and_drops_it_at_the_end_of_the_pool() {
    let _turn = turn();
    let counts = made_and_dropped(|| {
        let pool = ProcessPool::new(1);
        let results = count::on(&pool).map([1, 10, 100]);
        assert_eq!(results.iter().map(|(count, _)| *count).collect::<Vec<_>>(), [1, 20, 300]);
        assert_eq!(count::on(&pool).call(1).0, 4);
        assert_eq!(count::on(&pool).submit(1).join().unwrap().0, 5);
        assert_eq!(count::on(&pool).imap([1]).next().unwrap().unwrap().0, 6);
        pool.shutdown();
    });
    assert_eq!(counts, (1, 1));
}

#[test]
fn a_thread_makes_its_state_once_keeps_it_and_drops_it_at_the_end_of_the_pool() {
    let _turn = turn();
    let counts = made_and_dropped(|| {
        let pool = ThreadPool::new(1);
        assert_eq!(count_on_thread::on(&pool).map([1, 10, 100]), [1, 20, 300]);
        assert_eq!(count_on_thread::on(&pool).call(1), 4);
        assert_eq!(count_on_thread::on(&pool).submit(1).join().unwrap(), 5);
        assert_eq!(count_on_thread::on(&pool).try_map([1, 1]).len(), 2);
        assert_eq!(count_on_thread::on(&pool).imap([1]).next().unwrap().unwrap(), 8);
        assert_eq!(count::on(&pool).call(1).0, 9, "functions with the same `state` share it");
        pool.shutdown();
    });
    assert_eq!(counts, (1, 1));
}

#[test]
fn each_worker_has_a_state_of_its_own() {
    let _turn = turn();
    let (made, dropped) = made_and_dropped(|| {
        let pool = ProcessPool::new(3);
        let results = count::on(&pool).chunk(1).map((0..300).map(|_| 1));
        let mut pids: Vec<_> = results.iter().map(|(_, pid)| *pid).collect();
        pids.sort_unstable();
        pids.dedup();
        for pid in pids {
            let mut counts: Vec<_> = results.iter().filter(|(_, of)| *of == pid).map(|(count, _)| *count).collect();
            counts.sort_unstable();
            assert_eq!(counts, (1..=counts.len() as u64).collect::<Vec<_>>());
        }
        drop(pool);
        let threads = ThreadPool::new(2);
        count_on_thread::on(&threads).map((0..100).map(|_| 1));
    });
    assert!((2..=5).contains(&made) && made == dropped, "{made} {dropped}");
}

#[test]
fn in_place_the_state_is_one_of_the_calling_thread() {
    let _turn = turn();
    let calls = || (count_here(), count_here::inline(), count_here::map([(), ()]));
    for _ in 0..2 {
        let counts = std::thread::spawn(calls).join().unwrap();
        assert_eq!(counts, (1, 2, vec![3, 4]));
    }
    assert_eq!(count::spawn(7).join().unwrap().0, 7, "a process of its own makes its own");
    assert_eq!(count_on_thread::spawn(7).join().unwrap(), 7);
}

#[test]
fn a_panic_costs_the_state_that_it_went_through() {
    #[parallel(mode = "process", state = Counter::new)]
    fn fragile(#[worker] counter: &mut Counter, panics: bool) -> u64 {
        let count = counter.next();
        assert!(!panics, "no");
        count
    }
    let _turn = turn();
    let counts = made_and_dropped(|| {
        let pool = ProcessPool::new(1);
        let call = |panics| fragile::on(&pool).submit(panics).join();
        assert_eq!((call(false).unwrap(), call(false).unwrap()), (1, 2));
        assert!(matches!(call(true), Err(TaskError::Panicked { .. })));
        assert_eq!(call(false).unwrap(), 1);
        drop(pool);
        let pool = ThreadPool::new(1);
        let results = fragile::on(&pool).try_map([false, false, true, false]);
        assert_eq!(results.into_iter().map(Result::ok).collect::<Vec<_>>(), [Some(1), Some(2), None, Some(1)]);
    });
    assert_eq!(counts, (4, 4));
}

#[test]
fn a_worker_that_is_replaced_drops_its_state_and_the_next_makes_its_own() {
    let _turn = turn();
    let counts = made_and_dropped(|| {
        let pool = ProcessPool::new(1).max_tasks_per_worker(2);
        let counts: Vec<_> = (0..6).map(|_| count::on(&pool).call(1).0).collect();
        assert_eq!(counts, [1, 2, 1, 2, 1, 2]);
        pool.shutdown();
    });
    assert_eq!(counts, (3, 3));
    #[parallel(mode = "process", retries = 1, state = Counter::new)]
    fn die_once(#[worker] counter: &mut Counter, file: String) -> u64 {
        if std::fs::remove_file(file).is_ok() {
            std::process::abort();
        }
        counter.next()
    }
    let file = std::env::temp_dir().join(format!("parallel-test-state-{}", std::process::id()));
    std::fs::write(&file, "").unwrap();
    let pool = ProcessPool::new(1);
    assert_eq!(die_once::on(&pool).call(file.to_string_lossy().into_owned()), 1);
}

#[test]
fn a_state_of_the_pool_is_made_of_its_configuration() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Config {
        factor: u64,
        table: SharedSlice<u64>,
    }
    struct Model {
        factor: u64,
        table: SharedSlice<u64>,
    }
    #[parallel(mode = "process")]
    fn predict(#[worker] model: &Model, index: usize) -> u64 {
        model.factor * model.table[index]
    }
    let config = |factor| Config { factor, table: SharedVec::from_slice(&[1, 2, 3]).share() };
    let make = |config: &Config| Model { factor: config.factor, table: config.table.clone() };
    let processes = ProcessPool::new(2).state_with(config(10), make);
    assert_eq!(predict::on(&processes).map(0..3), [10, 20, 30]);
    assert_eq!(predict::on(&processes).spawn(2).join().unwrap(), 30);
    let threads = ThreadPool::new(2).state_with(config(100), make);
    assert_eq!(predict::on(&threads).map(0..3), [100, 200, 300]);
    assert_eq!(predict::on(&threads).call(0), 100);

    for error in
        [predict::submit(0).join().unwrap_err(), predict::on(&ThreadPool::new(1)).submit(0).join().unwrap_err()]
    {
        let TaskError::NoState { function, expected, found, .. } = &error else { panic!("{error}") };
        assert_eq!((*function, found), (predict::NAME, &None));
        assert!(expected.ends_with("Model") && error.to_string().contains("state_with"), "{error}");
    }
    let other = ProcessPool::new(1).state_with(1_u8, |one: &u8| *one);
    let error = predict::on(&other).submit(0).join().unwrap_err();
    assert!(error.to_string().contains("keeps a `u8`"), "{error}");
    assert!(error.function().unwrap().ends_with("predict"));
}

#[test]
fn the_state_of_a_pool_goes_before_that_of_a_function() {
    #[parallel(mode = "process", state = u64::default)]
    fn get(#[worker] number: &u64) -> u64 {
        *number
    }
    let pool = ProcessPool::new(1).state_with(5_u64, |five: &u64| *five);
    assert_eq!((get(), get::on(&pool).call(())), (0, 5));
    let other = ProcessPool::new(1).state_with(5_u8, |five: &u8| *five);
    assert_eq!(get::on(&other).call(()), 0, "but only one of its type");
}

#[test]
fn a_configuration_that_does_not_cross_is_an_error() {
    struct Bad;
    impl serde::Serialize for Bad {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("not today"))
        }
    }
    impl<'de> serde::Deserialize<'de> for Bad {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            unreachable!("it is not sent")
        }
    }
    let pool = ProcessPool::new(1).state_with(Bad, |_: &Bad| Counter::new());
    let error = count::on(&pool).submit(1).join().unwrap_err();
    assert!(error.to_string().contains("state_with") && error.to_string().contains("not today"), "{error}");
}

fn refuse() -> Counter {
    panic!("no licence");
}

#[parallel(mode = "process", pool = 1, state = refuse)]
fn never(#[worker] _counter: &Counter) {}

#[parallel(mode = "process", state = refuse)]
fn never_on_others(#[worker] _counter: &Counter) {}

#[parallel(state = refuse)]
fn never_on_threads(#[worker] _counter: &Counter) {}

#[test]
fn a_state_that_panics_is_an_error_that_says_so() {
    let _turn = turn();
    let pool = ProcessPool::new(1);
    let tasks = [never::submit(), never_on_others::on(&pool).submit(()), never_on_threads::submit()];
    for task in tasks {
        let error = task.join().unwrap_err();
        assert!(matches!(error, TaskError::Spawn(_)), "{error}");
        let text = error.to_string();
        assert!(text.contains("`state`") && text.contains("no licence") && text.contains("state.rs"), "{text}");
    }
    assert_eq!(count::on(&pool).call(1).0, 1, "other functions of the pool go on");
    let caught = std::panic::catch_unwind(never_on_threads).unwrap_err();
    assert!(caught.downcast_ref::<String>().unwrap().contains("no licence"));
}

fn crash() -> Counter {
    std::process::abort()
}

#[test]
fn a_worker_that_dies_making_its_state_is_an_error_that_says_so() {
    #[parallel(mode = "process", pool = 1, state = crash)]
    fn default_pool(#[worker] _counter: &Counter) {}
    #[parallel(mode = "process", state = crash)]
    fn own_pool(#[worker] _counter: &Counter) {}
    let error = default_pool::submit().join().unwrap_err();
    assert!(matches!(error, TaskError::Spawn(_)) && error.to_string().contains("`state`"), "{error}");
    let error = own_pool::on(&ProcessPool::new(1)).submit(()).join().unwrap_err();
    let TaskError::WorkerDied { signal: Some(6), reason, .. } = &error else { panic!("{error}") };
    assert!(reason.contains("`state`"), "{reason}");
}

#[test]
fn making_a_state_is_not_the_time_of_a_task() {
    fn slowly() -> u64 {
        std::thread::sleep(Duration::from_millis(700));
        7
    }
    #[parallel(mode = "process", timeout = "250ms", state = slowly)]
    fn get(#[worker] seven: &u64, sleep: bool) -> u64 {
        if sleep {
            std::thread::sleep(Duration::from_secs(60));
        }
        *seven
    }
    let (process, thread) = (ProcessPool::new(1), ThreadPool::new(1));
    assert_eq!(get::on(&process).call(false), 7);
    assert_eq!(get::on(&thread).call(false), 7);
    let late = get::on(&process).submit(true).join();
    assert!(matches!(late, Err(TaskError::TimedOut { .. })), "{late:?}");
    assert_eq!(get::on(&process).call(false), 7);
}

#[cfg(not(parallel_portable))]
#[test]
fn what_a_state_takes_is_not_the_memory_of_tasks() {
    struct Big(Vec<u8>);
    fn big() -> Big {
        Big(vec![1; 150 << 20])
    }
    #[parallel(mode = "process", state = big)]
    fn pid(#[worker] big: &Big) -> (u32, u8) {
        (std::process::id(), big.0[1000])
    }
    let pool = ProcessPool::new(1).memory_limit(256 << 20);
    let (first, _) = pid::on(&pool).call(());
    for _ in 0..10 {
        assert_eq!(pid::on(&pool).call(()), (first, 1), "the worker is not replaced for it");
    }
}

#[test]
fn the_state_of_an_async_fn_is_shared_by_its_bodies() {
    struct Shared {
        begun: AtomicU64,
    }
    fn make() -> Shared {
        Shared { begun: AtomicU64::new(0) }
    }
    async fn pause() {
        let mut first = true;
        std::future::poll_fn(|context| {
            if std::mem::take(&mut first) {
                context.waker().wake_by_ref();
                return std::task::Poll::Pending;
            }
            std::task::Poll::Ready(())
        })
        .await;
    }
    #[parallel(mode = "process", pool = 1, state = make)]
    async fn next(#[worker] shared: &Shared, step: u64) -> u64 {
        let number = shared.begun.fetch_add(step, Ordering::Relaxed);
        pause().await;
        number
    }
    let mut numbers = next::map((0..20).map(|_| 2));
    numbers.sort_unstable();
    assert_eq!(numbers, (0..20).map(|number| 2 * number).collect::<Vec<_>>());
    let pool = ThreadPool::new(1);
    let mut numbers = next::on(&pool).map((0..20).map(|_| 2));
    numbers.sort_unstable();
    assert_eq!(numbers.last(), Some(&38));
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Document(u64);

#[parallel]
impl Document {
    fn cache() -> Vec<u64> {
        Vec::new()
    }

    #[parallel(mode = "process", pool = 1, state = Self::cache)]
    fn seen(&self, page: u64, #[worker] pages: &mut Vec<u64>) -> usize {
        pages.push(self.0 * page);
        pages.len()
    }
}

#[test]
fn methods_have_a_state_too() {
    assert_eq!([Document(1).seen(1), Document(2).seen(2)], [1, 2]);
    assert_eq!(Document_seen::map([(&Document(3), 3)]), [3]);
}

#[test]
fn borrowed_arguments_stand_beside_a_state() {
    #[parallel(mode = "process", pool = 1, state = String::new)]
    fn longest<'a>(#[worker] longest: &mut String, words: &'a [String], lengths: &mut [u32]) -> String {
        for (word, length) in words.iter().zip(lengths) {
            *length = word.len() as u32;
            if word.len() > longest.len() {
                longest.clone_from(word);
            }
        }
        longest.clone()
    }
    let mut lengths = [0; 2];
    assert_eq!(longest(&["a".to_owned(), "abc".to_owned()], &mut lengths), "abc");
    assert_eq!(longest(&["ab".to_owned()], &mut lengths), "abc");
    assert_eq!(lengths, [2, 3]);
}

#[test]
fn a_call_inside_a_task_finds_the_state_in_use() {
    static DEPTH: AtomicU32 = AtomicU32::new(0);
    #[parallel(pool = 1, state = u64::default)]
    fn outer(#[worker] number: &mut u64) -> u64 {
        *number += 1;
        if DEPTH.fetch_add(1, Ordering::Relaxed) == 0 { outer() } else { *number }
    }
    let error = outer::submit().join().unwrap_err();
    assert!(error.to_string().contains("in use by the task that makes this call"), "{error}");
}

#[cfg(not(parallel_portable))]
mod confined {
    use parallel_runtime::Sandbox;

    use super::*;

    fn open() -> std::fs::File {
        std::fs::File::open("/proc/self/status").expect("the sandbox is still open")
    }

    #[parallel(mode = "process", pool = 1, sandbox = "strict", state = open)]
    fn read(#[worker] file: &std::fs::File) -> bool {
        file.metadata().is_ok() && std::fs::File::open("/proc/self/status").is_err()
    }

    #[parallel(mode = "process", state = open)]
    fn read_on(#[worker] file: &std::fs::File) -> bool {
        file.metadata().is_ok() && std::fs::File::open("/proc/self/status").is_err()
    }

    #[parallel(mode = "process")]
    fn read_of_pool(#[worker] file: &std::fs::File) -> bool {
        file.metadata().is_ok() && std::fs::File::open("/proc/self/status").is_err()
    }

    #[test]
    fn a_state_is_made_before_the_sandbox_closes() {
        if let Err(error) = ProcessPool::new(1).sandbox(Sandbox::strict()).start() {
            eprintln!("skipped: {error}");
            return;
        }
        assert!(read());
        let pool = ProcessPool::new(1).sandbox(Sandbox::strict());
        assert!(read_on::on(&pool).call(()));
        let pool = ProcessPool::new(1).sandbox(Sandbox::strict()).state_with((), |()| open());
        assert!(read_of_pool::on(&pool).call(()));
    }
}

#[test]
fn a_pool_of_threads_is_shut_down_behind_a_task_that_has_timed_out() {
    use std::sync::mpsc::{Receiver, channel};
    static GO_ON: Mutex<Option<Receiver<()>>> = Mutex::new(None);
    #[parallel(state = u64::default)]
    fn stuck(#[worker] _number: &mut u64) {
        let go_on = GO_ON.lock().unwrap().take().unwrap();
        let _ = go_on.recv();
    }
    let (tell, told) = channel();
    *GO_ON.lock().unwrap() = Some(told);
    let pool = ThreadPool::new(1).timeout(Duration::from_millis(50));
    assert!(matches!(stuck::on(&pool).submit(()).join(), Err(TaskError::TimedOut { .. })));
    pool.shutdown();
    drop(tell);
}

#[test]
fn a_task_that_is_joined_inside_another_has_a_state_of_its_own() {
    static POOL: ThreadPool = ThreadPool::new(1);
    #[parallel(pool = POOL, state = u64::default)]
    fn nested(#[worker] number: &mut u64, left: u32) -> u64 {
        *number += 1;
        if left == 0 { *number } else { nested::submit(left - 1).join().unwrap() }
    }
    for _ in 0..10 {
        assert!(nested::submit(1).join().unwrap() >= 1);
    }
}

#[test]
fn a_function_does_not_see_the_state_of_the_pool_from_which_it_is_called() {
    #[parallel(mode = "process", state = u64::default)]
    fn inner(#[worker] number: &u64) -> u64 {
        *number
    }
    #[parallel(mode = "process")]
    fn outer(#[worker] number: &u64) -> (u64, u64) {
        (*number, inner::on(&ProcessPool::new(1)).call(()))
    }
    let pool = ProcessPool::new(1).state_with(5_u64, |five: &u64| *five);
    assert_eq!(outer::on(&pool).call(()), (5, 0));
    #[parallel]
    fn outer_on_thread(#[worker] number: &u64) -> (u64, u64) {
        (*number, inner::on(&ThreadPool::new(1)).call(()))
    }
    let pool = ThreadPool::new(1).state_with(5_u64, |five: &u64| *five);
    assert_eq!(outer_on_thread::on(&pool).call(()), (5, 0));
}
