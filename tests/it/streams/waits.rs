//! Pools that wait for each other and for themselves, sources that are slow.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use parallel_runtime::{ProcessPool, SharedValue, Task, TaskError, ThreadPool, WaitFor, parallel, wait};

use super::poll_once;

static ONE: ThreadPool = ThreadPool::new(1);
static OTHER: ThreadPool = ThreadPool::new(1);

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
fn a_task_that_its_waiter_runs_may_shut_their_pool_down() {
    static CLOSING: ThreadPool = ThreadPool::new(1);
    #[parallel(pool = CLOSING)]
    fn shut_down() -> bool {
        CLOSING.shutdown();
        nothing::submit().join().is_err()
    }
    #[parallel(pool = CLOSING)]
    fn nothing() {}
    #[parallel(pool = CLOSING)]
    fn outer() -> bool {
        shut_down::submit().join().unwrap()
    }
    assert!(outer::submit().join().unwrap());
}

#[test]
fn who_is_told_of_an_end_and_shuts_the_pool_down_waits_for_the_others() {
    static CLOSING: ThreadPool = ThreadPool::new(2);
    #[parallel(pool = CLOSING)]
    fn receive(gate: Receiver<()>) {
        gate.recv().unwrap();
    }
    let ((open_first, first), (open_second, second)) = (channel(), channel());
    let (mut first, second) = (receive::submit(first), receive::submit(second));
    let (sender, has_shut_down) = channel();
    poll_once(&mut first, move || {
        CLOSING.shutdown();
        sender.send(()).unwrap();
    });
    open_first.send(()).unwrap();
    assert!(has_shut_down.recv_timeout(Duration::from_millis(50)).is_err(), "the second one still runs");
    open_second.send(()).unwrap();
    has_shut_down.recv().unwrap();
    assert!(second.is_finished() && second.join().is_ok());
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

#[parallel(mode = "process")]
fn nap(milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
}

#[test]
fn a_future_wakes_its_last_waker_only() {
    let count = Arc::new(AtomicUsize::new(0));
    let mut task = nap::submit(50);
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
