//! The place of one worker in a pool, which outlives the processes that fill it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::spawn::Started;
use super::stderr::Stderr;
use super::termination::Termination;
use crate::ipc::board::Record;
use crate::ipc::control::ANSWER;
use crate::shared::objects::Process;
use crate::shared::{Block, Handle};
use crate::sys::child::{ExitStatus, Signal};
use crate::sys::futex;

/// One place.
#[derive(Default)]
pub(super) struct WorkerSlot {
    pub(super) occupant: Occupant,
    /// Which of the pool's starts its worker is, or was.
    pub(super) start: u64,
    /// Where its workers put results of medium size. Made with the first worker.
    pub(super) region: Option<Block>,
    /// Blocks that were granted to its worker, for results that have not been collected yet.
    pub(super) grants: Vec<Block>,
    /// Shared objects whose handles are in results that have not been collected yet, and of which task: `generation | slot`.
    pub(super) kept: Vec<(u64, Arc<Handle>)>,
    /// The last answer to a request for a block, as it stands in shared memory.
    pub(super) answer: Answer,
    /// What its worker prints, if events may be among it.
    pub(super) stderr: Option<Arc<Stderr>>,
    /// When its first worker came.
    pub(super) first: Option<Instant>,
    /// How far the program has read its list of completed tasks.
    pub(super) completed_head: u64,
    /// How many tasks were completed in this place when the start of its worker began.
    pub(super) completed_before: u64,
}

/// The program's answer to a request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answer {
    /// How many there have been.
    count: u32,
    words: [u64; ANSWER],
}

impl Answer {
    /// The next answer.
    pub(super) fn next(self, words: [u64; ANSWER]) -> Self {
        Self { count: self.count.wrapping_add(1), words }
    }

    /// Makes sure that it stands in a worker's record.
    pub(super) fn publish(self, record: &Record) {
        if record.answers.load(Ordering::Relaxed) == self.count {
            return;
        }
        for (word, value) in record.answer.iter().zip(self.words) {
            word.store(value, Ordering::Relaxed);
        }
        record.answers.store(self.count, Ordering::Release);
        futex::wake_all(&record.answers);
    }
}

#[derive(Default)]
pub(super) enum Occupant {
    #[default]
    Vacant,
    /// A process for this place is being started.
    Starting,
    Worker(Box<Worker>),
    /// Its worker is being ended, with the pool.
    Ending,
}

/// A worker process.
pub(super) struct Worker {
    pub(super) started: Started,
    /// What it holds of shared memory ends with this: so it is dropped when the process is gone.
    pub(super) process: Process,
    /// Which worker this is, of all that the supervisor ever had.
    pub(super) key: u64,
    pub(super) since: Instant,
    /// It has said that it is a worker.
    pub(super) greeted: bool,
    /// It takes tasks.
    pub(super) ready: bool,
    /// It was ended because it did not say hello.
    pub(super) late: bool,
    /// Since when its control channel is closed while it lives. It ends after the message that it runs.
    pub(super) hung_up: Option<Instant>,
    /// It was ended because it had closed its control channel.
    pub(super) mute: bool,
    /// It was ended because it seemed to hold a task that it does not run: shared memory had been written over.
    pub(super) accused: bool,
    /// It was ended because it claimed nothing while tasks waited. It has begun nothing since that was seen.
    pub(super) unwilling: bool,
    /// Since when it was seen to be stopped, and idle, while tasks waited.
    pub(super) stopped: Option<Instant>,
    /// How many tasks its place had completed when it was last seen to have done something, and when that was.
    pub(super) last_seen: (u64, Instant),
    /// It was asked to end because it had nothing to do.
    pub(super) idle: bool,
    /// It has said that it ends between two tasks.
    pub(super) retired: bool,
    /// Why it could not start, as it says.
    pub(super) failure: Option<String>,
    /// It is being ended for the task that it runs.
    pub(super) terminating: Option<Termination>,
}

impl WorkerSlot {
    pub(super) fn is_free(&self) -> bool {
        matches!(self.occupant, Occupant::Vacant)
    }

    /// Whether a thread is just starting its worker, or ending it.
    pub(super) fn is_in_between(&self) -> bool {
        matches!(self.occupant, Occupant::Starting | Occupant::Ending)
    }

    pub(super) fn worker(&self) -> Option<&Worker> {
        match &self.occupant {
            Occupant::Worker(worker) => Some(worker),
            _ => None,
        }
    }

    pub(super) fn worker_mut(&mut self) -> Option<&mut Worker> {
        match &mut self.occupant {
            Occupant::Worker(worker) => Some(worker),
            _ => None,
        }
    }

    /// Empties the place.
    pub(super) fn take(&mut self) -> Option<Box<Worker>> {
        match std::mem::take(&mut self.occupant) {
            Occupant::Worker(worker) => Some(worker),
            other => {
                self.occupant = other;
                None
            }
        }
    }
}

impl Worker {
    pub(super) fn new(started: Started, process: Process, key: u64, completed_before: u64) -> Self {
        Self {
            started,
            process,
            key,
            since: Instant::now(),
            greeted: false,
            ready: false,
            late: false,
            hung_up: None,
            mute: false,
            accused: false,
            unwilling: false,
            stopped: None,
            last_seen: (completed_before, Instant::now()),
            idle: false,
            retired: false,
            failure: None,
            terminating: None,
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.started.child.id()
    }

    pub(super) fn stderr(&self) -> &Arc<Stderr> {
        &self.started.stderr
    }

    /// Sends a signal.
    pub(super) fn signal(&mut self, signal: Signal) {
        // A program that has given up its rights may not signal workers that have them; but they end with their channel.
        if self.started.child.signal(signal).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            self.hang_up();
        }
    }

    /// The end of its channel is the worker's end, unless it is stopped.
    pub(super) fn hang_up(&self) {
        self.started.channel.hang_up();
    }

    /// Waits until it is gone, at most until `deadline`. True if it is.
    pub(super) fn is_gone_by(&self, deadline: Instant) -> bool {
        self.started.child.is_gone_by(deadline)
    }

    /// Ends it at once and waits until it is gone.
    pub(super) fn kill(&mut self) -> Option<ExitStatus> {
        self.signal(Signal::Kill);
        self.reap()
    }

    /// Waits until it is gone, and ends what its tasks have started and left running.
    pub(super) fn reap(&mut self) -> Option<ExitStatus> {
        self.started.child.reap()
    }
}
