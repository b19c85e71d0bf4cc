//! What a node knows, and its answers.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::requests::{Requests, SentPiece};
use crate::dask::sent_state::SentState;
use crate::dask::wire::{self, Take, question};
use crate::error::TaskError;
use crate::options::{CallOptions, WorkerKey, WorkerOptions};
use crate::panics;
use crate::process::Engine;
use crate::sys::exit;

/// A node.
pub(super) struct Node {
    pub(super) output: Mutex<File>,
    pub(super) workers: usize,
    pub(super) requests: Mutex<Requests>,
    /// How long an item of a function takes, in nanoseconds.
    pub(super) rates: Mutex<HashMap<u64, f64>>,
    /// Worker processes, by what they are told.
    pub(super) engines: Mutex<HashMap<(WorkerKey, SentState), Arc<Engine>>>,
}

impl Node {
    pub(super) fn write(&self, kind: u8, frame: &[u8]) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let written = output.write_all(&wire::head(kind, frame.len())).and_then(|()| output.write_all(frame));
        if written.is_err() {
            // Nothing reads: the Dask worker is gone.
            exit::now(0);
        }
    }

    pub(super) fn requests(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No process wants the reply to a submission.
    pub(super) fn drop_submission(&self, number: u64) {
        let mut requests = self.requests();
        let Some(submission) = requests.submissions.get_mut(&number) else { return };
        submission.dropped = true;
        let messages: Vec<SentPiece> = submission.messages.values().flatten().cloned().collect();
        drop(requests);
        messages.iter().for_each(|piece| _ = piece.engine.kill_task(&piece.task_state));
    }

    /// Answers a question, for each request.
    pub(super) fn answer(&self, frame: &[u8]) -> Vec<u8> {
        let mut frame = Take(frame);
        let (Some(kind), Some(count)) = (frame.u8(), frame.u32()) else { return Vec::new() };
        let ids = (0..count).map_while(|_| frame.u64());
        let answer = |id| match kind {
            question::CANCEL | question::KILL => self.end_request(id, kind == question::KILL),
            question::RUNNING => self.requests().messages(id).any(|piece| piece.engine.is_running(&piece.task_state)),
            question::ALLOW => {
                self.requests().refused.remove(id);
                true
            }
            _ => false,
        };
        ids.map(|id| u8::from(answer(id))).collect()
    }

    /// Keeps a request from being begun; or ends it, if it is to be killed. Whether it has not been begun, or was killed.
    pub(super) fn end_request(&self, id: u64, kill: bool) -> bool {
        let mut requests = self.requests();
        if requests.ended.has(id) {
            return false;
        }
        requests.refused.add(id);
        let messages: Vec<SentPiece> = requests.messages(id).cloned().collect();
        drop(requests);
        let mut all = true;
        for SentPiece { engine, task_state } in messages {
            let ended = if kill { engine.kill_task(&task_state) } else { engine.cancel(&task_state) };
            // Nothing of it has begun, or all of it is ended.
            all &= ended || (kill && task_state.is_finished());
        }
        all
    }

    /// The worker processes with these options and this state.
    pub(super) fn engine(&self, options: WorkerOptions, state: &SentState) -> Result<Arc<Engine>, TaskError> {
        let key = (options.key(), state.clone());
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(engine) = engines.get(&key) {
            return Ok(Arc::clone(engine));
        }
        drop(engines);
        // Not under the lock: it is code of the user's that decodes it.
        let kept = panics::catch(|| state.read()).unwrap_or_else(|caught| Err(caught.into_error("state_with")))?;
        engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Engine::new(self.workers, options, kept, CallOptions::NONE);
        Ok(Arc::clone(engines.entry(key).or_insert_with(make)))
    }

    pub(super) fn rate(&self, entry: u64) -> Option<f64> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).get(&entry).copied()
    }

    pub(super) fn saw(&self, entry: u64, items: u32, nanoseconds: u64) {
        if items > 0 {
            let each = (nanoseconds as f64 / f64::from(items)).max(1.0);
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            rates.entry(entry).and_modify(|rate| *rate = 0.5 * (*rate + each)).or_insert(each);
        }
    }
}
