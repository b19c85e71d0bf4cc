//! The orderly end of a worker: between two tasks, as a program ends.
//!
//! The thread of the tasks drops what it keeps, writes out what Rust and C have buffered, and runs the exit handlers that libraries have registered, among
//! them the one that writes the profile of a build that measures coverage. All that is other people's code, so it has [`LIMIT`] for it, watched by a thread of its own; the program
//! waits as long, and then ends the process.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::function::kept;
use crate::ipc::board::Record;
use crate::ipc::board::layout::phase;
use crate::ipc::link::InPhase;
use crate::sys::{exit, futex};

/// How long it may take.
pub(in crate::process) const LIMIT: Duration = Duration::from_secs(10);

/// How long the thread of the tasks may take to begin with it: on a busy machine a thread may have to wait for its turn.
const TURN: Duration = Duration::from_millis(500);

/// How often it is looked whether it has begun.
const LOOK: Duration = Duration::from_millis(1);

/// The program has hung up.
static IS_ASKED_FOR: AtomicBool = AtomicBool::new(false);

/// Whether the worker is to end.
#[inline(always)]
pub(super) fn is_asked_for() -> bool {
    IS_ASKED_FOR.load(Ordering::Relaxed)
}

/// The thread of the tasks: ends the process.
pub(super) fn end() -> ! {
    std::mem::forget(InPhase::new(phase::END));
    let watch = std::thread::Builder::new().spawn(|| {
        std::thread::sleep(LIMIT);
        exit::now(0);
    });
    kept::drop_all();
    let _ = io::stdout().flush();
    match watch {
        Ok(_) => exit::in_order(0),
        // Without a watch no handler is trusted to return.
        Err(_) => exit::now(0),
    }
}

/// The other thread: has the thread of the tasks end the process, if it runs no task, and waits for that. Gives up after a while.
pub(super) fn ask_for(record: &Record) {
    IS_ASKED_FOR.store(true, Ordering::Relaxed);
    record.wake.store(1, Ordering::Release);
    futex::wake(&record.wake, 1);
    let asked = Instant::now();
    loop {
        let limit = if record.phase.load(Ordering::Acquire) == phase::END { LIMIT + TURN } else { TURN };
        if asked.elapsed() >= limit {
            return;
        }
        std::thread::sleep(LOOK);
    }
}
