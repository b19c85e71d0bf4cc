//! The configuration of a pool's state, on its way to the nodes: it goes with each submission.

use std::sync::Arc;

use super::wire::{Put, Take};
use crate::codec::Reader;
use crate::error::TaskError;
use crate::function::pool_state::{self, PoolState};
use crate::shared::handle_table::{self, Origin};

/// An encoded configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct SentState {
    /// What decodes it, as an offset in the executable; 0 if the pool has no state.
    entry: u64,
    bytes: Vec<u8>,
}

/// Why it cannot be sent, or read back.
fn refused(how: &str, why: &dyn std::fmt::Display) -> TaskError {
    TaskError::Spawn(std::io::Error::other(format!("the configuration of `state_with` cannot be {how}: {why}")))
}

impl SentState {
    pub(super) fn new(state: &PoolState) -> Result<Self, TaskError> {
        let entry = state.entry().map_err(|error| refused("sent to the cluster", &error))?;
        let bytes = handle_table::encode_contents(|writer| state.send(writer))
            .map_err(|error| refused("sent to the cluster", &error))?;
        Ok(Self { entry, bytes })
    }

    pub(super) fn put(&self, submission: &mut Put) {
        submission.u64(self.entry).bytes(&self.bytes);
    }

    pub(super) fn take(submission: &mut Take<'_>) -> Option<Self> {
        Some(Self { entry: submission.u64()?, bytes: submission.bytes()?.to_vec() })
    }

    /// Node: the state, if there is one.
    pub(super) fn read(&self) -> Result<Option<Arc<PoolState>>, TaskError> {
        if self.entry == 0 {
            return Ok(None);
        }
        // SAFETY: the program has it from `PoolState::entry`, and runs the same executable.
        let receive = unsafe { pool_state::receive_at(self.entry) };
        // SAFETY: the bytes live as long as the reader, and only copies are made from it.
        let reader = unsafe { Reader::from_raw(self.bytes.as_ptr(), self.bytes.len()) };
        let state = receive(&mut reader.receiving(Origin::Far.source()));
        state.map(|state| Some(Arc::new(state))).map_err(|error| refused("read back", &error))
    }
}
