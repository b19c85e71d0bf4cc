//! One request, from its pieces to its reply.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use super::requests::SentPiece;
use super::state::Node;
use crate::dask::request::{Arrived, Reply};
use crate::error::{PoolError, TaskError};
use crate::function::code;
use crate::ipc::board::slot::{INLINE_ALIGNMENT, INLINE_ARGUMENTS};
use crate::process;
use crate::remote::failure;
use crate::remote::message::{About, Arguments, Body, Message, as_uninit};
use crate::remote::outcome::{Left, Outcome};
use crate::remote::task_state::TaskRef;
use crate::sys::processes;

/// A request of many items is cut into pieces that take about so long, so that all workers have something to do at its end.
const PIECE: f64 = 5e6;

/// The most items of a piece.
const MOST_ITEMS: u32 = 4096;

/// Some items of a request, which are one message to the workers.
struct Piece {
    first: u32,
    count: u32,
    task_state: Result<TaskRef, TaskError>,
    /// How often its first item may still be tried again.
    tries: u32,
}

/// A request that runs.
pub(super) struct Running<'n, 'p> {
    node: &'n Node,
    /// The number of its submission.
    submission: u64,
    request: &'n Arrived<'p>,
    engine: Arc<process::Engine>,
    pieces: VecDeque<Piece>,
    reply: Reply,
}

impl<'n, 'p> Running<'n, 'p> {
    pub(super) fn begin(
        node: &'n Node,
        submission: u64,
        request: &'n Arrived<'p>,
        engine: Arc<process::Engine>,
    ) -> Self {
        let mut running = Self {
            node,
            submission,
            request,
            engine,
            pieces: VecDeque::new(),
            reply: Reply { id: request.id, ..Reply::default() },
        };
        if request.takes_back {
            running.reply.arguments = Some(request.body.to_vec());
        }
        let size = match node.rate(request.entry) {
            _ if request.takes_back => request.items,
            Some(rate) => ((PIECE / rate) as u32).clamp(1, MOST_ITEMS),
            None => 1,
        };
        let mut first = 0;
        // The first one is short where nothing is known: the others are cut when it has told how long an item takes.
        while first < request.items {
            let mut count = size.min(request.items - first);
            while first + count < request.items && !request.can_begin_at(first + count) {
                count += 1;
            }
            if node.rate(request.entry).is_none() && first > 0 {
                count = request.items - first;
            }
            running.send(first, count, request.retries, false);
            first += count;
        }
        running
    }

    /// Sends some items to the workers.
    fn send(&mut self, first: u32, count: u32, tries: u32, at_front: bool) {
        let task_state = self.submit(first, count);
        let piece = Piece { first, count, task_state, tries };
        if at_front {
            self.pieces.push_front(piece);
        } else {
            self.pieces.push_back(piece);
        }
    }

    fn submit(&self, first: u32, count: u32) -> Result<TaskRef, TaskError> {
        let request = self.request;
        let engine = &self.engine;
        let arena = engine.arena().map_err(PoolError::into_task_error)?;
        let bytes = &request.body[request.start(first)..request.start(first + count)];
        let body = if bytes.len() <= INLINE_ARGUMENTS && request.alignment <= INLINE_ALIGNMENT && !request.takes_back {
            Body::Inline(bytes)
        } else {
            let mut block = arena.take(bytes.len().max(1) as u64)?;
            // SAFETY: no worker knows of this block: it was just taken.
            let memory = unsafe { block.bytes_mut(bytes.len()) };
            memory.copy_from_slice(as_uninit(bytes));
            // Where the slices are, the program knows; here it only matters that there are some.
            let marks = if request.takes_back { vec![0] } else { Vec::new() };
            Body::Block(Arguments { block, len: bytes.len(), marks })
        };
        let message = Message {
            entry: request.entry,
            items: count,
            seen: None,
            timed: true,
            is_async: request.is_async,
            limit: request.limit,
            retry: None,
            recording: None,
            body,
            loan: None,
        };
        // The process that wants to cancel it either has said so before, or finds the task.
        let mut requests = self.node.requests();
        let refused = requests.refused.has(request.id);
        let Some(submission) =
            requests.submissions.get_mut(&self.submission).filter(|submission| !(refused || submission.dropped))
        else {
            return Err(TaskError::Cancelled);
        };
        let about = About { function: request.function, shared: 0, packable: false, keep: request.keep };
        let task_state = engine.submit(message, about, false, None)?;
        let sent = SentPiece { engine: Arc::clone(engine), task_state: task_state.clone() };
        submission.messages.entry(request.id).or_default().push(sent);
        Ok(task_state)
    }

    /// Waits for all of it.
    pub(super) fn finish(&mut self) -> Reply {
        while let Some(piece) = self.pieces.pop_front() {
            if !self.land(piece) {
                break;
            }
        }
        // If it has ended early, what is left is not begun any more.
        for task_state in self.pieces.drain(..).filter_map(|piece| piece.task_state.ok()) {
            if !self.engine.cancel(&task_state) {
                self.engine.wait(&task_state, None);
            }
        }
        let mut requests = self.node.requests();
        let submission = requests.submissions.get_mut(&self.submission);
        let dropped = submission.is_none_or(|submission| {
            submission.messages.remove(&self.request.id);
            submission.dropped
        });
        if !dropped {
            requests.ended.add(self.request.id);
        }
        drop(requests);
        self.node.saw(self.request.entry, self.reply.done, self.reply.nanoseconds);
        std::mem::take(&mut self.reply)
    }

    /// Waits for a piece and takes what came of it. False if the request ends with it.
    fn land(&mut self, piece: Piece) -> bool {
        let Piece { first, count, task_state, tries } = piece;
        let outcome = match task_state {
            Ok(task_state) => self.engine.wait(&task_state, None).unwrap_or_default(),
            Err(error) => Outcome::error(error),
        };
        let Outcome { done, failed, results, nanoseconds, mut rare, is_far: _ } = outcome;
        let granted = rare.as_mut().and_then(|rare| rare.granted.take());
        self.reply.nanoseconds += nanoseconds;
        self.reply.done += done;
        self.reply.failed |= failed;
        self.reply.results.extend_from_slice(results.as_slice());
        if let Some((block, len)) = granted {
            let at = self.reply.results.len();
            // SAFETY: the block is mapped as long as it is here, `len` was checked against it, and the worker has handed it over.
            let bytes = unsafe { std::slice::from_raw_parts(block.start().as_ptr(), len) };
            self.reply.results.extend_from_slice(bytes);
            // Alone in its block, it has no need to say how long it is.
            let size = u32::try_from(len.saturating_sub(code::HEADER)).unwrap_or(u32::MAX);
            if let Some(header) = self.reply.results.get_mut(at + 1..at + code::HEADER) {
                header.copy_from_slice(&size.to_ne_bytes());
            }
        }
        if let Some(Left::Block(arguments)) = rare.as_mut().and_then(|rare| rare.arguments.take())
            && let Some(all) = &mut self.reply.arguments
        {
            let start = self.request.start(first);
            // SAFETY: the block is mapped as long as it is here, `len` bytes of it were written, and no worker uses it any more.
            let bytes = unsafe { std::slice::from_raw_parts(arguments.block.start().as_ptr(), arguments.len) };
            if let Some(room) = all.get_mut(start..start + bytes.len()) {
                room.copy_from_slice(bytes);
            }
        }
        let error = rare.as_mut().and_then(|rare| rare.error.take()).map(located);
        let next = first + done;
        let left = count - done.min(count);
        match error {
            _ if self.request.takes_back => {
                self.reply.error = error;
                false
            }
            None if self.reply.failed && self.request.stops => {
                if left > 0 || !self.pieces.is_empty() {
                    self.reply.error = Some(TaskError::Cancelled);
                }
                false
            }
            None if left == 0 => true,
            // It has come back early.
            None => self.send_rest(next, left, if done == 0 { tries } else { self.request.retries }),
            Some(error) if error.may_be_retried() && (if done == 0 { tries } else { self.request.retries }) > 0 => {
                let tries = if done == 0 { tries } else { self.request.retries };
                if left > 1 && self.request.can_begin_at(next + 1) {
                    self.send(next + 1, left - 1, self.request.retries, true);
                    self.send_rest(next, 1, tries - 1)
                } else {
                    self.send_rest(next, left, tries - 1)
                }
            }
            Some(error) if error.may_be_retried() || matches!(error, TaskError::OutOfSharedMemory { .. }) => {
                self.fail(&error);
                if self.request.stops && (left > 1 || !self.pieces.is_empty()) {
                    self.reply.error = Some(TaskError::Cancelled);
                    return false;
                }
                left <= 1 || self.send_rest(next + 1, left - 1, self.request.retries)
            }
            // It answers for all that is left.
            Some(error) => {
                self.reply.error = Some(error);
                false
            }
        }
    }

    /// Sends what is left of a piece, if that can be done by itself; if not, the program sends it. Whether it goes on.
    fn send_rest(&mut self, first: u32, count: u32, tries: u32) -> bool {
        let can = self.request.can_begin_at(first);
        if can {
            self.send(first, count, tries, true);
        }
        can
    }

    /// The next item has no result but this error.
    fn fail(&mut self, error: &TaskError) {
        let bytes = failure::encode(error);
        self.reply.results.push(code::ENDED);
        self.reply.results.extend_from_slice(&(bytes.len() as u32).to_ne_bytes());
        self.reply.results.extend_from_slice(&bytes);
        self.reply.done += 1;
        self.reply.failed = true;
    }
}

/// The error of a worker, with the machine that it was on.
fn located(mut error: TaskError) -> TaskError {
    static HOST: LazyLock<String> = LazyLock::new(processes::host);
    if let TaskError::WorkerDied { reason, .. } = &mut error {
        reason.push_str(" (on host ");
        reason.push_str(&HOST);
        reason.push(')');
    }
    error
}
