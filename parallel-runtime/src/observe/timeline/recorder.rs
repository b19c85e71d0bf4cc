//! What is recorded, and where it is kept.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::memory::{self, Sample};
use crate::observe::seen::Seen;
use crate::observe::task::{Fate, Pool, Run, look_closely};
use crate::sys::clock;

/// So many tasks are kept.
const MOST_TASKS: usize = 1_000_000;

/// One task, or one try of it. Times are nanoseconds of the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Task {
    pub(super) pool: Pool,
    pub(super) function: &'static str,
    pub(super) items: u32,
    pub(super) submitted: u64,
    /// `None` if it never ran: it was cancelled.
    pub(super) run: Option<Run>,
    /// When it ended.
    pub(super) ended: u64,
    pub(super) fate: Fate,
}

/// Something that happened to a worker.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    pub(super) pool: Pool,
    pub(super) place: u32,
    pub(super) pid: u32,
    pub(super) at: u64,
    /// Why it died; `None` if it was started.
    pub(super) death: Option<String>,
}

/// All that was recorded.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    pub(super) begun: u64,
    pub(super) tasks: Vec<Task>,
    /// Tasks for which there was no room.
    pub(super) left_out: u64,
    pub(super) marks: Vec<Mark>,
    pub(super) samples: Vec<Sample>,
}

#[derive(Default)]
struct Recorder {
    /// How many want it.
    wanted: usize,
    /// Which record it is, of those that there were.
    number: u64,
    record: Record,
}

static RECORDER: Mutex<Option<Recorder>> = Mutex::new(None);

fn recorder() -> MutexGuard<'static, Option<Recorder>> {
    RECORDER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to record, or goes on.
pub(super) fn begin() {
    let mut recorder = recorder();
    let recorder = recorder.get_or_insert_default();
    if recorder.wanted == 0 {
        recorder.record = Record { begun: clock::now(), ..Record::default() };
        recorder.number += 1;
        memory::watch(recorder.number, sample);
    }
    recorder.wanted += 1;
    look_closely(true);
}

/// One who wanted it does not any more.
pub(super) fn end() {
    let mut recorder = recorder();
    let Some(recorder) = recorder.as_mut() else { return };
    recorder.wanted = recorder.wanted.saturating_sub(1);
    if recorder.wanted == 0 {
        look_closely(false);
        recorder.record = Record::default();
    }
}

/// A copy of what was recorded so far.
pub(super) fn snapshot() -> Record {
    recorder().as_ref().map(|recorder| recorder.record.clone()).unwrap_or_default()
}

fn with_record(add: impl FnOnce(&mut Record)) {
    if let Some(recorder) = recorder().as_mut().filter(|recorder| recorder.wanted > 0) {
        add(&mut recorder.record);
    }
}

/// A task has ended.
pub(crate) fn task(pool: Pool, seen: &Seen, run: Option<Run>, fate: Fate) {
    let ended = run.map_or_else(clock::now, |run| run.ended);
    let Seen { function, items, submitted, .. } = *seen;
    with_record(|record| {
        if record.tasks.len() >= MOST_TASKS {
            record.left_out += 1;
            return;
        }
        record.tasks.push(Task { pool, function, items, submitted, run, ended, fate });
    });
}

/// A worker process was started.
pub(crate) fn worker(pool: Pool, place: usize, pid: u32) {
    if crate::observe::task::is_on() {
        mark(Mark { pool, place: place as u32, pid, at: clock::now(), death: None });
    }
}

/// A worker process has died, or was ended for a task.
pub(crate) fn death(pool: Pool, place: usize, pid: u32, why: impl FnOnce() -> String) {
    if crate::observe::task::is_on() {
        mark(Mark { pool, place: place as u32, pid, at: clock::now(), death: Some(why()) });
    }
}

fn mark(mark: Mark) {
    with_record(|record| {
        if record.marks.len() < MOST_TASKS {
            record.marks.push(mark);
        }
    });
}

/// Adds a sample. False if no thread wants it any more.
pub(super) fn sample(recording: u64, sample: Sample) -> bool {
    if recorder().as_ref().is_none_or(|recorder| recorder.number != recording || recorder.wanted == 0) {
        return false;
    }
    with_record(|record| {
        record.samples.push(sample);
        // Half of them say nearly as much.
        if record.samples.len() > memory::MOST_SAMPLES {
            let mut number = 0;
            record.samples.retain(|_| {
                number += 1;
                number % 2 == 1
            });
        }
    });
    true
}
