//! Waiting for workers: a short spin, then giving the processor away, then sleep.
//!
//! Waking a sleeping core costs about 40 µs, whatever the mechanism; spinning long makes things worse where both sides share a
//! core. 50 spins, then up to 100 `sched_yield`, then a futex was the best of both when measured.

use std::sync::atomic::Ordering;
use std::time::Instant;

use super::board::meeting;
use super::board::word::State as SlotState;
use super::engine::Engine;
use super::futex;
use super::ticket::{Outcome, Phase, Ticket};

pub(super) const SPINS: u32 = 50;
pub(super) const YIELDS: u32 = 100;

/// Spins, then yields. False if `done` was not true by the end.
pub(super) fn spin(mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..SPINS {
        if done() {
            return true;
        }
        std::hint::spin_loop();
    }
    for _ in 0..YIELDS {
        if done() {
            return true;
        }
        std::thread::yield_now();
    }
    done()
}

fn passed(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

impl Engine {
    /// Waits for a task, at most until `deadline`, and takes its outcome.
    pub(crate) fn wait(&self, ticket: &Ticket, deadline: Option<Instant>) -> Option<Outcome> {
        loop {
            match ticket.phase() {
                Phase::Finished => return ticket.take_outcome(),
                _ if passed(deadline) => {
                    // One last look at what nobody may have collected.
                    self.collect_done();
                    return ticket.take_outcome();
                }
                Phase::Queued => {
                    let mut state = self.lock();
                    self.harvest(&mut state);
                    self.refill(&mut state);
                    drop(state);
                    ticket.sleep_while_queued(deadline);
                }
                Phase::Boarded { slot, generation } => self.wait_for_slot(ticket, slot, generation, deadline),
            }
        }
    }

    /// Waits until a slot's task is done, or somebody else has collected it, or a while has passed.
    fn wait_for_slot(&self, ticket: &Ticket, index: u32, generation: u64, deadline: Option<Instant>) {
        let slot = self.board().slot(index);
        let over = || {
            let word = slot.load();
            matches!(word.state(), SlotState::Done | SlotState::Free)
                || word.generation() != generation
                || ticket.is_finished()
        };
        if !spin(over)
            && let Some(seen) = meeting::announce(&slot.word, generation, &slot.waiter)
            && !ticket.is_finished()
        {
            futex::wait(slot.futex(), seen.0 as u32, deadline);
        }
        let mut state = self.lock();
        if !ticket.is_finished() && self.harvest_slot(&mut state, index) {
            self.refill(&mut state);
        }
    }

    /// Waits until `done`, which collects results and looks, is true.
    pub(crate) fn wait_until(&self, mut done: impl FnMut() -> bool) {
        self.wait_until_deadline(None, &mut done);
    }

    pub(crate) fn wait_until_deadline(&self, deadline: Option<Instant>, done: &mut dyn FnMut() -> bool) -> bool {
        loop {
            if spin_gently(done) {
                return true;
            }
            let header = self.board().header();
            header.done_waiters.0.fetch_add(1, Ordering::SeqCst);
            let seen = header.done_count.0.load(Ordering::SeqCst);
            let over = done();
            if !over {
                futex::wait(&header.done_count.0, seen, deadline);
            }
            header.done_waiters.0.fetch_sub(1, Ordering::SeqCst);
            if over || done() {
                return true;
            }
            if passed(deadline) {
                return false;
            }
        }
    }

    /// Collects what is done, for a thread that waits for several tasks.
    pub(crate) fn collect_done(&self) {
        let mut state = self.lock();
        if self.harvest(&mut state) > 0 {
            self.refill(&mut state);
            drop(state);
            self.notify_waiters();
        }
    }
}

/// Like [`spin`], for a look that takes a lock: fewer of them.
fn spin_gently(done: &mut dyn FnMut() -> bool) -> bool {
    for _ in 0..YIELDS / 4 {
        if done() {
            return true;
        }
        std::thread::yield_now();
    }
    false
}
