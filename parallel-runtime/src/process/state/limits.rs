//! The time limits of tasks on the board.

use std::time::Instant;

use super::slots::Slots;

/// Tasks that are looked at, and when.
pub(in crate::process) struct Limits {
    /// Slots whose tasks have a time limit, and some that had one.
    pub(in crate::process) limited: Vec<(u32, u64)>,
    /// When the first of them may be over it, in nanoseconds of the monotonic clock.
    pub(in crate::process) next_look: u64,
    /// Tasks that their workers were asked to drop, and until when.
    pub(in crate::process) dismissed: Vec<(u32, u64, Instant)>,
    /// Functions of the pool keep values, whose making is not their tasks' time.
    pub(in crate::process) may_make_state: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { limited: Vec::new(), next_look: u64::MAX, dismissed: Vec::new(), may_make_state: false }
    }
}

impl Limits {
    /// Forgets tasks that have ended.
    pub(in crate::process) fn drop_old(&mut self, slots: &Slots) {
        self.limited.retain(|(index, generation)| {
            slots.in_flight[*index as usize].is_some() && slots.generations[*index as usize] == *generation
        });
    }
}
