//! What a worker process has, and the end of a task.

use std::sync::atomic::Ordering;

use super::functions::Functions;
use super::local_executor::LocalExecutor;
use super::usage::Usage;
use crate::function::code;
use crate::function::{ResultWriter, ServeError};
use crate::ipc::board::layout::COMPLETED;
use crate::ipc::board::ring::entry;
use crate::ipc::board::slot::FAILED;
use crate::ipc::board::word::Word;
use crate::ipc::board::{Board, Record, Slot, meeting};
use crate::ipc::control::ControlRequest;
use crate::ipc::link;
use crate::panics::{self, Caught};
use crate::process::region::Region;
use crate::process::welcome::Welcome;
use crate::remote::failure;
use crate::sys::channel::Channel;
use crate::sys::futex;
use crate::sys::segment::Segment;

/// This process, as the thread of the tasks has it.
pub(super) struct Worker {
    pub(super) board: &'static Board,
    pub(super) segment: &'static Segment,
    pub(super) index: u32,
    pub(super) one_shot: bool,
    pub(super) channel: &'static Channel,
    pub(super) functions: Functions,
    pub(super) region: Region,
    pub(super) completed: u64,
    /// How many tasks it may run, and how many of them are left.
    pub(super) max_tasks: u64,
    pub(super) tasks_left: u64,
    pub(super) usage: Option<&'static Usage>,
    /// Made for the first of them.
    pub(super) futures: Option<Box<LocalExecutor>>,
}

impl Worker {
    pub(super) fn new(
        board: &'static Board,
        segment: &'static Segment,
        welcome: &Welcome,
        channel: &'static Channel,
        usage: Option<&'static Usage>,
    ) -> Self {
        let record = board.record(welcome.worker);
        record.pid.store(std::process::id(), Ordering::Relaxed);
        let region_start = segment.at(record.region_offset.load(Ordering::Relaxed));
        // SAFETY: the program gave this region to this worker, and only releases parts of it.
        let region = unsafe { Region::new(region_start, record.region_len.load(Ordering::Relaxed)) };
        let completed = record.completed_tail.0.load(Ordering::Relaxed);
        let max_tasks = if welcome.max_tasks == 0 { u64::MAX } else { welcome.max_tasks };
        let one_shot = welcome.one_shot != 0;
        let index = welcome.worker;
        let tasks_left = max_tasks;
        Self {
            board,
            segment,
            index,
            one_shot,
            channel,
            functions: Functions::new(welcome.functions),
            region,
            completed,
            max_tasks,
            tasks_left,
            usage,
            futures: None,
        }
    }

    pub(super) fn record(&self) -> &'static Record {
        self.board.record(self.index)
    }

    /// The task is done: says so, notes it, and wakes who waits for it.
    pub(super) fn complete(&mut self, slot: &Slot, index: u32, generation: u64) {
        let (claimed, done) = (Word::claimed(self.index, generation), Word::done(self.index, generation));
        let wake = meeting::complete(&slot.word, claimed, done, &slot.waiter);
        let record: &Record = self.board.record(self.index);
        record.completed[self.completed as usize % COMPLETED].store(entry(index, generation), Ordering::Relaxed);
        self.completed = self.completed.wrapping_add(1);
        record.completed_tail.0.store(self.completed, Ordering::SeqCst);
        if wake {
            futex::wake_all(slot.futex());
        }
        let header = self.board.header();
        if header.done_waiters.0.load(Ordering::SeqCst) != 0 {
            header.done_count.0.fetch_add(1, Ordering::SeqCst);
            futex::wake_all(&header.done_count.0);
        }
    }

    /// Asks the program for a block.
    pub(super) fn grant(&self, len: u64) -> Result<(u64, *mut u8), ServeError> {
        match link::ask(&ControlRequest::Grant(len)) {
            [0, available, ..] => Err(ServeError::OutOfSharedMemory { requested: len, available }),
            [offset, ..] => Ok((offset, self.segment.at(offset).as_ptr())),
        }
    }
}

pub(super) fn fail(results: &mut ResultWriter<'_>, slot: &Slot, error: &ServeError) {
    let told = match error {
        ServeError::Decode(error) => tell(results, slot, code::NOT_DECODED, &error.to_string()),
        ServeError::Encode(error) => tell(results, slot, code::NOT_ENCODED, &error.to_string()),
        ServeError::OutOfSharedMemory { requested, available } => {
            tell(results, slot, code::NO_MEMORY, &(*requested, *available))
        }
    };
    // Not even that could be told, for want of memory: a short message always fits.
    if told.is_err() {
        let _ = tell(results, slot, code::NO_MEMORY, &(0_u64, 0_u64));
    }
}

pub(super) fn fail_by_panic(results: &mut ResultWriter<'_>, slot: &Slot, caught: Caught) {
    let caught = match caught.into_ending() {
        Ok(error) => {
            slot.failed.store(FAILED, Ordering::Relaxed);
            let _ = results.deliver_error(code::ENDED, |writer| failure::put(&error, writer));
            return;
        }
        Err(caught) => caught,
    };
    let message = panics::message(&*caught.payload);
    if tell(results, slot, code::PANICKED, &(&message, &caught.location, &caught.backtrace)).is_err() {
        let _ = tell(results, slot, code::PANICKED, &("", None::<String>, None::<String>));
    }
}

/// Delivers a failure in place of a result.
fn tell(
    results: &mut ResultWriter<'_>,
    slot: &Slot,
    code: u8,
    value: &impl serde::Serialize,
) -> Result<(), ServeError> {
    slot.failed.store(FAILED, Ordering::Relaxed);
    results.deliver_failure(code, value)
}
