//! Tasks of many kinds, for the tests of what is seen of them.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use parallel_runtime::{ProcessPool, ThreadPool, parallel};

static PROCESSES: ProcessPool = ProcessPool::new(2);
static THREADS: ThreadPool = ThreadPool::new(2);

#[parallel(pool = PROCESSES, mode = "process")]
fn tiny(x: u64) -> u64 {
    x + 1
}

#[parallel(pool = THREADS)]
fn small(x: u64) -> u64 {
    x + 1
}

#[parallel(pool = PROCESSES, mode = "process")]
async fn wait(milliseconds: u64) {
    let end = Instant::now() + Duration::from_millis(milliseconds);
    let mut alarm = None;
    poll_fn(|context| {
        if Instant::now() >= end {
            return Poll::Ready(());
        }
        alarm.get_or_insert_with(|| {
            let waker = context.waker().clone();
            std::thread::spawn(move || {
                std::thread::sleep(end.saturating_duration_since(Instant::now()));
                waker.wake();
            })
        });
        Poll::Pending
    })
    .await;
}

#[parallel(pool = PROCESSES, mode = "process", timeout = "600ms")]
fn dangerous(kind: u32) {
    match kind {
        0 => {}
        1 => std::process::abort(),
        2 => std::thread::sleep(Duration::from_secs(60)),
        _ => panic!("on purpose"),
    }
}

#[parallel(mode = "process", pool = 4)]
fn print_lines(letter: char) {
    let text = letter.to_string().repeat(350);
    for _ in 0..500 {
        // In pieces; the longer one is passed on by the program.
        println!("{text}{text}");
        eprintln!("{text}{text}{}", text.repeat(4));
    }
}

/// Workers print at the same time.
pub(crate) fn lines() {
    print_lines::map("abcd".chars());
}

/// Runs `count` tiny tasks, and one or more of every other kind. Prints what the pool of processes says of itself.
pub(crate) fn run(count: u64) {
    let tasks: Vec<_> = (0..count).map(tiny::submit).collect();
    assert!(tasks.into_iter().enumerate().all(|(x, task)| task.join().unwrap() == x as u64 + 1));
    assert_eq!(small(1), 2);
    assert_eq!(small::submit(2).join().unwrap(), 3);
    assert_eq!(small::map(0..1000).len(), 1000);
    assert_eq!(tiny::map(0..1000).len(), 1000);
    wait::map([20; 10]);
    let failed = dangerous::try_map(0..4).iter().filter(|result| result.is_err()).count();
    let busy: Vec<_> = (0..2).map(|_| dangerous::submit(2)).collect();
    while !busy.iter().all(|task| task.is_running()) {
        std::thread::yield_now();
    }
    let held: Vec<_> = (0..4).map(|_| dangerous::submit(0)).collect();
    let cancelled = held.iter().filter(|task| task.cancel()).count();
    busy.iter().for_each(|task| _ = task.kill());
    assert!(busy.into_iter().all(|task| task.join().is_err()));
    println!("{failed} failed, {cancelled} cancelled");
    println!("{}", PROCESSES.stats());
}

/// Handles SIGTERM itself, after the first pool was made: alone, or and then as it was handled before, as libraries do that share a signal.
pub(crate) fn handle_signals(way: &str) {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    static BEFORE: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn handle(signal: i32) {
        HANDLED.fetch_add(1, Ordering::SeqCst);
        let before = BEFORE.load(Ordering::SeqCst);
        if before > libc::SIG_IGN {
            // SAFETY: it is the handler that was set before, which takes a signal.
            let before = unsafe { std::mem::transmute::<usize, extern "C" fn(i32)>(before) };
            before(signal);
        }
    }
    assert_eq!(tiny(1), 2);
    // SAFETY: the handler does only what a handler may.
    let before = unsafe { libc::signal(libc::SIGTERM, handle as *const () as usize) };
    if way == "before" {
        assert!(before > libc::SIG_IGN, "there was one");
        BEFORE.store(before, Ordering::SeqCst);
    }
    // Two in a row, and one that would end the program at once if it were not the program's own.
    for pause in [0, 700, 100] {
        // SAFETY: `raise` has no preconditions.
        unsafe { libc::raise(libc::SIGTERM) };
        // The thread that would end the program has seen it.
        std::thread::sleep(Duration::from_millis(pause));
    }
    println!("SIGTERM was handled {} times", HANDLED.load(Ordering::SeqCst));
}

static CRASHING: ProcessPool = ProcessPool::new(2).name("crashing");

#[parallel(pool = CRASHING, mode = "process")]
fn crash() {
    std::process::abort();
}

#[parallel(pool = PROCESSES, mode = "process")]
fn stay() {
    std::thread::sleep(Duration::from_secs(3600));
}

#[parallel(pool = THREADS)]
fn stay_on_thread(end: Arc<AtomicBool>) {
    while !end.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs tasks, some of which kill their workers, until the standard input ends.
pub(crate) fn live() {
    let (end, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (on_thread, in_process) = (stay_on_thread::submit(Arc::clone(&end)), stay::submit());
    let until = Arc::clone(&stop);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_line(&mut String::new());
        until.store(true, Ordering::Relaxed);
    });
    while !stop.load(Ordering::Relaxed) {
        assert!(crash::submit().join().is_err());
        assert_eq!(tiny::map(0..100).len(), 100);
        small::map(0..100);
        std::thread::sleep(Duration::from_millis(20));
    }
    end.store(true, Ordering::Relaxed);
    on_thread.join().expect("it ends");
    in_process.kill();
}

#[cfg(feature = "progress")]
#[parallel(pool = PROCESSES, mode = "process")]
fn slow(x: u64) -> u64 {
    if x == 150 {
        eprintln!("printed by a task");
    }
    std::thread::sleep(Duration::from_millis(1));
    x
}

#[cfg(feature = "progress")]
#[parallel(pool = THREADS)]
fn slow_on_thread(x: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(1));
    x
}

#[cfg(feature = "progress")]
#[parallel(mode = "process", pool = 2)]
fn odd_in_process(x: u64) -> u64 {
    assert!(x % 2 == 1, "even");
    x
}

#[cfg(feature = "progress")]
#[parallel(pool = THREADS)]
fn odd_on_thread(x: u64) -> u64 {
    assert!(x % 2 == 1, "even");
    x
}

/// Maps with bars, one after the other.
#[cfg(feature = "progress")]
pub(crate) fn bars(how: &str) {
    std::panic::set_hook(Box::new(|_| {}));
    match how {
        "shown" => {
            assert_eq!(slow::options().progress("hashing").map(0..300).len(), 300);
            assert_eq!(slow_on_thread::options().progress("on threads").try_map(0..300).len(), 300);
            assert_eq!(slow_on_thread::options().progress("lazily").imap((0..300).filter(|_| true)).count(), 300);
            let map = slow_on_thread::options().progress("in the background").map_async(0..300);
            assert_eq!(map.join().unwrap().len(), 300);
        }
        "failures" => {
            let is_failed = |results: Vec<Result<u64, _>>| results.iter().filter(|result| result.is_err()).count();
            assert_eq!(is_failed(odd_in_process::options().progress("processes").try_map(0..20)), 10);
            assert_eq!(is_failed(odd_on_thread::options().progress("threads").try_map(0..20)), 10);
            let limited = odd_on_thread::options().timeout(Duration::from_secs(60)).progress("limited");
            assert_eq!(is_failed(limited.try_map(0..20)), 10);
            assert_eq!(is_failed(odd_in_process::options().progress("stream").imap(0..20).collect()), 10);
            let serial = parallel_runtime::ThreadPool::new(1);
            assert_eq!(is_failed(odd_on_thread::on(&serial).progress("one").try_map(0..20)), 10);
        }
        "long" => drop(slow_on_thread::options().progress("long").map(0..4000)),
        "theirs" => {
            let bars = parallel_runtime::indicatif::MultiProgress::new();
            let own = bars.add(parallel_runtime::indicatif::ProgressBar::new(2).with_message("of the program"));
            own.set_style(parallel_runtime::indicatif::ProgressStyle::with_template("{msg} {pos}").unwrap());
            for _ in 0..2 {
                assert_eq!(slow::options().progress_in(&bars).map(0..300).len(), 300);
                own.inc(1);
            }
            own.finish();
        }
        #[cfg(feature = "log")]
        "bridge" => bridge(false),
        #[cfg(feature = "log")]
        "locked" => bridge(true),
        other => panic!("`{other}` is no way to show bars"),
    }
}

#[cfg(all(feature = "progress", feature = "log"))]
#[parallel(mode = "process", pool = 2)]
fn log_and_say(x: u64) -> u64 {
    log::info!("logged {x}");
    eprintln!("said {x}");
    x
}

/// A logger that prints through the program's own bars, or while the program holds the lock of standard error.
#[cfg(all(feature = "progress", feature = "log"))]
fn bridge(is_locked: bool) {
    use std::io::Write;

    use parallel_runtime::indicatif::MultiProgress;

    struct Bridge(Option<MultiProgress>);

    impl log::Log for Bridge {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            // In one piece: what is printed in several may have what tasks print between them.
            let line = format!("bridged: {}\n", record.args());
            let print = || std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
            match &self.0 {
                Some(bars) => bars.suspend(print),
                None => print(),
            }
        }
        fn flush(&self) {}
    }

    // What this is about is that nothing waits for itself.
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(60));
        std::process::abort();
    });
    let bars = MultiProgress::new();
    let theirs = (!is_locked).then(|| bars.clone());
    log::set_logger(Box::leak(Box::new(Bridge(theirs)))).expect("there is none yet");
    log::set_max_level(log::LevelFilter::Info);
    if is_locked {
        let mut error = std::io::stderr().lock();
        for x in 0..50 {
            writeln!(error, "computed {}", log_and_say(x)).expect("standard error is open");
        }
    } else {
        assert_eq!(log_and_say::options().progress_in(&bars).map(0..50).len(), 50);
    }
    log_and_say(99);
}
