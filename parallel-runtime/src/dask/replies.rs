//! What comes back from the cluster.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::away::Away;
use super::bridge::Listener;
use super::engine::{Engine, Life, Sent, State, Told, Waiting};
use super::fetching::fetch;
use super::request::Reply;
use super::wire::{Take, to_program};
use crate::error::TaskError;
use crate::remote::outcome::{Left, Outcome, ResultBytes};
use crate::remote::task_state::TaskRef;

/// Why a submission has failed.
const WORKER_DIED: u8 = 2;

/// A bridge that dies more often than this in so short a time is not started again.
const MOST_DEATHS: usize = 3;
const SHORT: Duration = Duration::from_secs(20);

impl Listener for Arc<Engine> {
    fn connected(&self, threads: usize, workers: usize) {
        self.threads.store(threads, Ordering::Relaxed);
        self.lock().workers = workers;
    }

    fn receive(&self, generation: u64, kind: u8, frame: &[u8]) -> bool {
        Engine::receive(self, generation, kind, frame)
    }

    fn bridge_died(&self, generation: u64) {
        Engine::bridge_died(self, generation);
    }
}

impl Engine {
    /// A frame has come from the bridge. False if it says that it ends.
    pub(super) fn receive(self: &Arc<Self>, generation: u64, kind: u8, frame: &[u8]) -> bool {
        let mut frame = Take(frame);
        let mut told = Told::default();
        let mut state = self.lock();
        if state.bridge.as_ref().is_some_and(|bridge| bridge.generation != generation) {
            // Another one has taken its place.
            return true;
        }
        match kind {
            to_program::REPLY => {
                if let Some(submission) = frame.u64() {
                    self.open_reply(&mut state, submission, frame.0, &mut told);
                }
            }
            to_program::STAYS => {
                if let Some(submission) = frame.u64() {
                    self.stays(&mut state, submission, &mut told);
                }
            }
            to_program::FAILED => {
                if let (Some(submission), Some(kind), Some(text)) = (frame.u64(), frame.u8(), frame.text()) {
                    self.fail(&mut state, submission, kind, &text, &mut told);
                }
            }
            to_program::ANSWER => {
                if let Some(number) = frame.u64() {
                    self.answer(&mut state, number, frame.0, &mut told);
                }
            }
            to_program::SIZE => {
                if let (Some(threads), Some(workers)) = (frame.u64(), frame.u64()) {
                    self.threads.store(threads as usize, Ordering::Relaxed);
                    state.workers = workers as usize;
                }
            }
            to_program::GONE => {
                let reason = frame.text().unwrap_or_default();
                state.bridge = None;
                let told = self.end_all(&mut state, &|| self.lost(&reason));
                drop(state);
                self.changed.notify_all();
                self.tell(told);
                return false;
            }
            _ => {}
        }
        self.free_blobs(&mut state);
        self.pump(&mut state);
        drop(state);
        self.changed.notify_all();
        self.tell(told);
        true
    }

    /// The bridge is gone, and has not said why.
    pub(super) fn bridge_died(self: &Arc<Self>, generation: u64) {
        let mut state = self.lock();
        if state.bridge.as_ref().is_none_or(|bridge| bridge.generation != generation) {
            return;
        }
        state.bridge = None;
        state.no_answer_comes();
        let now = Instant::now();
        state.deaths.push_back(now);
        state.deaths.retain(|death| now.duration_since(*death) < SHORT);
        let too_often = state.deaths.len() > MOST_DEATHS;
        let idle = state.waiting.is_empty() && state.sent.is_empty();
        drop(state);
        self.changed.notify_all();
        if idle {
            // The next call starts another one.
            return;
        }
        let reason = if too_often {
            Some("its bridge, a Python process, has died several times".to_owned())
        } else {
            self.start().err().map(|error| format!("its bridge, a Python process, has died, and {error}"))
        };
        if let Some(reason) = reason {
            let mut state = self.lock();
            let told = self.end_all(&mut state, &|| self.lost(&reason));
            drop(state);
            self.changed.notify_all();
            self.tell(told);
        }
    }

    fn open_reply(&self, state: &mut State, submission: u64, bytes: &[u8], told: &mut Told) {
        let Some(sent) = state.take_submission(submission) else { return };
        let away = sent.away.as_ref().and_then(|away| away.upgrade());
        told.1.extend(away.clone());
        let mut replies = Reply::all(bytes).unwrap_or_default();
        for request in sent.requests {
            let position = replies.iter().position(|reply| reply.id == request.id);
            let outcome = match position.map(|position| replies.swap_remove(position)) {
                Some(reply) => {
                    state.saw(request.request.entry, reply.done, reply.nanoseconds);
                    outcome(reply, request.request.marks).limited(self.options.result_limit)
                }
                None => Outcome::error(self.lost("a worker has sent something that is not a reply to a request")),
            };
            match (&away, &sent.away) {
                (Some(away), _) => told.2.extend(away.arrive(outcome)),
                // Its task has ended before, and no process wants the result.
                (None, Some(_)) => {}
                (None, None) => self.finish(state, &request.task_state, outcome, told),
            }
        }
    }

    /// The reply is large, and waits on the cluster. Its task has ended, and well.
    fn stays(self: &Arc<Self>, state: &mut State, submission: u64, told: &mut Told) {
        let Some(sent) = state.sent.get_mut(&submission) else { return };
        if let Some(away) = sent.away.as_ref().and_then(|away| away.upgrade()) {
            // It was run again, because a bridge has died. A thread may wait for it.
            if away.is_wanted()
                && let Some(bridge) = &state.bridge
            {
                bridge.send(fetch(submission));
            }
            told.1.push(away);
            return;
        }
        if sent.away.is_some() {
            // No process wants it: the process that dropped it says so.
            return;
        }
        let away = Away::new(Arc::clone(self) as _, submission);
        sent.away = Some(Arc::downgrade(&away));
        // The task has the outcome, which has what is away: the submission must not have the task.
        let take = |request: &mut Waiting| (request.id, std::mem::replace(&mut request.task_state, TaskRef::new(None)));
        let task_states: Vec<_> = sent.requests.iter_mut().map(take).collect();
        for (id, task_state) in task_states {
            state.submission_of.remove(&id);
            let mut outcome =
                Outcome { done: 1, is_far: true, ..Outcome::default() }.limited(self.options.result_limit);
            let rare = outcome.rare();
            rare.away = Some(Arc::clone(&away) as _);
            if !task_state.is_finished() {
                self.finish(state, &task_state, outcome, told);
            }
        }
        // Dropped only without the lock: it may be the last.
        told.1.push(away);
    }

    fn fail(&self, state: &mut State, submission: u64, kind: u8, text: &str, told: &mut Told) {
        let Some(sent) = state.take_submission(submission) else { return };
        let error = || {
            if kind == WORKER_DIED {
                TaskError::WorkerDied {
                    function: "",
                    pid: 0,
                    signal: None,
                    exit_code: None,
                    reason: text.to_owned(),
                    stderr: None,
                    tries: 1,
                    saved: None,
                }
            } else {
                self.lost(text)
            }
        };
        if let Some(away) = &sent.away {
            if let Some(away) = away.upgrade() {
                told.2.extend(away.arrive(Outcome::error(error())));
                told.1.push(away);
            }
            return;
        }
        if kind == WORKER_DIED && sent.requests.len() > 1 && state.life != Life::Stopped {
            // One of them was at fault: alone it shows which.
            for mut request in sent.requests.into_iter().rev().filter(|request| !request.task_state.is_finished()) {
                request.alone = true;
                state.waiting.push_front(request);
            }
            return;
        }
        for request in sent.requests {
            let mut outcome = Outcome::error(error());
            // One of its items was at fault: alone it shows which.
            outcome.rare().apart = kind == WORKER_DIED && request.request.items > 1;
            self.finish(state, &request.task_state, outcome, told);
        }
    }
}

/// What the program makes of a reply.
fn outcome(reply: Reply, marks: Vec<u64>) -> Outcome {
    let Reply { done, failed, nanoseconds, results, error, arguments, .. } = reply;
    let results = ResultBytes::Large(results.into_boxed_slice());
    let mut outcome = Outcome { done, failed, is_far: true, results, nanoseconds, rare: None };
    let rare = outcome.rare();
    rare.error = error;
    rare.arguments = arguments.map(|arguments| Left::Private(arguments, marks));
    outcome
}

impl State {
    /// Takes a submission that is under way no more.
    fn take_submission(&mut self, submission: u64) -> Option<Sent> {
        let sent = self.sent.remove(&submission)?;
        for request in &sent.requests {
            self.submission_of.remove(&request.id);
        }
        Some(sent)
    }

    /// The same, when no process wants it. False if there is none.
    pub(super) fn forget_submission(&mut self, submission: u64) -> bool {
        self.take_submission(submission).is_some()
    }

    /// So many items of a function have taken so long.
    fn saw(&mut self, entry: u64, items: u32, nanoseconds: u64) {
        if items == 0 {
            return;
        }
        let each = (nanoseconds as f64 / f64::from(items)).max(1.0);
        self.rates.entry(entry).and_modify(|rate| *rate = 0.5 * (*rate + each)).or_insert(each);
    }
}
