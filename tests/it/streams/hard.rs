//! User values and iterators that panic, pools that wait for each other, sources that are slow.

use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use parallel_runtime::{ProcessPool, SharedValue, Task, TaskError, ThreadPool, WaitFor, parallel, scope, wait};

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

#[test]
fn a_scope_waits_for_all_although_a_result_panics_when_it_is_dropped() {
    let mut numbers = [0; 4];
    let ended = catch_unwind(AssertUnwindSafe(|| {
        scope(|s| {
            let _ = bomb::scoped(s);
            let _ = write_late::scoped(s, &mut numbers);
        });
    }));
    assert_eq!((ended.is_err(), numbers), (true, [1; 4]));
}

#[test]
fn a_scope_waits_for_all_although_a_result_panics_when_it_is_read() {
    let mut numbers = [0; 4];
    let ended = catch_unwind(AssertUnwindSafe(|| {
        scope(|s| {
            let _ = unreadable::scoped(s);
            let _ = write_late::scoped(s, &mut numbers);
        });
    }));
    assert_eq!((ended.is_err(), numbers), (true, [1; 4]));
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
fn a_map_does_not_wait_for_the_task_that_waits_for_it() {
    static SMALL: ThreadPool = ThreadPool::new(1);
    #[parallel(pool = SMALL)]
    fn square(x: u64) -> u64 {
        x * x
    }
    #[parallel(pool = SMALL)]
    fn outer() -> u64 {
        let map = square::map_async(0..10);
        // It is under way by the time this task waits.
        std::thread::sleep(Duration::from_millis(20));
        map.join().unwrap().into_iter().sum()
    }
    #[parallel(pool = OTHER)]
    fn middle() -> u64 {
        square::map(0..10).into_iter().sum()
    }
    #[parallel(pool = SMALL)]
    fn around() -> u64 {
        let task = middle::submit();
        std::thread::sleep(Duration::from_millis(20));
        task.join().unwrap()
    }
    assert_eq!((outer::submit().join().unwrap(), around::submit().join().unwrap()), (285, 285));
}

#[test]
fn a_pool_with_init_runs_all_on_its_own_thread() {
    static INITS: AtomicUsize = AtomicUsize::new(0);
    static PREPARED: ThreadPool = ThreadPool::new(1).init(|| _ = INITS.fetch_add(1, Ordering::SeqCst));
    #[parallel(pool = PREPARED)]
    fn thread(_: u32) -> String {
        format!("{:?}", std::thread::current().id())
    }
    let mut threads = vec![thread(1), thread::submit(2).join().unwrap()];
    threads.extend(thread::map(0..100));
    threads.extend(thread::map_async(0..10).join().unwrap());
    threads.extend(thread::imap(0..10).map(Result::unwrap));
    assert!(threads.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(INITS.load(Ordering::SeqCst), 1);
    let failed = std::panic::catch_unwind(|| panics_at::map(0..10));
    assert_eq!(*failed.unwrap_err().downcast_ref::<String>().unwrap(), "3 is on purpose");
    #[parallel(pool = PREPARED)]
    fn panics_at(x: u32) {
        assert!(x != 3, "{x} is on purpose");
    }
}

#[test]
fn many_maps_and_tasks_at_once_need_few_threads() {
    static CROWD: ThreadPool = ThreadPool::new(2);
    #[parallel(pool = CROWD)]
    fn double(x: u64) -> u64 {
        std::thread::sleep(Duration::from_micros(10));
        2 * x
    }
    #[parallel(pool = CROWD)]
    fn wait(gate: Arc<std::sync::Barrier>) {
        gate.wait();
    }
    std::thread::scope(|threads| {
        for _ in 0..50 {
            threads.spawn(|| assert_eq!(double::map(0..20).into_iter().sum::<u64>(), 380));
        }
    });
    // Both threads of the pool, again and again.
    for _ in 0..50 {
        let gate = Arc::new(std::sync::Barrier::new(2));
        let tasks = [wait::submit(gate.clone()), wait::submit(gate)];
        assert!(tasks.into_iter().all(|task| task.join().is_ok()));
    }
    let stats = CROWD.stats();
    assert_eq!((stats.done, stats.failed, stats.finished, stats.submitted), (150, 0, 150, 150));
    assert!(stats.load[0].share <= 1.0);
}

#[test]
fn a_body_that_awaits_a_task_of_its_own_full_pool_goes_on_beside_it() {
    static FULL: ThreadPool = ThreadPool::new(1);
    #[parallel(pool = FULL)]
    fn receive(receiver: Receiver<u32>) -> u32 {
        receiver.recv().unwrap()
    }
    #[parallel(pool = FULL)]
    async fn outer() -> u32 {
        let (sender, receiver) = channel();
        let task = receive::submit(receiver);
        let (received, ()) = futures_lite::future::zip(task, async move { sender.send(7).unwrap() }).await;
        received.unwrap()
    }
    assert_eq!(outer::submit().join().unwrap(), 7);
}

static ONE: ThreadPool = ThreadPool::new(1);
static OTHER: ThreadPool = ThreadPool::new(1);

#[test]
fn async_functions_of_pools_of_one_call_each_other() {
    #[parallel(pool = ONE)]
    async fn outer() -> u32 {
        middle().await + 1
    }
    #[parallel(pool = OTHER)]
    async fn middle() -> u32 {
        inner()
    }
    #[parallel(pool = ONE)]
    fn inner() -> u32 {
        1
    }
    assert_eq!(outer::submit().join().unwrap(), 2);
    assert_eq!(outer::options().call(()), 2, "driven on this thread");
}

#[test]
fn a_task_that_waits_keeps_none_from_running_not_even_one_that_waits_for_it() {
    #[parallel(pool = OTHER)]
    fn slow() -> u32 {
        std::thread::sleep(Duration::from_millis(50));
        5
    }
    #[parallel(pool = ONE)]
    fn first() -> u32 {
        slow::submit().join().unwrap()
    }
    #[parallel(pool = ONE)]
    fn second(first: Task<u32>) -> u32 {
        first.join().unwrap() + 1
    }
    assert_eq!(second::submit(first::submit()).join().unwrap(), 6);
}

#[test]
fn a_thousand_tasks_that_wait_need_no_stack() {
    static RELAYS: ThreadPool = ThreadPool::new(1);
    #[parallel(pool = OTHER)]
    fn last(x: usize) -> usize {
        x
    }
    #[parallel(pool = RELAYS)]
    fn relay(x: usize) -> usize {
        last::submit(x).join().unwrap()
    }
    let tasks: Vec<_> = (0..1000).map(relay::submit).collect();
    assert!(tasks.into_iter().enumerate().all(|(x, task)| task.join().unwrap() == x));
}

#[test]
fn who_shuts_a_pool_down_from_a_task_holds_no_one_up() {
    static CLOSING: ThreadPool = ThreadPool::new(2);
    #[parallel(pool = CLOSING)]
    fn sleep(milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }
    #[parallel(pool = ONE)]
    fn shut_down() {
        CLOSING.shutdown();
    }
    #[parallel(pool = ONE)]
    fn submit() -> bool {
        std::thread::sleep(Duration::from_millis(200));
        sleep::submit(1).join().is_err()
    }
    let running = sleep::submit(100);
    std::thread::scope(|threads| {
        threads.spawn(shut_down);
        threads.spawn(submit);
    });
    assert!(running.join().is_ok());
}

#[test]
fn looking_at_a_task_of_the_own_pool_does_not_run_it() {
    static GATE: Mutex<Option<Receiver<()>>> = Mutex::new(None);
    static TWO: ThreadPool = ThreadPool::new(2);
    #[parallel(pool = TWO)]
    fn wait_for_gate() {
        let gate = GATE.lock().unwrap().take().unwrap();
        gate.recv().unwrap();
    }
    #[parallel(pool = TWO)]
    fn look(how: u32) -> bool {
        let (open, gate) = channel();
        *GATE.lock().unwrap() = Some(gate);
        let mut task = wait_for_gate::submit();
        let limit = Duration::from_millis(20);
        match how {
            0 => assert!(task.join_timeout(limit).is_none()),
            1 => assert_eq!(wait(std::slice::from_ref(&task), WaitFor::All, Some(limit)).done, [0; 0]),
            2 => task.on_done(|| ()),
            _ => assert!(Pin::new(&mut task).poll(&mut Context::from_waker(Waker::noop())).is_pending()),
        }
        open.send(()).unwrap();
        task.join().is_ok()
    }
    for how in 0..4 {
        assert!(look::submit(how).join().unwrap());
    }
}

#[test]
fn a_task_whose_argument_panics_when_it_is_dropped_is_cancelled() {
    #[parallel(pool = OTHER)]
    fn take(_: Bomb) {}
    #[parallel(pool = OTHER)]
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
fn what_panics_when_it_is_dropped_on_a_thread_of_the_pool_harms_nobody() {
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

/// A waker that does something else.
struct Rude<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Rude<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn poll_once<R: Send + 'static>(task: &mut Task<R>, wake: impl Fn() + Send + Sync + 'static) {
    let waker = Waker::from(Arc::new(Rude(wake)));
    assert!(Pin::new(task).poll(&mut Context::from_waker(&waker)).is_pending());
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

    // Whoever finds a death starts workers, too.
    static FRESH: ProcessPool = ProcessPool::new(1);
    let (sender, receiver) = channel();
    let mut task = end::on(&pool).submit((50, true));
    poll_once(&mut task, move || sender.send(end::on(&FRESH).call((1, false))).unwrap());
    assert_eq!(receiver.recv().unwrap(), 1);
}

#[test]
fn a_future_wakes_its_last_waker_only() {
    let count = Arc::new(AtomicUsize::new(0));
    let mut task = end::submit(50, false);
    for _ in 0..10 {
        let count = Arc::clone(&count);
        poll_once(&mut task, move || _ = count.fetch_add(1, Ordering::SeqCst));
    }
    let (sender, receiver) = channel();
    task.on_done(move || sender.send(()).unwrap());
    receiver.recv().unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1);
}

#[test]
fn a_map_that_is_cancelled_begins_nothing_more() {
    #[parallel(mode = "process")]
    fn count(runs: SharedValue<u32>) {
        runs.fetch_add(1);
        std::thread::sleep(Duration::from_millis(100));
    }
    let pool = ProcessPool::new(1);
    let runs = SharedValue::new(0);
    let map = count::on(&pool).map_async(vec![runs.clone(); 20]);
    while runs.get() == 0 {
        std::thread::yield_now();
    }
    map.cancel();
    assert!(matches!(map.join(), Err(TaskError::Cancelled)));
    assert_eq!(runs.get(), 1);
}

#[parallel(mode = "process", pool = 2)]
fn in_process(x: u64) -> u64 {
    x
}

#[parallel(pool = 2)]
fn on_thread(x: u64) -> u64 {
    x
}

#[test]
fn results_do_not_wait_for_items_that_come_slowly() {
    let taken = AtomicUsize::new(0);
    let source = || {
        taken.store(0, Ordering::SeqCst);
        (0_u64..).inspect(|_| {
            taken.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
        })
    };
    in_process::map([0, 0]);
    let ahead = |results: &mut dyn Iterator<Item = Result<u64, TaskError>>| {
        let given = results.take(10).filter(Result::is_ok).count();
        taken.load(Ordering::SeqCst) - given
    };
    let (process, thread) = (ahead(&mut in_process::imap(source())), ahead(&mut on_thread::imap(source())));
    assert!(process < 10 && thread < 10, "{process} and {thread} items were taken before their results were wanted");
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
