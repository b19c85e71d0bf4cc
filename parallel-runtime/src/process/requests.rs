//! What the program does when a worker asks for something.
//!
//! A worker may ask for anything at any time, and as often as it likes: so nothing here waits, and nothing is believed that the
//! program's own records do not confirm.

use super::engine::Engine;
use super::state::State;
use crate::error::TaskError;
use crate::ipc::board::ring::split;
use crate::ipc::control::{ANSWER, ControlRequest, tell_function};
use crate::shared::objects::Process;
use crate::shared::{Kind, objects, statics};

/// The answer to a request for something that is not there.
const NOTHING: [u64; ANSWER] = [0; ANSWER];

impl Engine {
    /// Answers a worker's request, if it is one that is answered.
    pub(super) fn serve(&self, state: &mut State, worker_slot: usize, request: &ControlRequest) {
        if self.is_isolated() && concerns_objects(request) {
            // It has objects of its own, and knows nothing of the program's: what it says of them is false.
            return;
        }
        let answer = match *request {
            ControlRequest::Grant(len) => self.grant(state, worker_slot, len),
            ControlRequest::New { len, alignment, kind } => new_object(state, worker_slot, len, alignment, kind),
            ControlRequest::More { id, nonce, len } => match objects::grow(id, nonce, len, process(state, worker_slot))
            {
                Ok(offset) => [offset, 0, 0, 0, 0],
                Err(error) => refusal(&error),
            },
            ControlRequest::Keep { id, nonce, task } => keep(state, worker_slot, id, nonce, task),
            ControlRequest::Store { container, object } => [objects::store(container, object).into(), 0, 0, 0, 0],
            ControlRequest::Static { at, id, nonce } => {
                let offered = objects::named(id, nonce).filter(|object| {
                    objects::kind(object).is_some_and(|kind| statics::may_be_behind(at, kind, object.reference().len))
                });
                let settled = objects::settle_static(at, offered);
                settled.map_or(NOTHING, |handle| {
                    let reference = handle.reference();
                    if let Some(worker) = state.workers.worker_slots[worker_slot].worker() {
                        worker.process.gets(reference);
                    }
                    [reference.offset, reference.len, reference.id.into(), reference.nonce, 0]
                })
            }
            ControlRequest::Unstore { container, object } => {
                return objects::unstore(container, object, process(state, worker_slot));
            }
            ControlRequest::Released(id) => return objects::released(id),
            ControlRequest::Function(number) => {
                let entry = state.functions.entry(number);
                if let Some(worker) = state.workers.worker_slots[worker_slot].worker() {
                    tell_function(&worker.started.channel, number, entry);
                }
                return;
            }
            ControlRequest::Deny(offset) => return objects::deny_lock(offset),
            ControlRequest::Hello | ControlRequest::Ready | ControlRequest::Retire | ControlRequest::Failed(_) => {
                return;
            }
        };
        let place = &mut state.workers.worker_slots[worker_slot];
        place.answer = place.answer.next(answer);
        place.answer.publish(self.board().record(worker_slot as u32));
    }

    /// Gives a worker a block for a large result.
    fn grant(&self, state: &mut State, worker_slot: usize, len: u64) -> [u64; ANSWER] {
        // The thread that needs memory for results may need it because no thread collects them.
        self.collect(state);
        let place = &mut state.workers.worker_slots[worker_slot];
        // What the worker has not delivered by now it never will: a message ends with its first granted block.
        place.grants.clear();
        match self.memory.get().expect("there is a board before there are workers").arena.take(len) {
            Ok(block) => {
                let offset = block.offset();
                place.grants.push(block);
                [offset, 0, 0, 0, 0]
            }
            Err(error) => refusal(&error),
        }
    }
}

/// The process in a place.
fn process(state: &State, worker_slot: usize) -> Option<&Process> {
    state.workers.worker_slots[worker_slot].worker().map(|worker| &worker.process)
}

/// Whether a request is about shared objects.
fn concerns_objects(request: &ControlRequest) -> bool {
    use ControlRequest::{
        Deny, Failed, Function, Grant, Hello, Keep, More, New, Ready, Released, Retire, Static, Store, Unstore,
    };
    match request {
        New { .. }
        | More { .. }
        | Keep { .. }
        | Store { .. }
        | Unstore { .. }
        | Released(_)
        | Static { .. }
        | Deny(_) => true,
        Hello | Ready | Grant(_) | Function(_) | Retire | Failed(_) => false,
    }
}

fn new_object(state: &State, worker_slot: usize, len: u64, alignment: u64, kind: u64) -> [u64; ANSWER] {
    let (Some(worker), Some(kind)) = (state.workers.worker_slots[worker_slot].worker(), Kind::from_number(kind)) else {
        return NOTHING;
    };
    if len == 0 || !alignment.is_power_of_two() {
        return NOTHING;
    }
    match objects::create(len, alignment, kind, Some(&worker.process)) {
        Ok(new) => {
            let reference = new.handle.reference();
            // Before our own hold ends, so that it is held at all times.
            worker.process.gets(reference);
            [reference.offset, 0, reference.id.into(), reference.nonce, new.zeroed.into()]
        }
        Err(error) => refusal(&error),
    }
}

/// An object goes with the result of a task.
fn keep(state: &mut State, worker_slot: usize, id: u64, nonce: u64, task: u64) -> [u64; ANSWER] {
    let Some(handle) = objects::named(id, nonce) else { return NOTHING };
    let (in_flight, generations) = (&state.slots.in_flight, &state.slots.generations);
    // What its worker has kept for tasks that are over was for nothing.
    let in_flight = |task: u64| {
        let (slot, generation) = split(task);
        let slot = slot as usize;
        in_flight.get(slot).is_some_and(Option::is_some) && generations[slot] == generation
    };
    let kept = &mut state.workers.worker_slots[worker_slot].kept;
    kept.retain(|(task, _)| in_flight(*task));
    kept.push((task, handle));
    [1, 0, 0, 0, 0]
}

fn refusal(error: &TaskError) -> [u64; ANSWER] {
    match error {
        TaskError::OutOfSharedMemory { available, .. } => [0, *available, 0, 0, 0],
        _ => NOTHING,
    }
}
