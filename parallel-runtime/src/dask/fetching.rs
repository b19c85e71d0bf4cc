//! Sending for replies that have stayed on the cluster.

use super::away::Keeper;
use super::bridge::Frame;
use super::engine::Engine;
use super::wire::{Put, to_bridge};

pub(super) fn fetch(submission: u64) -> Frame {
    let mut head = Put::default();
    head.u64(submission);
    Frame { kind: to_bridge::FETCH, head: head.0, body: Vec::new() }
}

impl Keeper for Engine {
    fn fetch(&self, submission: u64) -> bool {
        let state = self.lock();
        let is_there = state.sent.contains_key(&submission);
        match &state.bridge {
            Some(bridge) if is_there => bridge.send(fetch(submission)),
            // Another bridge will run it again.
            None if is_there => {}
            _ => return false,
        }
        true
    }

    fn forget(&self, submission: u64) {
        let mut state = self.lock();
        if state.forget_submission(submission)
            && let Some(bridge) = &state.bridge
        {
            let mut head = Put::default();
            head.u64(submission);
            bridge.send(Frame { kind: to_bridge::FORGET, head: head.0, body: Vec::new() });
        }
    }
}
