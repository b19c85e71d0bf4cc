//! What the program does about a board that a worker may have written over.
//!
//! A worker can write anything anywhere on the board: because a bug in a C library runs wild before it crashes, or because
//! untrusted input has taken the process over. The program keeps its own books of what is on the board, and compares:
//! after each death, and whenever a thread has waited for a second.
//!
//! * A slot whose word is none that the protocol allows ends its task as damaged.
//! * A slot that says it is claimed by a worker which does not exist, or (twice in a row) by one that says it runs something
//!   else, ends its task as damaged.
//! * The ring is mended, and all workers are woken, so that a task which waits to be claimed is claimed.
//!
//! So a dead worker holds nothing up. One that lives and writes on can still delay tasks, or change their arguments and results:
//! see `docs/safety.md`.

use std::sync::atomic::Ordering;

use super::board::word::{State as SlotState, Word};
use super::engine::{Engine, State};
use super::harvest::damaged;
use super::seat::Occupant;
use super::supervisor::Supervisor;

impl Engine {
    /// Compares the board with the program's books.
    pub(super) fn audit(&self, state: &mut State) {
        let board = self.board();
        let before = std::mem::take(&mut state.suspects);
        let mut ready = Vec::new();
        for index in 0..state.in_flight.len() as u32 {
            let position = index as usize;
            if state.in_flight[position].is_none() {
                continue;
            }
            let generation = state.generations[position];
            if self.end_if_impossible(state, index, generation) {
                continue;
            }
            let word = board.slot(index).load();
            match word.state() {
                SlotState::Ready => ready.push((index, generation)),
                SlotState::Claimed => {
                    let runs = board.record(word.worker()).running.load(Ordering::Relaxed);
                    let says = (generation & 0xffff_ffff_ffff) << 16 | u64::from(index);
                    // Between its claim and what it says about it a worker may be held up.
                    if runs == says {
                    } else if before.contains(&(index, word)) {
                        self.finish_with(state, index, |_, _| damaged());
                    } else {
                        state.suspects.push((index, word));
                    }
                }
                SlotState::Done | SlotState::Free => {}
            }
        }
        board.ring().mend(&mut state.place, &ready, |slot| board.word(slot));
    }

    /// Ends a task whose slot says what it cannot say. True if it did.
    pub(super) fn end_if_impossible(&self, state: &mut State, index: u32, generation: u64) -> bool {
        let position = index as usize;
        if state.in_flight[position].is_none() || state.generations[position] != generation {
            return false;
        }
        let word = self.board().slot(index).load();
        let possible = word.generation() == Word::ready(generation).generation()
            && match word.state() {
                SlotState::Free => false,
                SlotState::Ready => word == Word::ready(generation),
                SlotState::Claimed | SlotState::Done => state
                    .seats
                    .get(word.worker() as usize)
                    .is_some_and(|seat| word.state() == SlotState::Done || !matches!(seat.occupant, Occupant::Nobody)),
            };
        if !possible {
            self.finish_with(state, index, |_, _| damaged());
        }
        !possible
    }

    /// What a thread does that has waited for long: something may have gone wrong that nobody else notices.
    pub(super) fn look_after(&self) {
        if let Some(supervisor) = Supervisor::running()
            && !supervisor.is_sound()
        {
            supervisor.give_everything_up();
            return;
        }
        let mut state = self.lock();
        self.harvest(&mut state);
        self.audit(&mut state);
        self.refill(&mut state);
        drop(state);
        self.board().wake_all();
        self.notify_waiters();
    }
}
