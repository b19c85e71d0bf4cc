//! What a node knows of requests, while they run and for a while afterwards.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use crate::process;
use crate::remote::task_state::TaskRef;

/// Requests that have ended, or were refused, are remembered for a while: the program may ask.
const REMEMBERED: usize = 100_000;

/// What becomes of requests here.
#[derive(Default)]
pub(super) struct Requests {
    /// Submissions that run. The same request may be in two of them: one that no process wants any more, because its bridge has died, and one from
    /// the next bridge.
    pub(super) submissions: HashMap<u64, Submission>,
    /// Those that are not to be begun, or not to go on.
    pub(super) refused: Recent,
    pub(super) ended: Recent,
}

/// A submission that runs.
#[derive(Default)]
pub(super) struct Submission {
    /// No process wants its reply any more.
    pub(super) dropped: bool,
    /// The messages of each request.
    pub(super) messages: HashMap<u64, Vec<SentPiece>>,
}

impl Requests {
    /// The messages of a request.
    pub(super) fn messages(&self, id: u64) -> impl Iterator<Item = &SentPiece> {
        self.submissions.values().filter_map(move |submission| submission.messages.get(&id)).flatten()
    }
}

/// A message that runs.
#[derive(Clone)]
pub(super) struct SentPiece {
    pub(super) engine: Arc<process::Engine>,
    pub(super) task_state: TaskRef,
}

/// A set of numbers that forgets the oldest.
#[derive(Default)]
pub(super) struct Recent {
    numbers: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    pub(super) fn add(&mut self, number: u64) {
        if self.numbers.insert(number) {
            self.order.push_back(number);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.numbers.remove(&oldest);
        }
    }

    pub(super) fn remove(&mut self, number: u64) {
        // Its place in the order stays, and does no harm.
        self.numbers.remove(&number);
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.numbers.contains(&number)
    }
}
