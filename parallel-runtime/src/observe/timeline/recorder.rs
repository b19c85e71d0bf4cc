//! What is recorded, and where it is kept.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::memory::{self, Sample};
use crate::observe::seen::Seen;
use crate::observe::task::{Fate, Kind, Pool, Run, look_closely};
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

/// A task that a thread runs now.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(not(feature = "dashboard"), expect(dead_code, reason = "a dashboard shows it"))]
pub(crate) struct Begun {
    pub(crate) pool: Pool,
    pub(crate) function: &'static str,
    pub(crate) place: u32,
    pub(crate) began: u64,
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

/// What was recorded, or a part of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    pub(super) begun: u64,
    /// The same by the calendar.
    pub(super) date: Option<SystemTime>,
    pub(super) tasks: Vec<Task>,
    /// Tasks for which there was no room.
    pub(super) left_out: u64,
    /// Tasks that have made room for later ones.
    pub(super) forgotten: u64,
    pub(super) marks: Vec<Mark>,
    pub(super) samples: Vec<Sample>,
}

impl Record {
    #[cfg(feature = "dashboard")]
    pub(crate) fn begun(&self) -> u64 {
        self.begun
    }

    /// How many tasks it has.
    #[cfg(feature = "dashboard")]
    pub(crate) fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// When the last thing happened.
    pub(super) fn ended(&self) -> u64 {
        let ends = self.tasks.iter().map(|task| task.ended);
        let marks = self.marks.iter().map(|mark| mark.at);
        let samples = self.samples.iter().map(|sample| sample.at);
        ends.chain(marks).chain(samples).max().unwrap_or(self.begun)
    }
}

/// How far a reader of a record has come.
#[cfg(feature = "dashboard")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Tasks, from the first that was ever recorded.
    pub(crate) tasks: u64,
    pub(crate) marks: usize,
    /// The time of the last sample.
    pub(crate) sampled: u64,
}

#[derive(Default)]
struct Recorder {
    /// How many want it.
    wanted: usize,
    /// Which record it is, of those that there were.
    number: u64,
    /// The latest tasks are kept, not the first.
    rolls: bool,
    record: Record,
    /// What threads run, by pool, place and beginning.
    running: HashMap<(u32, u32, u64), Begun>,
}

static RECORDER: Mutex<Option<Recorder>> = Mutex::new(None);

fn recorder() -> MutexGuard<'static, Option<Recorder>> {
    RECORDER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to record, or goes on.
pub(crate) fn begin() {
    let mut recorder = recorder();
    let recorder = recorder.get_or_insert_default();
    if recorder.wanted == 0 {
        recorder.record = Record { begun: clock::now(), date: Some(SystemTime::now()), ..Record::default() };
        recorder.running.clear();
        recorder.number += 1;
        memory::watch(recorder.number, sample);
    }
    recorder.wanted += 1;
    look_closely(true);
}

/// One recording less is wanted.
pub(crate) fn end() {
    let mut recorder = recorder();
    let Some(recorder) = recorder.as_mut() else { return };
    recorder.wanted = recorder.wanted.saturating_sub(1);
    if recorder.wanted == 0 {
        look_closely(false);
        recorder.record = Record::default();
    }
}

/// When the record begins, and nothing that is in it.
#[cfg(feature = "dashboard")]
pub(crate) fn heading() -> Record {
    let recorder = recorder();
    let heading = recorder.as_ref().map(|Recorder { record, .. }| (record.begun, record.date));
    let (begun, date) = heading.unwrap_or_default();
    Record { begun, date, ..Record::default() }
}

/// A copy of what was recorded so far.
pub(super) fn snapshot() -> Record {
    recorder().as_ref().map(|recorder| recorder.record.clone()).unwrap_or_default()
}

/// Whether the latest tasks are kept instead of the first, and it is noted what threads run.
#[cfg(feature = "dashboard")]
pub(crate) fn roll(on: bool) {
    recorder().get_or_insert_default().rolls = on;
    RUNNING_IS_NOTED.store(on, Ordering::Relaxed);
}

/// The most marks of one part.
#[cfg(feature = "dashboard")]
const MOST_MARKS: usize = 10_000;

/// A copy of what was recorded since `position`, of at most `most` tasks, and the position behind it.
#[cfg(feature = "dashboard")]
pub(crate) fn since(position: Position, most: usize) -> (Record, Position) {
    let recorder = recorder();
    let Some(Recorder { record, .. }) = recorder.as_ref() else { return Default::default() };
    let tasks = position.tasks.saturating_sub(record.forgotten).min(record.tasks.len() as u64) as usize;
    let marks = position.marks.min(record.marks.len());
    let new = Record {
        begun: record.begun,
        date: record.date,
        tasks: record.tasks[tasks..].iter().take(most).copied().collect(),
        left_out: record.left_out,
        forgotten: record.forgotten,
        marks: record.marks[marks..].iter().take(MOST_MARKS).cloned().collect(),
        samples: record.samples.iter().filter(|sample| sample.at > position.sampled).copied().collect(),
    };
    let sampled = new.samples.last().map_or(position.sampled, |sample| sample.at);
    let behind = record.forgotten + (tasks + new.tasks.len()) as u64;
    let marks = marks + new.marks.len();
    (new, Position { tasks: behind, marks, sampled })
}

/// What threads run now.
#[cfg(feature = "dashboard")]
pub(crate) fn running_on_threads() -> Vec<Begun> {
    recorder().as_ref().map(|recorder| recorder.running.values().copied().collect()).unwrap_or_default()
}

/// Whether it is noted what threads run, for a dashboard.
static RUNNING_IS_NOTED: AtomicBool = AtomicBool::new(false);

/// A thread begins a task. [`task`] tells its end, or [`end_on_thread`] if that came before.
pub(crate) fn begin_on_thread(pool: Pool, function: &'static str, place: u32, began: u64) {
    if RUNNING_IS_NOTED.load(Ordering::Relaxed)
        && let Some(recorder) = recorder().as_mut()
    {
        recorder.running.insert((pool.id, place, began), Begun { pool, function, place, began });
    }
}

/// A task had ended before its beginning was told.
pub(crate) fn end_on_thread(pool: Pool, place: u32, began: u64) {
    if RUNNING_IS_NOTED.load(Ordering::Relaxed)
        && let Some(recorder) = recorder().as_mut()
    {
        recorder.running.remove(&(pool.id, place, began));
    }
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
    let mut recorder = recorder();
    let Some(recorder) = recorder.as_mut().filter(|recorder| recorder.wanted > 0) else { return };
    if let Some(run) = run.filter(|_| pool.kind == Kind::Threads) {
        recorder.running.remove(&(pool.id, run.place, run.began));
    }
    if recorder.record.tasks.len() >= MOST_TASKS {
        if !recorder.rolls {
            recorder.record.left_out += 1;
            return;
        }
        recorder.record.tasks.drain(..MOST_TASKS / 4);
        recorder.record.forgotten += (MOST_TASKS / 4) as u64;
    }
    recorder.record.tasks.push(Task { pool, function, items, submitted, run, ended, fate });
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
