//! What workers are told of the values that they keep. What functions keep by themselves is code, and travels as an offset in the executable.

use std::io;
use std::sync::Arc;

use super::engine::Engine;
use super::sent_state::SentState;
use super::state::State;
use super::state::functions::MOST_KEPT;
use super::state::workers::Failure;
use crate::function::init;
use crate::options::Keep;
use crate::shared::Arena;

impl Engine {
    /// What a new worker is told of the pool's state.
    pub(super) fn sent_state(&self, arena: &Arc<Arena>) -> io::Result<Option<&SentState>> {
        let Some(state) = &self.kept else { return Ok(None) };
        let sent = self.state_to_send.get_or_init(|| SentState::new(arena, state).map_err(|error| Failure::of(&error)));
        sent.as_ref().map(Some).map_err(Failure::to_error)
    }

    /// A function of this pool keeps something.
    pub(super) fn note_keep(&self, state: &mut State, keep: Keep) {
        state.limits.may_make_state = true;
        if self.options.sandbox.is_some()
            && let Ok(offset) = init::keep_offset_of(keep)
        {
            state.workers.note_keep(offset);
        }
    }

    /// What a new worker makes at once, as offsets in the executable: what all functions of the pool keep; in a sandbox what is known of others, too.
    pub(super) fn kept_at_once(&self, state: &State) -> io::Result<[u64; MOST_KEPT]> {
        let mut offsets = state.workers.keeps;
        if let Some(keep) = self.options.state {
            offsets[0] = init::keep_offset_of(keep)?;
        }
        Ok(offsets)
    }
}
