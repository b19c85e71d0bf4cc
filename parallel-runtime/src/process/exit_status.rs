//! Why a worker died, in words.

use std::sync::atomic::{AtomicU64, Ordering};

use super::worker_slot::Worker;
use crate::error::TaskError;
use crate::ipc::board::Record;
use crate::ipc::board::layout::phase;
use crate::sys::child::KILLED;
use crate::sys::{processes, signals};

/// What is known of a death.
pub(super) struct ExitStatus {
    pid: u32,
    signal: Option<i32>,
    exit_code: Option<i32>,
    reason: String,
    stderr: Option<String>,
}

/// What a program says before it gives up for want of memory: Rust's allocator, C++'s, and the C library's text for ENOMEM.
const NO_MEMORY: [&str; 4] = ["memory allocation of ", "std::bad_alloc", "Cannot allocate memory", "out of memory"];

impl ExitStatus {
    pub(super) fn new(
        worker: &Worker,
        record: &Record,
        signal: Option<i32>,
        exit_code: Option<i32>,
        memory_limit: Option<u64>,
    ) -> Self {
        let (stderr, no_memory) = worker.stderr().last_lines(|line| NO_MEMORY.iter().any(|said| line.contains(said)));
        // A hint, as all that a worker has written.
        let doing = match record.phase.load(Ordering::Acquire) {
            phase::INIT => "while it ran `init`: ",
            phase::STATE => "while it made a `state`: ",
            phase::END => "at its end: ",
            _ => "",
        };
        let reason = format!("{doing}{}", reason(worker, record, signal, exit_code, memory_limit, no_memory));
        Self { pid: worker.pid(), signal, exit_code, reason, stderr }
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    /// As the error of the task that it ran.
    pub(super) fn error(&self) -> TaskError {
        TaskError::WorkerDied {
            function: "",
            pid: self.pid,
            signal: self.signal,
            exit_code: self.exit_code,
            reason: self.reason.clone(),
            stderr: self.stderr.clone(),
            tries: 1,
            saved: None,
        }
    }

    /// For a worker that died without a task.
    pub(super) fn describe(&self) -> String {
        let stderr = self.stderr.as_ref().map_or_else(String::new, |lines| format!("; its last lines:\n{lines}"));
        format!("{}{stderr}", self.reason)
    }
}

fn reason(
    worker: &Worker,
    record: &Record,
    signal: Option<i32>,
    exit_code: Option<i32>,
    memory_limit: Option<u64>,
    no_memory: bool,
) -> String {
    let how = match (signal, exit_code) {
        (KILLED, _) if worker.mute => {
            return "it had closed the descriptors by which the program reaches it, so it was ended".to_owned();
        }
        (KILLED, _) if worker.stopped.is_some() => {
            return "it was stopped (SIGSTOP) while tasks waited, so it was ended".to_owned();
        }
        (KILLED, _) if worker.unwilling => {
            return "it claimed no task while tasks waited, so it was ended".to_owned();
        }
        (KILLED, _) if worker.accused => {
            return "a worker had written over the memory that it shares with the program, and this one seemed to hold a task that it did not run, so it was ended".to_owned();
        }
        (KILLED, _) if memory_kills() > 0 => {
            return "signal 9 (SIGKILL), probably out of memory: the kernel has just ended processes for want of memory"
                .to_owned();
        }
        (Some(signal), _) => signals::describe(signal),
        (None, Some(code)) => format!("it exited with code {code}"),
        (None, None) => "it is unknown how: the program ignores SIGCHLD, or waits for all of its children".to_owned(),
    };
    let fault = record.fault_signal.load(Ordering::Acquire);
    // What the worker wrote is only a hint.
    if fault != 0 && signal.is_none_or(|signal| signal.cast_unsigned() == fault) {
        let address = record.fault_address.load(Ordering::Relaxed);
        let what = if record.fault_in_stack.load(Ordering::Relaxed) != 0 {
            "probably stack overflow: the address is at the end of its stack (RUST_MIN_STACK sets its size)"
        } else if address < 4096 {
            "probably a null pointer"
        } else {
            return format!("{how} at address {address:#x}");
        };
        return format!("{how} at address {address:#x}, {what}");
    }
    match memory_limit.filter(|_| no_memory) {
        Some(limit) => format!("{how}, probably out of memory: its `memory_limit` is {}", size(limit)),
        None if no_memory => format!("{how}, probably out of memory"),
        None => how,
    }
}

/// A size as people write it.
fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let whole = UNITS.iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit));
    whole.map_or_else(|| format!("{bytes} bytes"), |(unit, name)| format!("{} {name}", bytes / unit))
}

/// How many processes the kernel has ended for want of memory since the last call.
fn memory_kills() -> u64 {
    static SEEN: AtomicU64 = AtomicU64::new(u64::MAX);
    let count = processes::memory_kills();
    match SEEN.swap(count, Ordering::Relaxed) {
        u64::MAX => 0,
        seen => count.saturating_sub(seen),
    }
}

/// Notes how many processes have been ended for want of memory before the first worker starts.
pub(super) fn begin_to_count() {
    let _ = memory_kills();
}
