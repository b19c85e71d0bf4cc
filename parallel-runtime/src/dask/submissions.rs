//! Requests into submissions, submissions to the bridge, and the blobs that they need.

use std::sync::Arc;
use std::time::Duration;

use super::bridge::Frame;
use super::engine::{Engine, Sent, State, Waiting};
use super::wire::{Put, to_bridge};
use crate::shared::blob;
use crate::shared::handle::Handle;

/// How long the requests of a submission should take together, if there are enough of them.
const TARGET: Duration = Duration::from_millis(100);

/// The most bytes of a submission of several requests.
const MOST_BYTES: usize = 1 << 20;

/// The most requests of `async fn`s in a submission: they come back together.
const MOST_FUTURES: usize = 256;

/// The most requests of other functions.
const MOST_REQUESTS: usize = 4096;

/// How many submissions are under way for each thread of the cluster, so that none waits for the way here and back.
const EACH: usize = 4;
impl Engine {
    /// Sends what waits, as far as there is room for it on the cluster.
    pub(super) fn pump(&self, state: &mut State) {
        if state.bridge.is_none() {
            return;
        }
        let window = EACH * self.workers() + 2;
        loop {
            let under_way = state.sent.values().filter(|sent| sent.away.is_none()).count();
            if under_way >= window || state.waiting.is_empty() {
                return;
            }
            let share = state.waiting.len().div_ceil(window - under_way);
            let requests = state.pack(share);
            let submission = state.number();
            for request in &requests {
                state.submission_of.insert(request.id, submission);
            }
            let sent = Sent { requests, away: None };
            self.send(state, submission, &sent);
            state.sent.insert(submission, sent);
        }
    }

    /// Sends a submission to the bridge.
    fn send(&self, state: &mut State, submission: u64, sent: &Sent) {
        let mut head = Put::default();
        let may_stay = matches!(&*sent.requests, [one] if one.request.items == 1 && !one.terms.eager);
        head.u64(submission).u8(may_stay.into());
        let blobs = sent.requests.iter().flat_map(|request| &request.request.blobs);
        let mut names = Vec::new();
        for handle in blobs {
            let name = blob::name_of(handle, self.id);
            if !names.contains(&name) {
                self.send_blob(state, &name, handle);
                names.push(name);
            }
        }
        head.u32(names.len() as u32);
        names.iter().for_each(|name| _ = head.text(name));
        let mut body = Put::default();
        if let Ok(pool_state) = self.state_to_send() {
            pool_state.put(&mut body);
        }
        body.u32(sent.requests.len() as u32);
        for Waiting { id, request, terms, .. } in &sent.requests {
            request.put(&mut body, *id, terms, &self.options);
        }
        if let Some(bridge) = &state.bridge {
            bridge.send(Frame { kind: to_bridge::SUBMIT, head: head.0, body: body.0 });
        }
    }

    /// Tells the bridge of a blob, if it does not know it.
    fn send_blob(&self, state: &mut State, name: &str, handle: &Arc<Handle>) {
        let known = state.blobs.insert(name.to_owned(), Arc::downgrade(handle));
        if known.is_some_and(|handle| handle.strong_count() > 0) {
            return;
        }
        let Some((path, offset)) = crate::shared::blob::place_of(handle) else { return };
        let mut head = Put::default();
        head.text(name).text(&path).u64(offset).u64(handle.reference().len);
        if let Some(bridge) = &state.bridge {
            bridge.send(Frame { kind: to_bridge::BLOB, head: head.0, body: Vec::new() });
        }
    }

    /// Has blobs removed whose last handle here is gone.
    pub(super) fn free_blobs(&self, state: &mut State) {
        let gone: Vec<String> =
            state.blobs.extract_if(|_, handle| handle.strong_count() == 0).map(|(name, _)| name).collect();
        for name in gone {
            let mut head = Put::default();
            head.text(&name);
            if let Some(bridge) = &state.bridge {
                bridge.send(Frame { kind: to_bridge::FREE, head: head.0, body: Vec::new() });
            }
        }
    }

    /// Sends all submissions once more, to a new bridge.
    pub(super) fn send_again(&self, state: &mut State) {
        let known = std::mem::take(&mut state.blobs);
        let sent = std::mem::take(&mut state.sent);
        state.submission_of.clear();
        for (submission, mut sent) in sent {
            match &sent.away {
                // No process wants it any more.
                Some(away) if away.strong_count() == 0 => continue,
                Some(_) => {}
                None => {
                    // Those that were cancelled are not sent again. And the others get new numbers: nodes may have been told not to begin
                    // the old ones, by a question whose answer was lost.
                    sent.requests.retain(|request| !request.task_state.is_finished());
                    for request in &mut sent.requests {
                        request.id = state.number();
                        request.task_state.set_request(request.id);
                        state.submission_of.insert(request.id, submission);
                    }
                }
            }
            if !sent.requests.is_empty() {
                self.send(state, submission, &sent);
                state.sent.insert(submission, sent);
            }
        }
        // What the old bridge has put on the machines, and nothing needs.
        for name in known.into_keys() {
            state.blobs.entry(name).or_default();
        }
        self.free_blobs(state);
    }
}

impl State {
    /// The requests of the next submission: the first that waits, and as many of those that follow as take a fair time together, but no more
    /// than `share`.
    fn pack(&mut self, share: usize) -> Vec<Waiting> {
        let mut requests: Vec<Waiting> = Vec::new();
        let (mut bytes, mut time) = (0, 0.0);
        while let Some(next) = self.waiting.front() {
            let rate = self.rates.get(&next.request.entry);
            bytes += next.request.len();
            time += rate.map_or(f64::INFINITY, |rate| rate * f64::from(next.request.items));
            if let Some(first) = requests.first() {
                let fits = requests.len() < share
                    && first.request.is_async == next.request.is_async
                    && !(first.alone || next.alone)
                    && bytes <= MOST_BYTES
                    && if next.request.is_async {
                        // They run at the same time.
                        requests.len() < MOST_FUTURES
                    } else {
                        requests.len() < MOST_REQUESTS && time <= TARGET.as_nanos() as f64
                    };
                if !fits {
                    break;
                }
            }
            requests.extend(self.waiting.pop_front());
        }
        requests
    }
}
