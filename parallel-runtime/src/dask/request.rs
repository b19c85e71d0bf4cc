//! What goes to another machine: items in a *request*, requests in a *submission*, which is one task of the cluster; and what comes back.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::sent_state::SentState;
use super::wire::{Put, Take};
use crate::codec::{CodecError, Writer};
use crate::error::TaskError;
use crate::function::table::FunctionTable;
use crate::options::{CallOptions, Keep, WorkerOptions};
use crate::remote::failure;
use crate::sandbox::{Allowed, Sandbox};
use crate::shared::handle::Handle;
use crate::shared::handle_table::{self, Carried};

/// Bits of a request.
const ASYNC: u32 = 1;
const TAKES_BACK: u32 = 1 << 1;
const STOPS: u32 = 1 << 2;
const SANDBOX: u32 = 1 << 3;

/// Bits of a reply.
const FAILED: u32 = 1;
const ERROR: u32 = 1 << 1;
const ARGUMENTS: u32 = 1 << 2;

/// How a request is to be run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) options: CallOptions,
    /// Its results are wanted as soon as they are there.
    pub(crate) eager: bool,
    /// When an item has failed, no more of it are run.
    pub(crate) stops: bool,
}

/// Encoded items of one function.
#[derive(Debug)]
pub(crate) struct Request {
    pub(super) function: &'static str,
    /// As an offset from the start of the executable's image.
    pub(super) entry: u64,
    pub(super) items: u32,
    pub(super) is_async: bool,
    /// Makes what the function keeps, if it keeps something.
    keep: Option<Keep>,
    /// Whether the arguments are to come back.
    takes_back: bool,
    alignment: u32,
    /// Where each item begins; empty if all take the same room.
    starts: Vec<u64>,
    /// Where the slices lie that may be changed.
    pub(super) marks: Vec<u64>,
    /// Objects that have to be on the other machine.
    pub(super) blobs: Vec<Arc<Handle>>,
    /// Bytes of theirs.
    pub(super) shared: u64,
    body: Vec<u8>,
}

impl Request {
    /// `pool`: through which it goes. `guess` is about how many bytes the items take.
    pub(crate) fn encode(
        pool: u64,
        function: &'static FunctionTable,
        items: (*const u8, usize),
        guess: usize,
    ) -> Result<Self, CodecError> {
        let count = items.1;
        let entry = function.remote().entry().map_err(CodecError::new)?;
        let mut request = Self {
            function: function.name,
            entry,
            items: count as u32,
            is_async: function.is_async(),
            keep: function.keep,
            takes_back: false,
            alignment: 1,
            starts: Vec::with_capacity(count),
            marks: Vec::new(),
            blobs: Vec::new(),
            shared: 0,
            body: Vec::new(),
        };
        request.write(pool, function, items, guess.max(64))?;
        request.takes_back = !request.marks.is_empty();
        let size = (request.body.len() / count.max(1)) as u64;
        if (0..).zip(&request.starts).all(|(index, start)| index * size == *start) && !request.body.is_empty() {
            request.starts.clear();
        }
        Ok(request)
    }

    fn write(
        &mut self,
        pool: u64,
        function: &'static FunctionTable,
        (first, count): (*const u8, usize),
        guess: usize,
    ) -> Result<(), CodecError> {
        let mut room = guess;
        for _ in 0..2 {
            self.starts.clear();
            let mut body = Vec::with_capacity(room);
            let memory: &mut [MaybeUninit<u8>] = body.spare_capacity_mut();
            let mut writer = handle_table::carrying_far(Writer::new(memory), pool);
            for index in 0..count {
                self.starts.push(writer.len() as u64);
                let item = first.wrapping_add(index * function.item.size());
                // SAFETY: `count` items of the function lie there, which their submitter keeps meanwhile.
                unsafe { (function.remote().send)(item, 1, &mut writer) }?;
            }
            let len = writer.len();
            if !writer.overflowed() {
                self.alignment = writer.alignment() as u32;
                self.marks = writer.take_marks();
                let Carried { shared, blobs, .. } = handle_table::take(&mut writer);
                (self.shared, self.blobs) = (shared, blobs);
                drop(writer);
                // SAFETY: the writer has written the first `len` bytes of the spare capacity.
                unsafe { body.set_len(len) };
                self.body = body;
                return Ok(());
            }
            room = len;
        }
        Err(CodecError::new("its `Serialize` wrote different amounts of data for the same value"))
    }

    /// Bytes of the arguments.
    pub(crate) fn len(&self) -> usize {
        self.body.len()
    }

    /// Adds it to a submission.
    pub(super) fn put(&self, submission: &mut Put, id: u64, terms: &Terms, workers: &WorkerOptions) {
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        let flags = bit(self.is_async, ASYNC)
            | bit(self.takes_back, TAKES_BACK)
            | bit(terms.stops, STOPS)
            | bit(workers.sandbox.is_some(), SANDBOX);
        let limit = terms.options.timeout.map_or(0, |limit| limit.as_nanos().min(u128::from(u64::MAX)) as u64);
        // What comes back changed is tried again by the program, which has it as it was.
        let retries = if self.takes_back { 0 } else { terms.options.retries.unwrap_or(0) };
        submission.u64(id).u64(self.entry).u32(self.items).u32(flags).u64(limit).u32(retries).u32(self.alignment);
        submission.u64(workers.max_tasks_per_worker.unwrap_or(0)).u64(workers.memory_limit.unwrap_or(0));
        submission.u64(workers.init.map_or(0, |init| crate::function::init::offset_of(init).unwrap_or(0)));
        let offset_of = |keep: Keep| crate::function::init::keep_offset_of(keep).unwrap_or(0);
        submission.u64(workers.state.map_or(0, offset_of)).u64(self.keep.map_or(0, offset_of));
        submission.bytes(&workers.sandbox.map(|sandbox| sandbox.allowed().to_bytes()).unwrap_or_default());
        submission.text(self.function);
        submission.u64(self.starts.len() as u64);
        self.starts.iter().for_each(|start| _ = submission.u64(*start));
        submission.bytes(&self.body);
    }
}

/// A request, as it arrives.
#[derive(Debug)]
pub(super) struct Arrived<'p> {
    pub(super) id: u64,
    pub(super) entry: u64,
    pub(super) items: u32,
    pub(super) is_async: bool,
    pub(super) takes_back: bool,
    pub(super) stops: bool,
    pub(super) limit: Option<Duration>,
    pub(super) retries: u32,
    pub(super) alignment: usize,
    pub(super) workers: WorkerOptions,
    /// Makes what the function keeps, if it keeps something.
    pub(super) keep: Option<Keep>,
    pub(super) function: &'static str,
    starts: Vec<u64>,
    pub(super) body: &'p [u8],
}

impl<'p> Arrived<'p> {
    fn take(submission: &mut Take<'p>) -> Option<Self> {
        let (id, entry, items, flags) = (submission.u64()?, submission.u64()?, submission.u32()?, submission.u32()?);
        let (limit, retries, alignment) = (submission.u64()?, submission.u32()?, submission.u32()?);
        let (max_tasks, memory_limit) = (submission.u64()?, submission.u64()?);
        let (init, state, keep) = (submission.u64()?, submission.u64()?, submission.u64()?);
        let (sandbox, function) = (submission.bytes()?, submission.bytes()?);
        let count = usize::try_from(submission.u64()?).ok()?.min(submission.0.len());
        let starts = (0..count).map(|_| submission.u64()).collect::<Option<Vec<_>>>()?;
        let some = |number: u64| (number != 0).then_some(number);
        Some(Self {
            id,
            entry,
            items,
            is_async: flags & ASYNC != 0,
            takes_back: flags & TAKES_BACK != 0,
            stops: flags & STOPS != 0,
            limit: some(limit).map(Duration::from_nanos),
            retries,
            alignment: alignment as usize,
            workers: WorkerOptions {
                max_tasks_per_worker: some(max_tasks),
                memory_limit: some(memory_limit),
                // SAFETY: the program put it there with `init::offset_of`, and runs the same executable.
                init: some(init).map(|init| unsafe { crate::function::init::at(init) }),
                // SAFETY: the program put it there with `init::keep_offset_of`, and runs the same executable.
                state: some(state).map(|keep| unsafe { crate::function::init::keep_at(keep) }),
                sandbox: (flags & SANDBOX != 0).then(|| Sandbox::kept(&Allowed::from_bytes(sandbox))),
                ..WorkerOptions::NONE
            },
            // SAFETY: as above.
            keep: some(keep).map(|keep| unsafe { crate::function::init::keep_at(keep) }),
            function: kept(&String::from_utf8_lossy(function)),
            starts,
            body: submission.bytes()?,
        })
    }

    /// Where the arguments of an item begin; of the one after the last, where they end.
    pub(super) fn start(&self, item: u32) -> usize {
        if item >= self.items {
            return self.body.len();
        }
        let start = match self.starts.get(item as usize) {
            Some(start) => *start as usize,
            None => self.body.len() / self.items.max(1) as usize * item as usize,
        };
        start.min(self.body.len())
    }

    /// Whether what begins at this item can be sent by itself.
    pub(super) fn can_begin_at(&self, item: u32) -> bool {
        self.start(item).is_multiple_of(self.alignment.max(1))
    }
}

/// The same text for as long as the process lives: there are as many as there are functions.
pub(super) fn kept(text: &str) -> &'static str {
    static TEXTS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut texts = TEXTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(text) = texts.get(text) {
        return text;
    }
    let text: &'static str = Box::leak(text.into());
    texts.insert(text);
    text
}

/// The requests of a submission, and the state of their pool. `None` if it is not one.
pub(super) fn open(submission: &[u8]) -> Option<(SentState, Vec<Arrived<'_>>)> {
    let mut submission = Take(submission);
    let state = SentState::take(&mut submission)?;
    let count = submission.u32()?;
    let requests: Option<Vec<_>> = (0..count).map(|_| Arrived::take(&mut submission)).collect();
    Some((state, requests?))
}

/// What has become of a request.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) id: u64,
    /// The first so many items have a result, which may say that it failed.
    pub(super) done: u32,
    pub(super) failed: bool,
    pub(super) nanoseconds: u64,
    pub(super) results: Vec<u8>,
    /// What happened to the item after those, if something did.
    pub(super) error: Option<TaskError>,
    /// The arguments as they were left.
    pub(super) arguments: Option<Vec<u8>>,
}

impl Reply {
    /// Nothing of the request was run.
    pub(super) fn failed(id: u64, error: TaskError) -> Self {
        Self { id, error: Some(error), ..Self::default() }
    }

    pub(super) fn put(&self, replies: &mut Put) {
        let bit = |set: bool, bit: u32| if set { bit } else { 0 };
        let flags =
            bit(self.failed, FAILED) | bit(self.error.is_some(), ERROR) | bit(self.arguments.is_some(), ARGUMENTS);
        replies.u64(self.id).u32(self.done).u32(flags).u64(self.nanoseconds).bytes(&self.results);
        if let Some(error) = &self.error {
            replies.bytes(&failure::encode(error));
        }
        if let Some(arguments) = &self.arguments {
            replies.bytes(arguments);
        }
    }

    fn take(replies: &mut Take<'_>) -> Option<Self> {
        let (id, done, flags, nanoseconds) = (replies.u64()?, replies.u32()?, replies.u32()?, replies.u64()?);
        let results = replies.bytes()?.to_vec();
        let error = if flags & ERROR != 0 { Some(failure::decode(replies.bytes()?)) } else { None };
        let arguments = if flags & ARGUMENTS != 0 { Some(replies.bytes()?.to_vec()) } else { None };
        Some(Self { id, done, failed: flags & FAILED != 0, nanoseconds, results, error, arguments })
    }

    /// The replies to the requests of a submission. `None` if it is something else.
    pub(super) fn all(replies: &[u8]) -> Option<Vec<Self>> {
        let mut replies = Take(replies);
        let count = replies.u32()?;
        (0..count).map(|_| Self::take(&mut replies)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::random::{damaged, with_random_bytes};

    #[test]
    fn a_reply_arrives_as_it_was_sent() {
        with_random_bytes(|random| {
            let error = if random.arbitrary()? { Some(TaskError::Cancelled) } else { None };
            let (id, done, failed, nanoseconds): (u64, u32, bool, u64) = random.arbitrary()?;
            let (results, arguments): (Vec<u8>, Option<Vec<u8>>) = random.arbitrary()?;
            let reply = Reply { id, done, failed, nanoseconds, results, error, arguments };
            let mut bytes = Put::default();
            bytes.u32(1);
            reply.put(&mut bytes);
            let [arrived]: [Reply; 1] = Reply::all(&bytes.0).unwrap().try_into().unwrap();
            assert_eq!(format!("{arrived:?}"), format!("{reply:?}"));
            Ok(())
        });
    }

    #[test]
    fn any_bytes_are_requests_and_replies_or_none() {
        with_random_bytes(|random| {
            let mut bytes = Put::default();
            bytes.u32(random.int_in_range(0..=3)?);
            for _ in 0..3 {
                Reply { error: Some(TaskError::Cancelled), results: vec![7; 9], ..Reply::default() }.put(&mut bytes);
            }
            let bytes = damaged(random, bytes.0)?;
            let _ = (Reply::all(&bytes), open(&bytes));
            let random: Vec<u8> = random.arbitrary()?;
            let _ = (Reply::all(&random), open(&random), failure::decode(&random));
            Ok(())
        });
    }
}
