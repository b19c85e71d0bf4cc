//! Moving results out of shared memory.
//!
//! All that is read here was written by a worker, and a worker may be anything by now: it may have scribbled over its memory
//! before it crashed. So every number is checked against the program's own records before it is used.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

use super::engine::Engine;
use super::region;
use super::state::{InFlight, State, Tasks};
use super::termination::{Reason, Termination};
use crate::error::TaskError;
use crate::ipc::board::Slot;
use crate::ipc::board::layout::COMPLETED;
use crate::ipc::board::ring::{entry, split};
use crate::ipc::board::slot::{DEFERRED, DROPPED, INLINE_RESULT, LATE};
use crate::ipc::board::word::{State as SlotState, Word};
use crate::observe::Fate;
use crate::remote::outcome::{Outcome, ResultBytes};
use crate::remote::result_reader::missing;
use crate::shared::Block;
use crate::sys::clock;

/// What is known of the tasks that a dead worker had claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blame {
    /// It ran them.
    RanThem,
    /// Another worker may run them: the board had been written over.
    Accused,
    /// It had been told to begin nothing before it claimed them.
    BeganNothing,
}

impl Engine {
    /// Collects every completed task. Gives how many there were.
    pub(super) fn collect(&self, state: &mut State) -> usize {
        let board = self.board();
        let mut collected = 0;
        for worker in 0..state.workers.worker_slots.len() {
            if state.workers.worker_slots[worker].region.is_none() {
                continue;
            }
            let record = board.record(worker as u32);
            let tail = record.completed_tail.0.load(Ordering::SeqCst);
            let head = std::mem::replace(&mut state.workers.worker_slots[worker].completed_head, tail);
            let count = tail.wrapping_sub(head);
            for position in 0..count.min(COMPLETED as u64) {
                let entry = head.wrapping_add(position) as usize % COMPLETED;
                let (slot, _) = split(record.completed[entry].load(Ordering::Relaxed));
                // The generation need not match: what counts is that the slot's own word says "done".
                collected += usize::from(self.collect_slot(state, slot));
            }
            // The worker goes on meanwhile: entries may have been overwritten before they were read.
            fence(Ordering::Acquire);
            let overwritten =
                record.completed_tail.0.load(Ordering::Acquire).wrapping_sub(head) >= COMPLETED as u64 - 1;
            if overwritten {
                for slot in 0..state.slots.in_flight.len() as u32 {
                    collected += usize::from(self.collect_slot(state, slot));
                }
            }
        }
        collected
    }

    /// Collects one task, if it is completed.
    pub(super) fn collect_slot(&self, state: &mut State, index: u32) -> bool {
        let position = index as usize;
        if state.slots.in_flight.get(position).is_none_or(Option::is_none) {
            return false;
        }
        let slot = self.board().slot(index);
        let word = slot.load();
        if word.state() != SlotState::Done || word.generation() != state.slots.generations[position] {
            return false;
        }
        if let Some(task) =
            state.slots.in_flight[position].as_ref().filter(|task| is_late(slot, word, task) && !task.is_over)
        {
            let again = task.retry.as_ref().is_some_and(|retry| retry.may_try());
            state.metrics.timed_out += 1;
            if again {
                self.run_again(state, index, Fate::TimedOut);
                return true;
            }
        }
        self.finish_with(state, index, |state, task| {
            let mut outcome = self.results(state, index, word, task, Until::Over);
            if let Tasks::Pack(pack) = &task.tasks {
                // It has run, and there was no room to say what came of it.
                let next = outcome.done as usize;
                if pack.has(next) && !outcome.has_error() && slot.has_begun(next) {
                    outcome.rare().error = Some(missing(""));
                }
            }
            if outcome.nanoseconds != 0 && !task.is_async {
                state.functions.took(task.function, outcome.nanoseconds, outcome.done);
            }
            outcome
        });
        true
    }

    /// Ends the task that a dead worker had claimed, with the results of the items it had completed, or has it sent again. Gives
    /// how many it had claimed: one at most, and bodies of `async fn`s, if it kept to the protocol.
    pub(super) fn end_tasks_of(
        &self,
        state: &mut State,
        worker: u32,
        terminating: Option<&Termination>,
        blame: Blame,
        death: impl Fn() -> TaskError,
    ) -> usize {
        let mut lost = 0;
        let together = self.bodies_of(state, worker);
        let death = || beside_others(death(), together);
        for index in 0..state.slots.in_flight.len() as u32 {
            let slot = self.board().slot(index);
            let word = slot.load();
            if state.slots.in_flight[index as usize].is_none() || word.worker() != worker {
                continue;
            }
            match word.state() {
                SlotState::Done => {
                    self.collect_slot(state, index);
                }
                // It comes back to the ring with the audit that follows.
                SlotState::Claimed
                    if blame == Blame::BeganNothing
                        && slot.done_items(state.slots.generations[index as usize]) == 0 =>
                {
                    let ready = Word::ready(state.slots.generations[index as usize]);
                    slot.word.store(ready.0, Ordering::SeqCst);
                }
                SlotState::Claimed => {
                    lost += 1;
                    if blame == Blame::Accused {
                        // Another worker may be the one that runs it.
                        self.end_in_quarantine(state, index, || Outcome::error(death()));
                        continue;
                    }
                    let terminating = terminating.filter(|terminating| {
                        (terminating.slot, terminating.generation) == (index, state.slots.generations[index as usize])
                    });
                    // It was over its limit too, and its worker could not drop it any more.
                    let late = self.is_overdue(state, index);
                    let Some(task) = &state.slots.in_flight[index as usize] else { continue };
                    let late = late.filter(|_| terminating.is_none());
                    let killed = terminating.is_some_and(|terminating| terminating.reason == Reason::Killed);
                    let unfinished = slot.done_items(state.slots.generations[index as usize]) < task.items;
                    let may_try = task.retry.as_ref().is_some_and(|retry| retry.may_try());
                    if unfinished && (late.is_some() || terminating.is_some_and(Termination::is_for_time)) {
                        state.metrics.timed_out += 1;
                    }
                    if unfinished && !killed && may_try && !task.is_over {
                        let fate = if terminating.is_some() || late.is_some() { Fate::TimedOut } else { Fate::Died };
                        self.run_again(state, index, fate);
                        continue;
                    }
                    self.finish_with(state, index, |state, task| {
                        let mut outcome = self.results(state, index, word, task, Until::Over);
                        // Of several, the next may not have begun, if others have ended.
                        let not_begun = task.is_pack() && outcome.done > 0 && !slot.has_begun(outcome.done as usize);
                        // One that was terminating for an item which then ended has begun no other.
                        let between = terminating.is_some_and(|terminating| outcome.done > terminating.item);
                        if outcome.done < task.items && (outcome.done == 0 || !between) && !not_begun {
                            let error = terminating.map(Termination::error).or(late.map(TaskError::timed_out));
                            let tries = task.retry.as_ref().map_or(1, |retry| retry.tries());
                            outcome.rare().error = Some(error.unwrap_or_else(&death).after_tries(tries));
                        }
                        outcome
                    });
                }
                SlotState::Free | SlotState::Ready => {}
            }
        }
        lost
    }
}

/// The error of one of several bodies that a worker had begun when it died.
fn beside_others(error: TaskError, together: usize) -> TaskError {
    match error {
        TaskError::WorkerDied { function, pid, signal, exit_code, mut reason, stderr, tries, saved }
            if together > 1 =>
        {
            let also = format!(", in one of the {together} bodies of `async fn`s that ran on it, or beside them");
            reason.push_str(&also);
            TaskError::WorkerDied { function, pid, signal, exit_code, reason, stderr, tries, saved }
        }
        error => error,
    }
}

impl Engine {
    /// How many bodies of `async fn`s a worker has.
    fn bodies_of(&self, state: &State, worker: u32) -> usize {
        let slots = state.slots.in_flight.iter().enumerate();
        let bodies = slots.filter(|(_, task)| task.as_ref().is_some_and(|task| task.is_async));
        let words = bodies.map(|(index, _)| self.board().slot(index as u32).load());
        words.filter(|word| word.worker() == worker && word.state() == SlotState::Claimed).count()
    }

    /// Whether the future of an `async fn` that was deferred is over its limit.
    fn is_overdue(&self, state: &mut State, index: u32) -> Option<Duration> {
        let slot = self.board().slot(index);
        let task = state.slots.in_flight[index as usize].as_mut().filter(|task| task.is_async)?;
        let began = slot.began.load(Ordering::Acquire);
        let limited = task.limited.as_mut().filter(|_| began & DEFERRED != 0)?;
        (limited.deadline(0, began & !DEFERRED, clock::now()) <= clock::now()).then_some(limited.limit)
    }
}

/// Whether a worker has dropped the future of a task that took too long.
fn is_late(slot: &Slot, word: Word, task: &InFlight) -> bool {
    task.is_async
        && task.limited.is_some()
        && slot.done_items(word.generation()) > 0
        && slot.failed.load(Ordering::Relaxed) == LATE
}

/// Until when results are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    /// The message is off the board.
    Over,
    /// Its worker goes on with it.
    Now,
}

impl Engine {
    /// What a worker has left in a slot.
    #[inline(always)]
    fn results(&self, state: &mut State, index: u32, word: Word, task: &InFlight, until: Until) -> Outcome {
        let outcome = collect(state, index, self.board().slot(index), word, task, until);
        Outcome { is_far: self.is_isolated(), ..outcome }.limited(self.options.result_limit)
    }

    /// The results that are there of a message that its worker goes on with.
    pub(super) fn results_so_far(&self, state: &mut State, index: u32, word: Word, task: &InFlight) -> Outcome {
        self.results(state, index, word, task, Until::Now)
    }
}

/// Reads what a worker left in a slot.
fn collect(state: &mut State, index: u32, slot: &Slot, word: Word, task: &InFlight, until: Until) -> Outcome {
    let this = entry(index, state.slots.generations[index as usize]);
    let mut outcome = Outcome { done: slot.done_items(word.generation()).min(task.items), ..Outcome::default() };
    if outcome.done == 0 {
        // Nothing that the slot says otherwise is of this use of it.
        return outcome;
    }
    if let Some(limited) = task.limited.as_ref().filter(|_| is_late(slot, word, task)) {
        return Outcome::error(TaskError::timed_out(limited.limit));
    }
    if task.is_async && slot.failed.load(Ordering::Relaxed) == DROPPED {
        return Outcome::error(TaskError::Cancelled);
    }
    let is_over = until == Until::Over;
    outcome.failed = slot.failed.load(Ordering::Relaxed) != 0;
    outcome.nanoseconds = slot.nanoseconds.load(Ordering::Relaxed);
    let Some(worker_slot) = state.workers.worker_slots.get_mut(word.worker() as usize) else {
        return damaged();
    };
    let len = slot.result_len.load(Ordering::Relaxed);
    match slot.result_offset.load(Ordering::Relaxed) {
        0 if len <= INLINE_RESULT as u64 => {
            // SAFETY: the slot has that many bytes for results.
            outcome.results = unsafe { ResultBytes::copy(slot.result.0.get().cast::<u8>(), len as usize) };
        }
        0 => return damaged(),
        offset => {
            let Some(bytes) =
                worker_slot.region.as_ref().and_then(|region| copy_from_region(region, offset, len, is_over))
            else {
                return damaged();
            };
            outcome.results = bytes;
        }
    }
    if !is_over {
        // What is kept may be for a result that is not there yet; and a block ends the message.
        let kept = worker_slot.kept.iter().filter(|(task, _)| *task == this).map(|(_, handle)| Arc::clone(handle));
        let kept: Vec<_> = kept.collect();
        if !kept.is_empty() {
            outcome.rare().kept = kept;
        }
        return outcome;
    }
    // Not before it was checked: what a worker says may be any number.
    state.metrics.counters.bytes_copied += len;
    if !worker_slot.kept.is_empty() {
        let kept = worker_slot.kept.extract_if(.., |(task, _)| *task == this).map(|(_, handle)| handle);
        let rare = outcome.rare();
        rare.kept.extend(kept);
        state.metrics.counters.bytes_shared += rare.kept.iter().map(|handle| handle.reference().len).sum::<u64>();
    }
    let granted_len = slot.granted_len.load(Ordering::Relaxed);
    if granted_len != 0 && slot.granted_item.load(Ordering::Relaxed) == outcome.done {
        let offset = slot.granted_offset.load(Ordering::Relaxed);
        let wanted = |block: &Block| block.offset() == offset && block.len() >= granted_len;
        match worker_slot.grants.iter().position(wanted) {
            Some(position) => {
                state.metrics.counters.bytes_copied += granted_len;
                outcome.rare().granted = Some((worker_slot.grants.swap_remove(position), granted_len as usize));
            }
            None => return damaged(),
        }
    }
    outcome
}

/// Copies a result out of a worker's region, and tells the worker, if it is over, that it may use that part again.
fn copy_from_region(region: &Block, offset: u64, len: u64, is_over: bool) -> Option<ResultBytes> {
    let within = offset.checked_sub(region.offset())?.checked_sub(region::HEADER)?;
    let end = within.checked_add(region::HEADER)?.checked_add(len)?;
    if end > region.len() || within % region::ALIGNMENT != 0 {
        return None;
    }
    // SAFETY: `within` lies inside the region, which is mapped.
    let header = unsafe { region.start().add(within as usize) };
    // SAFETY: `within + HEADER + len` was just checked to lie inside the region.
    let start = unsafe { header.add(region::HEADER as usize) };
    // SAFETY: `len` bytes from there lie inside the region.
    let bytes = unsafe { ResultBytes::copy(start.as_ptr(), len as usize) };
    // SAFETY: the header lies inside the region and is aligned (regions start at a page, `within` is a multiple of 16).
    let released = unsafe { header.cast::<AtomicU32>().as_ref() };
    if is_over {
        released.store(1, Ordering::Release);
    }
    Some(bytes)
}

/// The outcome of a task whose worker left nonsense.
pub(super) fn damaged() -> Outcome {
    Outcome::error(TaskError::Decode {
        function: "",
        what: "result",
        reason: "a worker process had damaged the memory that it shares with the program".to_owned(),
    })
}
