//! A worker's line to the program: requests on the control channel, answers in its record.
//!
//! Any thread of the worker may ask; they take turns.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::board::layout::phase;
use super::board::{Board, Record};
#[cfg(any(feature = "tracing", feature = "log"))]
use super::board::{ring::split, slot::SENT};
use super::control::{ANSWER, ControlRequest};
use crate::sys::channel::Channel;
use crate::sys::{exit, futex};

struct Link {
    channel: &'static Channel,
    #[cfg_attr(not(any(feature = "tracing", feature = "log")), expect(dead_code, reason = "only events need it"))]
    board: &'static Board,
    record: &'static Record,
    turn: Mutex<()>,
}

static LINK: OnceLock<Link> = OnceLock::new();

/// Opens it.
pub(crate) fn open(channel: &'static Channel, board: &'static Board, worker: u32) {
    let _ = LINK.set(Link { channel, board, record: board.record(worker), turn: Mutex::new(()) });
}

/// The task that is being run: `generation | slot`.
pub(crate) fn task() -> u64 {
    LINK.get().map_or(0, |link| link.record.running.load(Ordering::Relaxed))
}

/// Says what this worker does besides tasks as long as this lives. Nothing in a process that is no worker.
pub(crate) struct InPhase(u32);

impl InPhase {
    pub(crate) fn new(now: u32) -> Self {
        Self(LINK.get().map_or(phase::NONE, |link| link.record.phase.swap(now, Ordering::Release)))
    }
}

impl Drop for InPhase {
    fn drop(&mut self) {
        if let Some(link) = LINK.get() {
            link.record.phase.store(self.0, Ordering::Release);
        }
    }
}

/// Says something that needs no answer.
pub(crate) fn tell(request: &ControlRequest) {
    if let Some(link) = LINK.get() {
        // If that fails the program is gone, and this process goes with it.
        let _ = request.send(link.channel);
    }
}

/// Asks, and waits for the answer. The supervisor answers, which never waits for a task; if it is gone, this process ends.
pub(crate) fn ask(request: &ControlRequest) -> [u64; ANSWER] {
    let Some(link) = LINK.get() else { return [0; ANSWER] };
    let _turn = link.turn.lock().unwrap_or_else(PoisonError::into_inner);
    let seen = link.record.answers.load(Ordering::Acquire);
    if request.send(link.channel).is_err() {
        exit::with_group();
    }
    while link.record.answers.load(Ordering::Acquire) == seen {
        futex::wait(&link.record.answers, seen, None);
    }
    std::array::from_fn(|word| link.record.answer[word].load(Ordering::Relaxed))
}

/// An event of a task is about to be sent. The program sees the mark at the latest with the end of the task, or of this process.
#[cfg(any(feature = "tracing", feature = "log"))]
pub(crate) fn note_event(task: u64) {
    let slot = LINK.get().and_then(|link| link.board.slots().get(split(task).0 as usize));
    if let Some(slot) = slot {
        slot.wanted.fetch_or(SENT, Ordering::Relaxed);
    }
}
