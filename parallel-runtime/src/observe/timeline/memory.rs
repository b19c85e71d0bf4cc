//! The memory of all processes, every now and then.

use std::sync::OnceLock;
use std::time::Duration;

use crate::shared;
use crate::sys::{clock, processes};

/// With more samples than this every second one is dropped, and the next come half as often.
pub(super) const MOST_SAMPLES: usize = 2000;

const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// Gives the process ids of all workers.
static WORKER_PIDS: OnceLock<fn() -> Vec<u32>> = OnceLock::new();

/// The engine that starts workers says how to find them.
pub(crate) fn set_worker_pids(pids: fn() -> Vec<u32>) {
    let _ = WORKER_PIDS.set(pids);
}

/// The memory of all processes at a time, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) at: u64,
    pub(super) program: u64,
    pub(super) workers: u64,
    pub(super) shared: u64,
}

/// Has a thread look, as long as `record` takes what it sees. `recording`: a number of this record.
pub(super) fn watch(recording: u64, record: fn(u64, Sample) -> bool) {
    let look = move || {
        let mut pause = FIRST_PAUSE;
        let mut since = 0;
        while record(recording, now()) {
            std::thread::sleep(pause);
            since += 1;
            if since > MOST_SAMPLES {
                (since, pause) = (MOST_SAMPLES / 2, pause * 2);
            }
        }
    };
    // Without it the page shows no memory.
    let _ = std::thread::Builder::new().name("parallel-memory".to_owned()).spawn(look);
}

fn now() -> Sample {
    let workers = WORKER_PIDS.get().map_or_else(Vec::new, |pids| pids());
    Sample {
        at: clock::now(),
        program: processes::own_memory(None),
        workers: workers.into_iter().map(|pid| processes::own_memory(Some(pid))).sum(),
        shared: shared::allocated_bytes(),
    }
}
