//! Tasks that fail and are saved, and what they print when they are run again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parallel_runtime::{ProcessPool, SharedDict, SharedSlice, SharedVec, TaskError, current_worker, parallel};

static INITIALISED: AtomicU32 = AtomicU32::new(0);

fn initialise() {
    INITIALISED.store(7, Ordering::Relaxed);
}

/// A crash in a worker; alone, it goes on.
fn crash_in_worker() {
    if current_worker().is_some() {
        std::process::abort();
    }
}

#[parallel(mode = "process", pool = 2, init = initialise)]
fn odd(number: u32, bytes: Vec<u8>) -> usize {
    if number % 2 == 1 {
        println!("{number} with {} bytes, init {}", bytes.len(), INITIALISED.load(Ordering::Relaxed));
        // SAFETY: none, on purpose: it is how a C library crashes.
        unsafe { libc::raise(libc::SIGSEGV) };
    }
    bytes.len()
}

#[parallel(mode = "process", pool = 2, timeout = "100ms")]
fn slow(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    println!("slept {millis} ms");
    millis
}

#[parallel(mode = "process", pool = 1)]
fn change(values: &mut [f64], table: SharedSlice<u16>) {
    println!("{values:?} and {} of the table", table.iter().map(|entry| u32::from(*entry)).sum::<u32>());
    values.fill(-1.0);
    crash_in_worker();
}

struct Model(String);

impl Drop for Model {
    fn drop(&mut self) {
        println!("dropped");
    }
}

fn model() -> Model {
    Model("of the function".to_owned())
}

#[parallel(mode = "process", pool = 1, state = model)]
fn ask(#[worker] model: &mut Model, question: &str) -> bool {
    println!("{question}: {}", model.0);
    crash_in_worker();
    true
}

#[parallel(mode = "process", pool = 1)]
fn ask_pool(#[worker] model: &Model, question: &str) -> String {
    println!("{question}: {}, {}", model.0, std::env::var("CONFIGURED").unwrap());
    crash_in_worker();
    "answered".repeat(10_000)
}

#[parallel(mode = "process", pool = 1)]
async fn later(number: u32) -> u32 {
    println!("later: {number}");
    crash_in_worker();
    number
}

#[parallel(mode = "process", pool = 1)]
fn panics(text: String) {
    crash_in_worker();
    panic!("alone, it panics: {text}");
}

#[parallel(mode = "process", pool = 1)]
fn shared(counts: SharedDict<String, u32>) -> usize {
    crash_in_worker();
    counts.len()
}

#[parallel(mode = "process", pool = 1, retries = 2)]
fn stubborn(number: u32) -> u32 {
    crash_in_worker();
    number
}

/// Writes into a pipe that nothing reads: an error, and not the end of the process.
#[parallel(mode = "process", pool = 1)]
fn write_in_vain() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    drop(reader);
    println!("{:?}", std::io::Write::write(&mut writer, b"x").unwrap_err().kind());
    crash_in_worker();
}

static SAVING: ProcessPool = ProcessPool::new(1).save_failures("saved-here");

/// Prints where a task was saved.
fn show<R>(result: Result<R, TaskError>) {
    match result {
        Ok(_) => println!("done"),
        Err(error) => {
            let saved = error.saved().map_or_else(|| "-".to_owned(), |path| path.display().to_string());
            let is_told = saved == "-" || error.to_string().contains(&format!("PARALLEL_REPLAY={saved} "));
            assert!(is_told && error.function().is_some(), "{error}");
            println!("{saved}");
        }
    }
}

/// Runs one of the cases.
pub(crate) fn run(case: &str) {
    match case {
        "crashes" => {
            odd::try_map((0..6).map(|number| (number, vec![1; 1000 * number as usize]))).into_iter().for_each(show)
        }
        "timeout" => show(slow::submit(300).join()),
        "in-place" => {
            let mut values = SharedVec::from_slice(&[1.5, 2.5]);
            let table = SharedSlice::from_slice(&[3_u16; 1000]);
            parallel_runtime::scope(|scope| show(change::scoped(scope, &mut values, table).join()));
        }
        "state" => show(ask::submit("what".to_owned()).join()),
        "pool-state" => {
            let pool = ProcessPool::new(1)
                .state_with("of the pool".to_owned(), |name: &String| Model(name.clone()))
                .env(&[("CONFIGURED", "yes")]);
            show(ask_pool::on(&pool).submit("what".to_owned()).join());
        }
        "async" => show(later::submit(5).join()),
        "panics" => show(panics::submit("so".to_owned()).join()),
        "shared" => show(shared::submit(SharedDict::new()).join()),
        "retries" => {
            show(stubborn::submit(1).join());
            stubborn::try_map(2..4).into_iter().for_each(show);
            assert!(std::panic::catch_unwind(|| stubborn(4)).is_err());
        }
        "spawned" => show(odd::spawn(1, vec![2; 3]).join()),
        "dropped" => {
            let pool = ProcessPool::new(1);
            drop(odd::on(&pool).submit((1, vec![2; 3])));
            pool.shutdown();
        }
        "pipe" => show(write_in_vain::submit().join()),
        // The worker that dies has no other task, and the tasks after it are not at fault.
        "abandoned" => {
            let pool = ProcessPool::new(1);
            drop(odd::on(&pool).submit((1, vec![2; 3])));
            let others: Vec<_> = (0..20).map(|_| odd::on(&pool).submit((2, vec![2; 3]))).collect();
            others.into_iter().for_each(|task| show(task.join()));
        }
        "pool" => show(odd::on(&SAVING).submit((1, vec![2; 3])).join()),
        "large" => show(odd::submit(1, vec![2; 1 << 20]).join()),
        other => panic!("`{other}` is no case"),
    }
}
