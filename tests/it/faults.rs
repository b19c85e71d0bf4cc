//! The matrix of faults: twelve tasks on two workers, one of which goes wrong in each of the ways that there are. Always eleven
//! results and one clear error, soon, and a pool that goes on and closes at once.

use std::time::{Duration, Instant};

use parallel_runtime::{ProcessPool, TaskError, parallel};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Fault {
    Panic,
    Kill,
    Segfault,
    Abort,
    Exit0,
    Exit3,
    ExitNow,
    StackOverflow,
    EndlessLoop,
    Stop,
    OutOfMemory,
    CloseAllDescriptors,
    NotEncoded,
    NotDecoded,
}

const FAULTS: [Fault; 14] = [
    Fault::Panic,
    Fault::Kill,
    Fault::Segfault,
    Fault::Abort,
    Fault::Exit0,
    Fault::Exit3,
    Fault::ExitNow,
    Fault::StackOverflow,
    Fault::EndlessLoop,
    Fault::Stop,
    Fault::OutOfMemory,
    Fault::CloseAllDescriptors,
    Fault::NotEncoded,
    Fault::NotDecoded,
];

/// Nothing waits for the end of something that does not end. How long it takes on a quiet machine is measured elsewhere
/// (`benches/src/faults.rs`).
const SOON: Duration = Duration::from_secs(20);

/// A result that may fail to cross.
#[derive(Debug, PartialEq)]
struct Value(u64);

const NOT_ENCODED: u64 = 1000;
const NOT_DECODED: u64 = 1001;

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == NOT_ENCODED {
            return Err(serde::ser::Error::custom("it does not want to leave"));
        }
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            NOT_DECODED => Err(serde::de::Error::custom("it does not want to arrive")),
            value => Ok(Self(value)),
        }
    }
}

#[expect(unconditional_recursion, reason = "that is the point")]
fn overflow(depth: u64) -> u64 {
    std::hint::black_box([depth; 64]);
    overflow(depth + 1) + 1
}

#[parallel(mode = "process", pool = 2)]
fn work(fault: Option<Fault>, x: u64) -> Value {
    std::thread::sleep(Duration::from_millis(2));
    let Some(fault) = fault else { return Value(x) };
    match fault {
        Fault::Panic => panic!("on purpose"),
        // SAFETY: kill has no preconditions.
        Fault::Kill => unsafe {
            libc::kill(libc::getpid(), libc::SIGKILL);
        },
        // SAFETY: none: this is the fault under test.
        Fault::Segfault => unsafe { std::ptr::null_mut::<u8>().write_volatile(1) },
        Fault::Abort => std::process::abort(),
        Fault::Exit0 => std::process::exit(0),
        Fault::Exit3 => std::process::exit(3),
        // SAFETY: _exit has no preconditions.
        Fault::ExitNow => unsafe { libc::_exit(4) },
        Fault::StackOverflow => {
            overflow(0);
        }
        Fault::EndlessLoop => loop {
            std::hint::spin_loop();
        },
        Fault::Stop => {
            // SAFETY: kill has no preconditions.
            unsafe { libc::kill(libc::getpid(), libc::SIGSTOP) };
            // The signal may take a moment to reach this thread.
            std::thread::sleep(Duration::from_secs(3600));
        }
        Fault::OutOfMemory => {
            std::hint::black_box(vec![1_u8; 1 << 30]);
        }
        Fault::CloseAllDescriptors => {
            // SAFETY: closing descriptors is safe for memory; what breaks is this process, which is the point.
            unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
            // It goes on as if nothing had happened.
            std::thread::sleep(Duration::from_secs(3600));
        }
        Fault::NotEncoded => return Value(NOT_ENCODED),
        Fault::NotDecoded => return Value(NOT_DECODED),
    }
    Value(x)
}

/// What the error says about the cause.
fn expected(fault: Fault) -> &'static [&'static str] {
    match fault {
        Fault::Panic => &["panicked at tests/it/faults.rs", "on purpose"],
        Fault::Kill => &["SIGKILL"],
        Fault::Segfault => &["SIGSEGV", "probably a null pointer"],
        Fault::Abort => &["SIGABRT"],
        Fault::Exit0 => &["exited with code 0"],
        Fault::Exit3 => &["exited with code 3"],
        Fault::ExitNow => &["exited with code 4"],
        Fault::StackOverflow => &["SIGSEGV", "probably stack overflow"],
        Fault::EndlessLoop | Fault::Stop => &["timeout of 300ms"],
        Fault::OutOfMemory => &["SIGABRT", "probably out of memory", "memory allocation of 1073741824 bytes failed"],
        Fault::CloseAllDescriptors => &["closed the descriptors"],
        Fault::NotEncoded => &["result cannot be sent", "it does not want to leave"],
        Fault::NotDecoded => &["result cannot be read back", "it does not want to arrive"],
    }
}

#[test]
fn every_fault_costs_one_task_of_twelve() {
    // Where memory cannot be limited, one task takes as much as there is.
    let limited = cfg!(not(parallel_portable));
    for fault in FAULTS.into_iter().filter(|fault| limited || !matches!(fault, Fault::OutOfMemory)) {
        for verb in ["submit", "map"] {
            // Long enough for a death with a backtrace on a loaded machine, where the fault does not end by time itself.
            let hangs = matches!(fault, Fault::EndlessLoop | Fault::Stop);
            let limit = if hangs { Duration::from_millis(300) } else { Duration::from_secs(60) };
            let mut pool = ProcessPool::new(2).timeout(limit);
            if limited {
                pool = pool.memory_limit(256 << 20);
            }
            pool.start().unwrap();
            let begun = Instant::now();
            let items = (0..12).map(|x| ((x == 5).then_some(fault), x));
            let results: Vec<Result<Value, TaskError>> = if verb == "submit" {
                let tasks: Vec<_> = items.map(|item| work::on(&pool).submit(item)).collect();
                tasks.into_iter().map(|task| task.join()).collect()
            } else {
                work::on(&pool).try_map(items)
            };
            let took = begun.elapsed();
            for (x, result) in results.iter().enumerate() {
                match result {
                    Ok(value) => {
                        assert!(x != 5 && *value == Value(x as u64), "{fault:?} by {verb}: {x} gave {value:?}")
                    }
                    Err(error) => {
                        assert_eq!(x, 5, "{fault:?} by {verb} has cost another task: {error}");
                        let text = error.to_string();
                        for part in expected(fault) {
                            assert!(text.contains(part), "{fault:?} by {verb}: `{part}` is not in: {text}");
                        }
                    }
                }
            }
            assert_eq!(results.len(), 12);
            assert!(took < SOON, "{fault:?} by {verb} took {took:?}");
            let again = work::on(&pool).map((0..12).map(|x| (None, x)));
            assert_eq!(again, (0..12).map(Value).collect::<Vec<_>>(), "after {fault:?} the pool is as it was");
            let begun = Instant::now();
            drop(pool);
            assert!(begun.elapsed() < SOON, "after {fault:?} it closes");
        }
    }
}

#[test]
fn the_error_ends_with_the_last_lines_of_the_worker() {
    #[parallel(mode = "process", pool = 1)]
    fn complain(lines: u32) {
        for line in 0..lines {
            eprintln!("complaint {line}");
        }
        // What C code does that finds something wrong.
        eprint!("\u{1b}[31massertion `size > 0' failed");
        std::process::abort();
    }
    let error = complain::submit(30).join().unwrap_err();
    let TaskError::WorkerDied { stderr: Some(stderr), .. } = &error else { panic!("{error:?}") };
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 10);
    assert_eq!(lines[8], "complaint 29");
    assert_eq!(lines[9], "\u{fffd}[31massertion `size > 0' failed", "without what a terminal would obey");
    assert!(error.to_string().ends_with(stderr.as_str()));
}
