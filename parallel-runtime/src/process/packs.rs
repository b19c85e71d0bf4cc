//! Messages of several tasks: how they get onto the board, and how their tasks leave it. What they are is in [`pack`](super::state::pack).
//!
//! A task waits for those of its message that come before it, which are expected to be short. If one of them is not, the supervisor takes back what the
//! worker has not begun, and gives out the results that are there: so a task is late by [`HELD`] at most for having travelled with others.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::state::pack::Pack;
use super::state::queue::Entry;
use super::state::{InFlight, State, Tasks};
use crate::error::TaskError;
use crate::function::code;
use crate::ipc::board::word::{State as SlotState, Word};
use crate::remote::outcome::{Outcome, ResultBytes};
use crate::remote::task_state::TaskRef;
use crate::shared::Block;

/// How often the supervisor looks after what waits in the program.
const LOOK: Duration = Duration::from_micros(500);

/// After so many looks at nothing it is told when there is something.
const IDLE_LOOKS: u32 = 4;

/// For how long a worker keeps the tasks of a message that it has not begun.
pub(super) const HELD: Duration = Duration::from_millis(5);

/// Packs on the board for each worker: enough for it until the next look.
const PACKS: usize = 32;

/// What became of the tasks of a message: of those that have a result, and of the one that was to be next.
struct Shares {
    outcome: Outcome,
    /// Where the next result begins.
    at: usize,
    next: u32,
}

impl Shares {
    fn new(outcome: Outcome) -> Self {
        Self { outcome, at: 0, next: 0 }
    }

    /// That of the next task, as if it had travelled alone.
    #[inline(always)]
    fn next(&mut self) -> Option<Outcome> {
        let item = self.next;
        self.next += 1;
        if self.outcome.rare.is_none() && item < self.outcome.done {
            return Some(self.result().unwrap_or_default());
        }
        self.next_rare(item)
    }

    #[cold]
    fn next_rare(&mut self, item: u32) -> Option<Outcome> {
        let granted = self.outcome.rare.as_ref().is_some_and(|rare| rare.granted.is_some());
        if item + u32::from(granted) < self.outcome.done {
            return Some(self.result().unwrap_or_default());
        }
        if item < self.outcome.done {
            let granted = self.outcome.rare().granted.take()?;
            let mut outcome = self.share(code_of(&granted), &[]);
            outcome.rare().granted = Some(granted);
            return Some(outcome);
        }
        (item == self.outcome.done).then(|| self.outcome.take_error().map(Outcome::error)).flatten()
    }

    /// The next of those that lie together. `None` where a worker has left nonsense.
    #[inline(always)]
    fn result(&mut self) -> Option<Outcome> {
        let rest = self.outcome.results.as_slice().get(self.at..)?;
        let [code, a, b, c, d] = *rest.first_chunk::<{ code::HEADER }>()?;
        let len = code::HEADER.checked_add(u32::from_ne_bytes([a, b, c, d]) as usize)?;
        let share = self.share(code, rest.get(..len)?);
        self.at += len;
        Some(share)
    }

    #[inline(always)]
    fn share(&self, code: u8, result: &[u8]) -> Outcome {
        let is_far = self.outcome.is_far;
        let (failed, results) = (code != code::VALUE, ResultBytes::from(result));
        // How long each took is not known.
        let mut outcome = Outcome { done: 1, failed, is_far, results, nanoseconds: 0, rare: None };
        let Some(rare) = &self.outcome.rare else { return outcome };
        if !rare.kept.is_empty() {
            // Nothing here knows which result has which handle.
            outcome.rare().kept.clone_from(&rare.kept);
        }
        outcome.limited(rare.result_limit)
    }
}

/// What a result in a block of its own is.
fn code_of((block, len): &(Block, usize)) -> u8 {
    // SAFETY: the block is mapped, and as long as was checked: a byte at least.
    if *len == 0 { code::VALUE } else { unsafe { block.start().read_volatile() } }
}

impl Engine {
    /// Moves messages from the queue onto the board.
    #[inline(always)]
    pub(super) fn refill(&self, state: &mut State) {
        if !state.queue.is_empty() {
            self.move_to_board(state);
        }
    }

    fn move_to_board(&self, state: &mut State) {
        for is_async in [false, true] {
            while let Some(is_pack) = state.queue.of(is_async).front_is_pack() {
                let most = if is_pack { PACKS * self.workers } else { usize::MAX };
                let Some(slot) = self.place(state, is_async, most) else { break };
                match state.queue.of(is_async).pop_front() {
                    Some(Entry::One(task, message)) => self.publish(state, slot, Tasks::One(task), message),
                    Some(Entry::Pack(pack)) => {
                        if !self.publish_pack(state, slot, pack) {
                            state.slots.free.push(slot);
                            continue;
                        }
                    }
                    None => state.slots.free.push(slot),
                }
                self.board().wake_one();
            }
        }
    }

    /// False if there is nothing to publish: its tasks are back in the queue, each alone, or have ended.
    fn publish_pack(&self, state: &mut State, slot: u32, mut pack: Box<Pack>) -> bool {
        pack.compact();
        if pack.len() == 1
            && let Some((task, message)) = pack.take_alone(0)
        {
            self.publish(state, slot, Tasks::One(task), message);
            return true;
        }
        let arena = &self.memory.get().expect("there is a board").arena;
        match pack.to_message(arena) {
            Ok(message) if !pack.is_over() => {
                self.publish(state, slot, Tasks::Pack(pack), message);
                true
            }
            _ => {
                Self::queue_each(state, &mut pack, |_| true);
                false
            }
        }
    }

    /// Puts the tasks of a pack in front of the queue, each alone, where `is_here` says so.
    fn queue_each(state: &mut State, pack: &mut Pack, is_here: impl Fn(usize) -> bool) {
        for item in (0..pack.len()).rev() {
            if pack.has(item)
                && is_here(item)
                && let Some((task, message)) = pack.take_alone(item)
            {
                task.requeue();
                state.queue.calls.push_front(Entry::One(task, message));
            }
        }
    }

    /// A message of several tasks is off the board: those that have a result end with it, one may end with an error, and the others wait for
    /// another worker.
    pub(super) fn settle_pack(state: &mut State, mut pack: Box<Pack>, outcome: Outcome) {
        let mut shares = Shares::new(outcome);
        let mut ended = 0;
        while let Some(share) = shares.next() {
            if let Some(task) = pack.take(ended) {
                end(state, &task, share);
            }
            ended += 1;
        }
        if ended == 0
            && let Some(task) = (0..pack.len()).find_map(|item| pack.take(item))
        {
            // A worker leaves tasks to the next one only after it has run some: so this ends.
            end(state, &task, Outcome::default());
        }
        if !pack.is_over() {
            pack.compact();
            pack.requeue();
            state.queue.calls.push_front(Entry::Pack(pack));
        }
    }

    /// Ends the tasks of a message that have a result, and takes back those that its worker has not begun.
    pub(super) fn divide(&self, state: &mut State, index: u32) {
        let (slot, position) = (self.board().slot(index), index as usize);
        let word = slot.load();
        if word.state() != SlotState::Claimed || word.generation() != state.slots.generations[position] {
            return;
        }
        let Some(mut task) = state.slots.in_flight[position].take_if(|task| task.is_pack()) else { return };
        let so_far = self.results_so_far(state, index, word, &task);
        if let Tasks::Pack(pack) = &mut task.tasks {
            let mut shares = Shares::new(so_far);
            // Nonsense is for the end of the message.
            let ended = std::iter::from_fn(|| shares.next().filter(|share| share.done == 1));
            for (item, share) in ended.enumerate() {
                if let Some(task) = pack.take(item) {
                    end(state, &task, share);
                }
            }
            Self::queue_each(state, pack, |item| slot.begin(item));
        }
        task.held = None;
        state.slots.in_flight[position] = Some(task);
        self.wake_waiter(index);
    }

    /// Cancels a task of a message on the board, if it has not begun.
    pub(super) fn cancel_packed(&self, state: &mut State, index: u32, task_state: &TaskRef) -> bool {
        let slot = self.board().slot(index);
        let Some(InFlight { tasks: Tasks::Pack(pack), .. }) = &mut state.slots.in_flight[index as usize] else {
            return false;
        };
        let item = pack.position(task_state).filter(|item| slot.begin(*item));
        let Some(task) = item.and_then(|item| pack.take(item)) else { return false };
        let is_over = pack.is_over();
        end(state, &task, Outcome::error(TaskError::Cancelled));
        let generation = state.slots.generations[index as usize];
        let (ready, free) = (Word::ready(generation).0, Word::free(generation).0);
        if is_over && slot.word.compare_exchange(ready, free, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // It need not get to a worker.
            self.finish_with(state, index, |_, _| Outcome::default());
            self.refill(state);
        } else {
            self.wake_waiter(index);
        }
        true
    }

    /// Supervisor: looks after what waits in the program, where no thread may, and after messages whose workers are held up. Gives when to look
    /// again.
    pub(super) fn attend_queue(&self, state: &mut State, now: Instant) -> Option<Instant> {
        if !state.queue.attended {
            return None;
        }
        // Not at once: more may be added to what has just begun to wait.
        let next = *state.queue.next_look.get_or_insert(now + LOOK);
        if next > now {
            return Some(next);
        }
        // Threads that wait collect, and are woken for it.
        if !state.reactor && self.done_waiters.load(Ordering::Relaxed) == 0 {
            self.collect(state);
        }
        self.refill(state);
        let mut packs = std::mem::take(&mut state.slots.packs);
        packs.retain(|(index, generation)| {
            let is_there = state.slots.generations[*index as usize] == *generation;
            let task = state.slots.in_flight[*index as usize].as_mut().filter(|task| is_there && task.is_pack());
            let Some(task) = task else { return false };
            if self.board().slot(*index).load().state() != SlotState::Claimed {
                task.held = None;
            } else if now - *task.held.get_or_insert(now) >= HELD {
                self.divide(state, *index);
            }
            true
        });
        // What `divide` has put into the queue.
        self.refill(state);
        packs.append(&mut state.slots.packs);
        state.slots.packs = packs;
        let has_nothing = state.queue.is_empty() && state.slots.packs.is_empty();
        state.queue.idle_looks = if has_nothing { state.queue.idle_looks + 1 } else { 0 };
        state.queue.attended = state.queue.idle_looks < IDLE_LOOKS;
        state.queue.next_look = state.queue.attended.then(|| now + LOOK);
        state.queue.next_look
    }
}

#[inline(always)]
fn end(state: &mut State, task: &TaskRef, outcome: Outcome) {
    state.end(task, outcome, None, None, None);
}
