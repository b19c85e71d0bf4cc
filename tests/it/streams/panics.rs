//! User values, wakers and iterators that panic.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use parallel_runtime::{ProcessPool, Scope, TaskError, ThreadPool, parallel, scope};

use super::poll_once;

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("a destructor panics on purpose");
        }
    }
}

#[derive(serde::Serialize)]
struct Unreadable(u32);

impl<'de> serde::Deserialize<'de> for Unreadable {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic!("its `Deserialize` panics on purpose");
    }
}

#[parallel(pool = 2)]
fn bomb() -> Bomb {
    Bomb
}

#[parallel(pool = 2)]
fn nothing() {}

#[parallel(pool = 2)]
fn write_late(numbers: &mut [u64]) {
    std::thread::sleep(Duration::from_millis(100));
    numbers.fill(1);
}

#[parallel(mode = "process", pool = 2)]
fn unreadable() -> Unreadable {
    Unreadable(1)
}

/// Has a scope forget something beside a task that writes late. Whether it panicked, and what was written by then.
fn beside_a_late_write(forget: impl for<'scope, 'env> FnOnce(&'scope Scope<'scope, 'env>)) -> (bool, [u64; 4]) {
    let mut numbers = [0; 4];
    let ended = catch_unwind(AssertUnwindSafe(|| {
        scope(|s| {
            forget(s);
            let _ = write_late::scoped(s, &mut numbers);
        });
    }));
    (ended.is_err(), numbers)
}

#[test]
fn a_scope_waits_for_all_although_a_result_panics_when_it_is_dropped_or_read() {
    assert_eq!(beside_a_late_write(|s| _ = bomb::scoped(s)), (true, [1; 4]));
    assert_eq!(beside_a_late_write(|s| _ = unreadable::scoped(s)), (true, [1; 4]));
}

#[test]
fn a_scope_of_many_tasks_waits_for_all_although_one_that_it_forgets_panics() {
    let mut numbers = [0; 4];
    let mut lent = Some(&mut numbers[..]);
    let _ = catch_unwind(AssertUnwindSafe(|| {
        scope(|s| {
            let first = bomb::scoped(s);
            for _ in 0..63 {
                nothing::scoped(s).join().unwrap();
            }
            while !first.is_finished() {
                std::thread::yield_now();
            }
            drop(first);
            // The list of the scope is weeded with this one.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(write_late::scoped(s, lent.take().unwrap()))));
        });
    }));
    assert_eq!(numbers, [1; 4]);
}

#[test]
fn a_task_whose_argument_panics_when_it_is_dropped_is_cancelled() {
    static ONE: ThreadPool = ThreadPool::new(1);
    #[parallel(pool = ONE)]
    fn take(_: Bomb) {}
    #[parallel(pool = ONE)]
    fn hold(gate: Receiver<()>) {
        let _ = gate.recv();
    }
    let (open, gate) = channel();
    let before = hold::submit(gate);
    let task = take::submit(Bomb);
    assert!(task.cancel());
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    drop(open);
    before.join().unwrap();
}

#[test]
fn what_panics_when_it_is_dropped_on_a_thread_of_the_pool_does_no_harm() {
    #[parallel(pool = 2)]
    fn panic_with_bomb() {
        panic_any(Bomb);
    }
    #[parallel(pool = 2)]
    fn bomb_later(gate: Receiver<()>) -> Bomb {
        let _ = gate.recv();
        Bomb
    }
    let (open, gate) = channel();
    drop(bomb_later::submit(gate));
    drop(open);
    let error = panic_with_bomb::submit().join().unwrap_err();
    assert!(matches!(error, TaskError::Panicked { .. }), "{error}");
    assert!(nothing::submit().join().is_ok());
}

#[parallel(mode = "process")]
fn end(milliseconds: u64, by_death: bool) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    if by_death {
        std::process::abort();
    }
    milliseconds
}

#[test]
fn wakers_may_panic_and_may_call_pools() {
    let pool = ProcessPool::new(1);
    let mut task = end::on(&pool).submit((50, false));
    poll_once(&mut task, || panic_any(Bomb));
    assert_eq!(task.join().unwrap(), 50);
    let (sender, receiver) = channel();
    end::on(&pool).submit((20, false)).on_done(move || sender.send(()).unwrap());
    receiver.recv().unwrap();

    // The thread that finds a death starts workers, too.
    static FRESH: ProcessPool = ProcessPool::new(1);
    let (sender, receiver) = channel();
    let mut task = end::on(&pool).submit((50, true));
    poll_once(&mut task, move || sender.send(end::on(&FRESH).call((1, false))).unwrap());
    assert_eq!(receiver.recv().unwrap(), 1);
}

#[parallel(mode = "process", pool = 2)]
fn in_process(x: u64) -> u64 {
    x
}

#[test]
fn items_that_were_taken_before_their_source_panicked_are_not_lost() {
    let source = (0_u64..30).inspect(|x| assert!(*x != 5, "the source panics on purpose"));
    let mut stream = in_process::options().chunk(4).imap_unordered(source);
    let (mut results, mut panics) = (Vec::new(), 0);
    loop {
        match catch_unwind(AssertUnwindSafe(|| stream.next())) {
            Ok(None) => break,
            Ok(Some((number, result))) => results.push((number, result.unwrap())),
            Err(_) => panics += 1,
        }
    }
    results.sort_unstable();
    let expected: Vec<_> = (0..30).filter(|x| *x != 5).enumerate().collect();
    assert_eq!((panics, results), (1, expected));
}

#[parallel(pool = 2)]
fn on_a_thread(x: u64) -> u64 {
    x
}

#[test]
fn results_of_items_before_a_panic_of_their_source_come_before_it() {
    fn check(mut stream: impl Iterator<Item = Result<u64, TaskError>>) {
        let mut seen = Vec::new();
        loop {
            match catch_unwind(AssertUnwindSafe(|| stream.next())) {
                Ok(None) => break,
                Ok(Some(result)) => seen.push(Some(result.unwrap())),
                Err(payload) => {
                    assert!(payload.downcast_ref::<&str>().is_some_and(|text| text.contains("on purpose")));
                    seen.push(None);
                }
            }
        }
        // In its place, and the source goes on after it.
        let expected: Vec<_> = (0..30).map(|x| (x != 5 && x != 6).then_some(x)).collect();
        assert_eq!(seen, expected);
    }
    let source = || (0_u64..30).inspect(|x| assert!(*x != 5 && *x != 6, "the source panics on purpose"));
    check(in_process::imap(source()));
    check(in_process::options().chunk(4).imap(source()));
    check(on_a_thread::imap(source()));
}

/// Outputs of `counted` that exist in this process.
static ALIVE: AtomicI64 = AtomicI64::new(0);

#[derive(serde::Serialize)]
struct Counted(u32);

impl Counted {
    fn new(number: u32) -> Self {
        ALIVE.fetch_add(1, Ordering::SeqCst);
        Self(number)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<'de> serde::Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        assert!(number != 13, "its `Deserialize` panics on purpose");
        Ok(Self::new(number))
    }
}

/// Panics when it is dropped in the program, if it is to.
#[derive(serde::Serialize, serde::Deserialize)]
struct Fuse(bool);

impl Drop for Fuse {
    fn drop(&mut self) {
        let in_worker = std::thread::current().name() == Some("parallel-worker");
        if self.0 && !in_worker && !std::thread::panicking() {
            panic!("a destructor panics on purpose");
        }
    }
}

#[parallel(mode = "process", pool = 2)]
fn counted(number: u32) -> Counted {
    Counted::new(number)
}

#[parallel(mode = "process", pool = 2)]
fn with_fuse(_fuse: Fuse) -> Counted {
    Counted::new(1)
}

#[test]
fn outputs_that_were_received_before_something_panics_are_dropped() {
    let panics = |what: &str, run: &dyn Fn()| {
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err(), "{what}");
        assert_eq!(ALIVE.load(Ordering::SeqCst), 0, "{what}");
    };
    panics("a map", &|| drop(counted::options().chunk(50).map(0..50)));
    panics("a call", &|| drop(counted(13)));
    panics("a call whose argument panics when it is dropped", &|| drop(with_fuse(Fuse(true))));
    drop(counted::map(100..200));
    assert_eq!(ALIVE.load(Ordering::SeqCst), 0);
}
