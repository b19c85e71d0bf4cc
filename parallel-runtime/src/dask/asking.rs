//! Questions about letters, which all nodes are asked.

use std::sync::{Arc, PoisonError};

use super::bridge::Frame;
use super::engine::{Engine, State, Told};
use super::question::Question;
use super::wire::{Put, question, to_bridge};
use crate::error::TaskError;
use crate::remote::task_state::{Outcome, TaskState};
use crate::sys::fork;

impl State {
    /// Whoever was asked is gone.
    pub(super) fn nobody_answers(&mut self) {
        self.questions.retain(|_, question| question.tickets.is_none());
        self.questions.values_mut().for_each(|question| _ = question.answer.get_or_insert(false));
    }
}

impl Engine {
    /// Takes a letter back that waits here.
    fn take_back(&self, state: &mut State, ticket: &TaskState, told: &mut Told) -> bool {
        let id = ticket.letter();
        let Some(position) = state.waiting.iter().position(|letter| letter.id == id) else { return false };
        let letter = state.waiting.remove(position);
        self.finish(state, ticket, Outcome::error(TaskError::Cancelled), told);
        drop(letter);
        true
    }

    /// Asks all nodes about letters. `None` if there is nobody to ask.
    fn ask(&self, state: &mut State, kind: u8, ids: &[u64], tickets: Option<Vec<Arc<TaskState>>>) -> Option<u64> {
        state.bridge.as_ref()?;
        let number = state.number();
        let mut head = Put::default();
        head.u64(number).u8(kind).u32(ids.len() as u32);
        ids.iter().for_each(|id| _ = head.u64(*id));
        state.questions.insert(number, Question { answer: None, tickets });
        if let Some(bridge) = &state.bridge {
            bridge.send(Frame { kind: to_bridge::ASK, head: head.0, body: Vec::new() });
        }
        Some(number)
    }

    /// Asks about one letter, and waits for the answer.
    fn ask_and_wait(&self, kind: u8, ticket: &TaskState) -> bool {
        let mut state = self.lock();
        if ticket.is_finished() {
            return false;
        }
        let Some(number) = self.ask(&mut state, kind, &[ticket.letter()], None) else { return false };
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
        if let Some(tickets) = question.tickets.take() {
            state.questions.remove(&number);
            for (ticket, _) in tickets.iter().zip(answers).filter(|(_, answer)| **answer == 1) {
                self.end(state, ticket, told);
            }
        }
    }

    /// A letter that is under way will not be run.
    fn end(&self, state: &mut State, ticket: &TaskState, told: &mut Told) {
        self.finish(state, ticket, Outcome::error(TaskError::Cancelled), told);
        let Some(parcel) = state.parcel_of.get(&ticket.letter()).copied() else { return };
        let over = state.sent.get(&parcel).is_some_and(|sent| sent.letters.iter().all(|one| one.ticket.is_finished()));
        if over
            && state.forget_parcel(parcel)
            && let Some(bridge) = &state.bridge
        {
            let mut head = Put::default();
            head.u64(parcel);
            bridge.send(Frame { kind: to_bridge::FORGET, head: head.0, body: Vec::new() });
        }
    }

    /// Keeps a task from running, if it has not started. True if it will never run.
    pub(crate) fn cancel(&self, ticket: &TaskState) -> bool {
        self.end_by(question::CANCEL, ticket)
    }

    /// Ends a task, whether it has started or not.
    pub(crate) fn kill_task(&self, ticket: &TaskState) -> bool {
        self.end_by(question::KILL, ticket)
    }

    fn end_by(&self, kind: u8, ticket: &TaskState) -> bool {
        if fork::check().is_err() {
            return false;
        }
        let mut told = Told::default();
        let taken = {
            let mut state = self.lock();
            !ticket.is_finished() && self.take_back(&mut state, ticket, &mut told)
        };
        let ended = taken || self.ask_and_wait(kind, ticket);
        if ended && !taken {
            let mut state = self.lock();
            self.end(&mut state, ticket, &mut told);
            self.pump(&mut state);
        }
        self.tell(told);
        ended
    }

    /// Keeps letters from running, where nobody asks whether it came in time.
    pub(crate) fn cancel_some<'t>(&self, tickets: impl Iterator<Item = &'t Arc<TaskState>>) {
        if fork::check().is_err() {
            return;
        }
        let mut told = Told::default();
        let mut state = self.lock();
        let mut under_way = Vec::new();
        for ticket in tickets {
            if !ticket.is_finished() && !self.take_back(&mut state, ticket, &mut told) {
                under_way.push(Arc::clone(ticket));
            }
        }
        if !under_way.is_empty() {
            let ids: Vec<u64> = under_way.iter().map(|ticket| ticket.letter()).collect();
            self.ask(&mut state, question::CANCEL, &ids, Some(under_way));
        }
        drop(state);
        self.tell(told);
    }

    /// Whether a worker is running a task now.
    pub(crate) fn is_running(&self, ticket: &TaskState) -> bool {
        fork::check().is_ok() && self.ask_and_wait(question::RUNNING, ticket)
    }
}
