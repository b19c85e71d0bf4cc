//! Questions about requests, which all nodes are asked.

use std::sync::PoisonError;

use super::bridge::Frame;
use super::engine::{Engine, State, Told};
use super::question::Question;
use super::wire::{Put, question, to_bridge};
use crate::error::TaskError;
use crate::remote::outcome::Outcome;
use crate::remote::task_state::TaskRef;
use crate::sys::fork;

impl State {
    /// The process that was asked is gone.
    pub(super) fn no_answer_comes(&mut self) {
        self.questions.retain(|_, question| question.task_states.is_none());
        self.questions.values_mut().for_each(|question| _ = question.answer.get_or_insert(false));
    }
}

impl Engine {
    /// Takes a request back that waits here.
    fn take_back(&self, state: &mut State, task_state: &TaskRef, told: &mut Told) -> bool {
        let id = task_state.request();
        let Some(position) = state.waiting.iter().position(|request| request.id == id) else { return false };
        let request = state.waiting.remove(position);
        self.finish(state, task_state, Outcome::error(TaskError::Cancelled), told);
        drop(request);
        true
    }

    /// Asks all nodes about requests. `None` if there is no node to ask.
    fn ask(&self, state: &mut State, kind: u8, ids: &[u64], task_states: Option<Vec<TaskRef>>) -> Option<u64> {
        state.bridge.as_ref()?;
        let number = state.number();
        let mut head = Put::default();
        head.u64(number).u8(kind).u32(ids.len() as u32);
        ids.iter().for_each(|id| _ = head.u64(*id));
        state.questions.insert(number, Question { answer: None, task_states });
        if let Some(bridge) = &state.bridge {
            bridge.send(Frame { kind: to_bridge::ASK, head: head.0, body: Vec::new() });
        }
        Some(number)
    }

    /// Asks about one request, and waits for the answer.
    fn ask_and_wait(&self, kind: u8, task_state: &TaskRef) -> bool {
        let mut state = self.lock();
        if task_state.is_finished() {
            return false;
        }
        let Some(number) = self.ask(&mut state, kind, &[task_state.request()], None) else { return false };
        loop {
            if let Some(answer) = state.questions.get(&number).and_then(|question| question.answer) {
                state.questions.remove(&number);
                return answer;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// An answer has come.
    pub(super) fn answer(&self, state: &mut State, number: u64, answers: &[u8], told: &mut Told) {
        let Some(question) = state.questions.get_mut(&number) else { return };
        question.answer = Some(answers.first() == Some(&1));
        if let Some(task_states) = question.task_states.take() {
            state.questions.remove(&number);
            for (task_state, _) in task_states.iter().zip(answers).filter(|(_, answer)| **answer == 1) {
                self.end(state, task_state, told);
            }
        }
    }

    /// A request that is under way will not be run.
    fn end(&self, state: &mut State, task_state: &TaskRef, told: &mut Told) {
        self.finish(state, task_state, Outcome::error(TaskError::Cancelled), told);
        let Some(submission) = state.submission_of.get(&task_state.request()).copied() else { return };
        let over = state
            .sent
            .get(&submission)
            .is_some_and(|sent| sent.requests.iter().all(|one| one.task_state.is_finished()));
        if over
            && state.forget_submission(submission)
            && let Some(bridge) = &state.bridge
        {
            let mut head = Put::default();
            head.u64(submission);
            bridge.send(Frame { kind: to_bridge::FORGET, head: head.0, body: Vec::new() });
        }
    }

    /// Keeps a task from running, if it has not started. True if it will never run.
    pub(crate) fn cancel(&self, task_state: &TaskRef) -> bool {
        self.end_by(question::CANCEL, task_state)
    }

    /// Ends a task, whether it has started or not.
    pub(crate) fn kill_task(&self, task_state: &TaskRef) -> bool {
        self.end_by(question::KILL, task_state)
    }

    fn end_by(&self, kind: u8, task_state: &TaskRef) -> bool {
        if fork::check().is_err() {
            return false;
        }
        let mut told = Told::default();
        let taken = {
            let mut state = self.lock();
            !task_state.is_finished() && self.take_back(&mut state, task_state, &mut told)
        };
        let ended = taken || self.ask_and_wait(kind, task_state);
        if ended && !taken {
            let mut state = self.lock();
            self.end(&mut state, task_state, &mut told);
            self.pump(&mut state);
        }
        self.tell(told);
        ended
    }

    /// Keeps requests from running, where no process asks whether it came in time.
    pub(crate) fn cancel_some<'t>(&self, task_states: impl Iterator<Item = &'t TaskRef>) {
        if fork::check().is_err() {
            return;
        }
        let mut told = Told::default();
        let mut state = self.lock();
        let mut under_way = Vec::new();
        for task_state in task_states {
            if !task_state.is_finished() && !self.take_back(&mut state, task_state, &mut told) {
                under_way.push(task_state.clone());
            }
        }
        if !under_way.is_empty() {
            let ids: Vec<u64> = under_way.iter().map(|task_state| task_state.request()).collect();
            self.ask(&mut state, question::CANCEL, &ids, Some(under_way));
        }
        drop(state);
        self.tell(told);
    }

    /// Whether a worker is running a task now.
    pub(crate) fn is_running(&self, task_state: &TaskRef) -> bool {
        fork::check().is_ok() && self.ask_and_wait(question::RUNNING, task_state)
    }
}
