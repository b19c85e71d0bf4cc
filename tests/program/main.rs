//! A program for the tests of what concerns a whole process. The first argument says what it does.

mod end;
mod failures;
mod habits;
mod hostile;
mod observed;
mod output;
mod privileges;
mod sharing;
mod storm;

use std::ffi::{c_char, c_int};
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parallel_runtime::{ProcessPool, TaskError, parallel};

#[parallel(mode = "process")]
fn where_am_i(program: u32) -> String {
    let thread = std::thread::current().name().unwrap_or_default().to_owned();
    let process = if std::process::id() == program { "program" } else { "worker" };
    format!("{process} {thread}")
}

#[parallel(mode = "process", pool = 2)]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[parallel(pool = 2)]
fn add_on_threads(a: u64, b: u64) -> u64 {
    a + b
}

#[parallel(mode = "process", pool = 2)]
fn sleep(seconds: u64) -> u32 {
    std::thread::sleep(Duration::from_secs(seconds));
    std::process::id()
}

#[parallel(mode = "process", pool = 2)]
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

/// Starts a program that nothing waits for. Its process id.
#[parallel(mode = "process", pool = 2)]
fn start_program() -> u32 {
    std::process::Command::new("sleep").arg("3600").spawn().expect("it can be started").id()
}

#[parallel(mode = "process", pool = 2)]
fn zeros(count: usize) -> Vec<u8> {
    vec![0; count]
}

#[parallel(mode = "process", pool = 2)]
fn say(_: u32) {
    // In pieces, as `eprintln!` with arguments writes.
    let (words, task) = ("words", "task");
    eprintln!("last {words} of a {task}");
}

#[cfg_attr(not(parallel_portable), parallel(mode = "process", pool = 1, sandbox = "strict"))]
fn confined(program: u32) -> String {
    let process = if std::process::id() == program { "program" } else { "worker" };
    let confined = if std::fs::File::open("/etc/passwd").is_err() { "confined" } else { "free" };
    format!("{process}, {confined}")
}

#[parallel(mode = "process", pool = 2)]
fn say_half(_: u32) {
    print!("half a line;");
}

#[parallel(mode = "process", pool = 2)]
fn length(bytes: &[u8]) -> usize {
    bytes.len()
}

#[parallel(mode = "process", pool = 2)]
fn fail(x: u32) -> u32 {
    assert!(x != 3, "three");
    x
}

#[parallel(mode = "process", pool = 2)]
fn constructors() -> (u32, u32) {
    (CONSTRUCTED.load(Ordering::SeqCst), parallel_test_late::constructed())
}

/// How often the constructor of this program has run.
static CONSTRUCTED: AtomicU32 = AtomicU32::new(0);

extern "C" fn construct(_: c_int, _: *const *const c_char, _: *const *const c_char) {
    CONSTRUCTED.fetch_add(1, Ordering::SeqCst);
}

/// A constructor as a C++ library has them, before `main`, before or after the one that makes workers.
#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCT: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = construct;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let argument = |index: usize| arguments.get(index).map_or("", String::as_str);
    match argument(1) {
        "end-in-order" => end::run(),
        "failures" => failures::run(argument(2)),
        "where" => {
            println!("{}", where_am_i(std::process::id()));
            println!("{}", add_on_threads(1, 2));
        }
        "workers" => println!("{} {}", ProcessPool::new(0).workers(), parallel_runtime::ThreadPool::new(0).workers()),
        "idle" => println!("{} threads, {} descriptors of ours", entries("/proc/self/task").len(), our_descriptors()),
        "leave" => leave(argument(2)),
        "descriptors" => descriptors(),
        "memory" => memory(),
        "stuck-output" => output::stuck(),
        "resident" => resident(),
        "address-space" => address_space(),
        "replaced" => {
            println!("ready {}", add(1, 1));
            std::io::stdin().read_line(&mut String::new()).expect("it is open");
            match add::spawn(1, 2).join() {
                Ok(sum) => println!("{sum}"),
                Err(error) => println!("{error}"),
            }
        }
        "selftest" => selftest(),
        "plugin" => plugin(argument(2)),
        "last-words" => {
            say::map(0..100);
            say_half::map(0..2);
        }
        "confined" => println!("{}", confined(std::process::id())),
        "blame" => {
            sleep::options().timeout(Duration::from_millis(100)).call(3600);
        }
        "habit" => habits::run(argument(2)),
        "privileges" => privileges::run(argument(2)),
        "hostile" => hostile::run(number(argument(2)), number(argument(3)), argument(4) == "strict"),
        "lines" => observed::lines(),
        #[cfg(feature = "progress")]
        "bars" => observed::bars(argument(2)),
        "handles-signals" => observed::handle_signals(argument(2)),
        "live" => observed::live(),
        "observed" => observed::run(number(argument(2))),
        "storm" => storm::run(number(argument(2))),
        "heavy-storm" => storm::run_heavy(number(argument(2))),
        "shared-storm" => sharing::storm(number(argument(2))),
        "shared-freed" => sharing::freed(),
        "recovery" => storm::recovery(number(argument(2)) as usize),
        "killed" => storm::kill_programs(number(argument(2))),
        "victim" => storm::victim(),
        other => panic!("`{other}` is nothing this program can do"),
    }
}

fn number(text: &str) -> u64 {
    if text.is_empty() { 0 } else { text.parse().expect("a number") }
}

fn entries(directory: &str) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).expect("procfs is mounted");
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// Descriptors of the kinds that the runtime opens.
fn our_descriptors() -> usize {
    let targets = entries("/proc/self/fd").into_iter().filter_map(|path| std::fs::read_link(path).ok());
    targets
        .filter(|target| ["memfd", "eventpoll", "pidfd"].iter().any(|kind| target.to_string_lossy().contains(kind)))
        .count()
}

/// Ends in one of several ways while tasks are outstanding; prints the pids of the workers first.
fn leave(how: &str) {
    // A shell that runs the tests in its background lets them ignore Ctrl-C, which a program inherits.
    // SAFETY: the default action has no preconditions.
    unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
    let pool = ProcessPool::new(2);
    pool.start().expect("workers start");
    let started = start_program::on(&pool).call(());
    let sleeping: Vec<_> = (0..5).map(|_| sleep::on(&pool).submit(3600)).collect();
    let spinning = spin::spawn();
    let mut pids = pool.worker_pids();
    pids.extend(spinning.pid());
    pids.push(started);
    println!("{}", pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" "));
    std::io::stdout().flush().expect("stdout is open");
    std::mem::forget(pool);
    match how {
        "return" => {}
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        "panic" => panic!("on purpose"),
        // Until a signal ends it.
        "wait" => std::thread::sleep(Duration::from_secs(3600)),
        other => panic!("`{other}` is no way to leave"),
    }
    drop((sleeping, spinning));
}

/// A kind of limit, whose number has another type in each C library.
#[cfg(target_env = "gnu")]
type Resource = libc::__rlimit_resource_t;
#[cfg(not(target_env = "gnu"))]
type Resource = std::ffi::c_int;

fn set_limit(resource: Resource, limit: u64) {
    let limit = libc::rlimit { rlim_cur: limit, rlim_max: limit };
    // SAFETY: `limit` is a valid `rlimit`, which the call only reads.
    let result = unsafe { libc::setrlimit(resource, &raw const limit) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Whether an error is EMFILE, perhaps with a hint.
pub(crate) fn is_for_want_of_descriptors(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMFILE) || error.to_string().contains("(os error 24)")
}

/// More processes at once than there are descriptors for: each that cannot start says so, the others give their results.
fn descriptors() {
    assert_eq!(add(1, 2), 3);
    set_limit(libc::RLIMIT_NOFILE, 40);
    let spawned: Vec<_> = (0..60).map(|_| sleep::spawn(1)).collect();
    let results: Vec<_> = spawned.into_iter().map(|process| process.join()).collect();
    let ok = results.iter().filter(|result| result.is_ok()).count();
    let refused = results.iter().filter(|result| match result {
        Err(TaskError::Spawn(error)) => is_for_want_of_descriptors(error),
        _ => false,
    });
    println!("{ok} ran, {} refused", refused.count());
    assert_eq!(add::map((0..100).map(|x| (x, 1))).len(), 100, "the pool that runs goes on");
}

/// With little shared memory: what does not fit is an error, what fits works.
fn memory() {
    match add::submit(1, 2).join() {
        Ok(sum) => println!("small {sum}"),
        Err(error) => println!("small {error}"),
    }
    let large = 1 << 30;
    match zeros::submit(large).join() {
        Ok(bytes) => println!("result {}", bytes.len()),
        Err(TaskError::OutOfSharedMemory { requested, .. }) => println!("result out of shared memory {requested}"),
        Err(error) => println!("result {error}"),
    }
    match length::submit(vec![1; large]).join() {
        Ok(len) => println!("argument {len}"),
        Err(TaskError::OutOfSharedMemory { requested, .. }) => println!("argument out of shared memory {requested}"),
        Err(error) => println!("argument {error}"),
    }
    match add::submit(3, 4).join() {
        Ok(sum) => println!("again {sum}"),
        Err(error) => println!("again {error}"),
    }
}

/// The memory of large results is used again.
fn resident() {
    let now = || -> u64 {
        let text = std::fs::read_to_string("/proc/self/statm").expect("procfs is mounted");
        text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number of pages") * 4096
    };
    zeros(32 << 20);
    let before = now();
    for _ in 0..20 {
        zeros(32 << 20);
    }
    println!("{}", now().saturating_sub(before) >> 20);
}

fn address_space() {
    set_limit(libc::RLIMIT_AS, 2 << 30);
    assert_eq!(add::map((0..1000).map(|x| (x, 1)))[999], 1000);
    println!("ok");
}

/// What must work in every kind of build.
fn selftest() {
    assert_eq!(add(1, 2), 3);
    assert_eq!(add_on_threads::map([(1, 2)]), [3]);
    assert_eq!(add::map((0..100_000).map(|x| (x, x)))[99_999], 199_998);
    assert_eq!(zeros(1 << 20).len(), 1 << 20);
    let results = fail::try_map(0..6);
    for (x, result) in results.iter().enumerate() {
        match result {
            Ok(value) => assert!(*value == x as u32 && x != 3),
            // With `panic = "abort"` a panic is a death.
            Err(TaskError::Panicked { .. } | TaskError::WorkerDied { .. }) => assert_eq!(x, 3),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(constructors::inline(), (1, 1), "in the program");
    assert_eq!(constructors(), (1, 1), "in a worker each constructor has run once too, wherever the linker put it");
    println!("ok");
}

/// Loads a library that uses the runtime.
fn plugin(path: &str) {
    let path = std::ffi::CString::new(path).expect("a path");
    // SAFETY: the library is one of our tests; its constructors do nothing outside a worker.
    let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!library.is_null(), "the library can be loaded");
    // SAFETY: the handle is valid, the name ends in a zero.
    let function = unsafe { libc::dlsym(library, c"parallel_test_plugin".as_ptr()) };
    assert!(!function.is_null(), "the library has the function");
    // SAFETY: the function has this type in the library's source.
    let function = unsafe { std::mem::transmute::<*mut libc::c_void, extern "C" fn() -> i32>(function) };
    println!("{}", function());
}
