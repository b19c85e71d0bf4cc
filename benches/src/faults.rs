//! Twelve tasks on two workers, one of which goes wrong: what is left, here and in other pools.
//!
//! `cargo run --release -p parallel-benches --bin faults`
//!
//! Each cell is a program of its own, ended after ten seconds: results, errors, how long all of it took, and whether the pool
//! can be used afterwards. Python's columns need `python3`, and nothing else.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use parallel_runtime::{ProcessPool, parallel};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const FAULTS: [&str; 14] = [
    "panic",
    "SIGKILL",
    "SIGSEGV",
    "abort",
    "exit(0)",
    "exit(3)",
    "_exit",
    "stack overflow",
    "endless loop",
    "SIGSTOP",
    "out of memory",
    "close all fds",
    "not encoded",
    "not decoded",
];

const SYSTEMS: [&str; 4] = ["ours", "procspawn", "multiprocessing.Pool", "ProcessPoolExecutor"];

/// How long a cell may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A result that may fail to cross.
struct Value(u64);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 1000 {
            return Err(serde::ser::Error::custom("it does not want to leave"));
        }
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            1001 => Err(serde::de::Error::custom("it does not want to arrive")),
            value => Ok(Self(value)),
        }
    }
}

#[expect(unconditional_recursion, reason = "that is the point")]
fn overflow(depth: u64) -> u64 {
    std::hint::black_box([depth; 64]);
    overflow(depth + 1) + 1
}

fn fault(kind: &str, x: u64) -> Value {
    std::thread::sleep(Duration::from_millis(2));
    match kind {
        "" => {}
        "panic" => panic!("on purpose"),
        // SAFETY: kill has no preconditions.
        "SIGKILL" => unsafe {
            libc::kill(libc::getpid(), libc::SIGKILL);
        },
        // SAFETY: none: this is the fault that is looked at.
        "SIGSEGV" => unsafe { std::ptr::null_mut::<u8>().write_volatile(1) },
        "abort" => std::process::abort(),
        "exit(0)" => std::process::exit(0),
        "exit(3)" => std::process::exit(3),
        // SAFETY: _exit has no preconditions.
        "_exit" => unsafe { libc::_exit(4) },
        "stack overflow" => {
            overflow(0);
        }
        "endless loop" => loop {
            std::hint::spin_loop();
        },
        "SIGSTOP" => {
            // SAFETY: kill has no preconditions.
            unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
            std::thread::sleep(Duration::from_secs(3600));
        }
        "out of memory" => {
            std::hint::black_box(vec![1_u8; 1 << 30]);
        }
        "close all fds" => {
            // SAFETY: closing descriptors is safe for memory.
            unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
            std::thread::sleep(Duration::from_secs(3600));
        }
        "not encoded" => return Value(1000),
        "not decoded" => return Value(1001),
        other => panic!("`{other}` is no fault"),
    }
    Value(x)
}

#[parallel(mode = "process")]
fn ours(kind: String, x: u64) -> Value {
    fault(&kind, x)
}

fn main() {
    procspawn::init();
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, system, kind] = arguments.as_slice() {
        match system.as_str() {
            "ours" => run_ours(kind),
            "procspawn" => run_procspawn(kind),
            other => panic!("`{other}` is no system"),
        }
        return;
    }
    println!(
        "12 tasks on 2 workers, one of which fails: results + errors, the time of these and of twelve\nmore, and whether the pool works for those\n"
    );
    println!("| fault | {} |", SYSTEMS.join(" | "));
    println!("| --- | {} |", SYSTEMS.map(|_| "---").join(" | "));
    for kind in FAULTS {
        println!("| {kind} | {} |", SYSTEMS.map(|system| cell(system, kind)).join(" | "));
    }
}

/// Runs one system in a program of its own.
fn cell(system: &str, kind: &str) -> String {
    let mut command = if system == "ours" || system == "procspawn" {
        Command::new("/proc/self/exe")
    } else {
        let mut python = Command::new("python3");
        python.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/faults.py"));
        python
    };
    command.args([system, kind]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    // A group of its own, so that all of it can be ended.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let begun = Instant::now();
    let Ok(mut child) = command.spawn() else { return "not here".to_owned() };
    while begun.elapsed() < PATIENCE {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = matches!(child.try_wait(), Ok(Some(_)));
    // SAFETY: kill has no preconditions; a negative number is the group that the child leads.
    unsafe { libc::kill(-child.id().cast_signed(), libc::SIGKILL) };
    let output = child.wait_with_output().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    match output {
        Ok(said) if ended && !said.is_empty() => said,
        Ok(said) if !said.is_empty() => format!("{said}, then hangs"),
        _ if ended => "the program dies".to_owned(),
        _ => "hangs".to_owned(),
    }
}

fn report(results: usize, errors: usize, begun: Instant, usable: bool) {
    let usable = if usable { "works" } else { "unusable" };
    println!("{results} + {errors}, {:.0} ms, {usable}", begun.elapsed().as_secs_f64() * 1e3);
}

fn kind_of(kind: &str, x: u64) -> String {
    if x == 5 { kind.to_owned() } else { String::new() }
}

fn run_ours(kind: &str) {
    let pool = ProcessPool::new(2).timeout(Duration::from_millis(500)).memory_limit(256 << 20);
    pool.start().expect("workers start");
    let begun = Instant::now();
    let tasks: Vec<_> = (0..12).map(|x| ours::on(&pool).submit((kind_of(kind, x), x))).collect();
    let results: Vec<_> = tasks.into_iter().map(|task| task.join()).collect();
    let ok = results.iter().filter(|result| result.is_ok()).count();
    let usable = || ours::on(&pool).try_map((0..12).map(|x| (String::new(), x))).iter().all(Result::is_ok);
    let took = begun;
    report(ok, 12 - ok, took, usable());
}

fn run_procspawn(kind: &str) {
    let pool = procspawn::Pool::new(2).expect("procspawn starts");
    let spawn = |kind: String, x: u64| pool.spawn((kind, x), |(kind, x)| fault(&kind, x));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..12).map(|x| spawn(kind_of(kind, x), x)).collect();
    let ok = tasks.into_iter().map(|mut task| task.join_timeout(Duration::from_secs(3))).filter(Result::is_ok).count();
    let again: Vec<_> = (0..12).map(|x| spawn(String::new(), x)).collect();
    let usable = again.into_iter().all(|mut task| task.join_timeout(Duration::from_secs(2)).is_ok());
    report(ok, 12 - ok, begun, usable);
    // Its end may wait for workers that never end.
    std::process::exit(0);
}
