//! The program's private record of a submitted message: where it is, and then what came of it. That of a single task is also its handle.

use std::any::Any;
use std::fmt::Debug;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Instant;

use super::message::{Arguments, Loan};
use crate::backend::Collector;
use crate::codec::Reader;
use crate::error::TaskError;
use crate::function::pass_mode::Changed;
use crate::function::table::FunctionTable;
use crate::observe::Fate;
use crate::shared::handle_table::Origin;
use crate::shared::{Block, Handle};
use crate::sys::futex;
use crate::wait::notify::{Watcher, Watchers};

/// It waits in the program for a free slot.
const QUEUED: u32 = 0;
/// It is in a slot.
const BOARDED: u32 = 1;
/// Its outcome is here.
const FINISHED: u32 = 2;

pub(crate) struct TaskState {
    phase: AtomicU32,
    /// Whether somebody sleeps on `phase`.
    sleepers: AtomicU32,
    /// `generation | slot` while it is in a slot.
    place: AtomicU64,
    /// No thread waits for it any more.
    abandoned: AtomicBool,
    end: Mutex<End>,
    pub(super) owner: Option<Owner>,
}

/// What can be done about a task, once it is submitted.
pub(crate) trait TaskControl: Collector {
    /// Waits for a task, at most until `deadline`, and takes its outcome.
    fn wait(&self, task: &TaskState, deadline: Option<Instant>) -> Option<Outcome>;

    /// Tells the watcher of the end of a task. `attend`: no thread collects results otherwise.
    ///
    /// # Errors
    ///
    /// The watcher, if the task has ended.
    fn watch(&self, task: &TaskState, watcher: Watcher, attend: bool) -> Result<(), Watcher>;

    /// Whether the result of a task that has ended can be taken without waiting. If not, `waker` is woken when it can.
    fn is_here(&self, _task: &TaskState, _waker: &Waker) -> bool {
        true
    }

    /// Keeps a task from running, if it has not started. True if it will never run.
    fn cancel(&self, task: &TaskState) -> bool;

    /// Ends a task, whether it has started or not.
    fn kill_task(&self, task: &TaskState) -> bool;

    /// Whether a worker is running it now.
    fn is_running(&self, task: &TaskState) -> bool;

    /// No thread waits for a task any more.
    fn abandon(&self, _task: &TaskState) {}
}

/// What a task's handle needs: who runs it, and whose results it has.
pub(crate) struct Owner {
    pub(crate) engine: Arc<dyn TaskControl>,
    pub(crate) function: &'static FunctionTable,
}

#[derive(Default)]
struct End {
    outcome: Option<Outcome>,
    /// Who is told when it comes.
    watchers: Watchers,
}

/// Where a task's message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Queued,
    Boarded { slot: u32, generation: u64 },
    Finished,
}

/// What came of a message. All of it is private memory, or blocks that no worker writes any more.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// How many items have a result: the first so many. The worker may have stopped early.
    pub(crate) done: u32,
    /// One of the results says that its item failed.
    pub(crate) failed: bool,
    /// It comes from another machine, or from a worker that is isolated.
    pub(crate) is_far: bool,
    pub(crate) results: ResultBytes,
    /// How long a timed message ran.
    pub(crate) nanoseconds: u64,
    /// What most outcomes do not have.
    pub(crate) rare: Option<Box<Rare>>,
}

/// The parts of an outcome that are rarely there.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// The result of the last item done, if it was too large to lie with the others.
    pub(crate) granted: Option<(Block, usize)>,
    /// What happened to the item after those that are done, if something did.
    pub(crate) error: Option<TaskError>,
    /// The arguments as the worker left them, if it may have changed them in place.
    pub(crate) arguments: Option<Left>,
    /// Keeps the objects whose handles are in the arguments, and may be in the results.
    pub(crate) loan: Option<Box<Loan>>,
    /// The worker has sent events that are to be emitted before anybody sees this.
    pub(crate) events: Option<Arc<dyn Events>>,
    /// The other objects whose handles are in the results.
    pub(crate) kept: Vec<Arc<Handle>>,
    /// What its results may take in memory, in bytes, if its pool says so.
    pub(crate) result_limit: Option<u64>,
    /// Nothing knows which of its items was at fault: each is to be sent alone.
    pub(crate) apart: bool,
    /// The results are still there: for the engine to know.
    pub(crate) away: Option<Arc<dyn Any + Send + Sync>>,
}

/// Events that a worker has sent.
pub(crate) trait Events: Send + Sync + Debug {
    /// Emits those that are there.
    fn pass_on_now(&self);
}

/// Arguments as a worker left them.
#[derive(Debug)]
pub(crate) enum Left {
    Block(Arguments),
    /// With the offsets of the slices that were changed.
    Private(Vec<u8>, Vec<u64>),
}

impl Left {
    pub(crate) fn changed(&self) -> Changed<'_> {
        match self {
            Self::Block(arguments) => {
                Changed { memory: Some((arguments.block.start(), arguments.len)), marks: &arguments.marks }
            }
            Self::Private(bytes, marks) => {
                Changed { memory: Some((NonNull::from(bytes.as_slice()).cast(), bytes.len())), marks }
            }
        }
    }
}

/// A private copy of encoded results.
#[derive(Debug)]
pub(crate) enum ResultBytes {
    Small { bytes: [u8; 22], len: u8 },
    Large(Box<[u8]>),
}

impl Default for ResultBytes {
    fn default() -> Self {
        Self::Small { bytes: [0; 22], len: 0 }
    }
}

impl From<&[u8]> for ResultBytes {
    fn from(bytes: &[u8]) -> Self {
        // SAFETY: a slice is readable.
        unsafe { Self::copy(bytes.as_ptr(), bytes.len()) }
    }
}

impl ResultBytes {
    /// Copies out of memory that a worker can write.
    ///
    /// # Safety
    ///
    /// `len` bytes from `start` are readable.
    pub(crate) unsafe fn copy(start: *const u8, len: usize) -> Self {
        let mut bytes = [0; 22];
        if len <= bytes.len() {
            // SAFETY: the source is readable (the caller says so), the target has room for `len` bytes and is ours.
            unsafe { std::ptr::copy_nonoverlapping(start, bytes.as_mut_ptr(), len) };
            Self::Small { bytes, len: len as u8 }
        } else {
            let mut copy = Vec::with_capacity(len);
            // SAFETY: the source is readable, the vector has room for `len` bytes and is fresh memory.
            unsafe { std::ptr::copy_nonoverlapping(start, copy.as_mut_ptr(), len) };
            // SAFETY: `len` bytes were just written.
            unsafe { copy.set_len(len) };
            Self::Large(copy.into_boxed_slice())
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Small { bytes, len } => &bytes[..usize::from(*len)],
            Self::Large(bytes) => bytes,
        }
    }
}

impl Outcome {
    pub(crate) fn error(error: TaskError) -> Self {
        let mut outcome = Self::default();
        outcome.rare().error = Some(error);
        outcome
    }

    /// Where its bytes come from.
    pub(crate) fn origin(&self) -> Origin {
        if self.is_far { Origin::Far } else { Origin::Result }
    }

    /// With what its pool says that results may take.
    pub(crate) fn limited(mut self, result_limit: Option<u64>) -> Self {
        if result_limit.is_some() {
            self.rare().result_limit = result_limit;
        }
        self
    }

    /// A reader of its results, which may be forged.
    pub(crate) fn reader<'o>(&'o self, reader: Reader<'o>) -> Reader<'o> {
        let limit = self.rare.as_ref().and_then(|rare| rare.result_limit);
        let reader = match limit {
            Some(bytes) => reader.with_budget(usize::try_from(bytes).unwrap_or(usize::MAX)),
            None => reader.untrusted(),
        };
        reader.receiving(self.origin().source())
    }

    pub(crate) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(crate) fn fate(&self) -> Fate {
        match self.rare.as_ref().and_then(|rare| rare.error.as_ref()) {
            Some(error) => Fate::of(error),
            None if self.failed => Fate::Failed,
            None => Fate::Done,
        }
    }

    pub(crate) fn has_error(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.error.is_some())
    }

    pub(crate) fn take_error(&mut self) -> Option<TaskError> {
        self.rare.as_mut().and_then(|rare| rare.error.take())
    }
}

impl TaskState {
    pub(crate) fn new(owner: Option<Owner>) -> Self {
        Self {
            phase: AtomicU32::new(QUEUED),
            sleepers: AtomicU32::new(0),
            place: AtomicU64::new(0),
            abandoned: AtomicBool::new(false),
            end: Mutex::default(),
            owner,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            QUEUED => Phase::Queued,
            BOARDED => {
                let place = self.place.load(Ordering::Relaxed);
                Phase::Boarded { slot: place as u32 & 0xffff, generation: place >> 16 }
            }
            _ => Phase::Finished,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.phase.load(Ordering::Acquire) == FINISHED
    }

    /// It is in a slot now. Called under the engine's lock.
    pub(crate) fn board(&self, slot: u32, generation: u64) {
        self.place.store(generation << 16 | u64::from(slot), Ordering::Relaxed);
        self.enter(BOARDED);
    }

    /// It is in a queue, under this number. Called under the engine's lock.
    ///
    /// A thread that has just seen that it is in a slot may read this in place of the slot: it stands for no generation of the first one.
    pub(crate) fn queue(&self, number: u64) {
        self.place.store(number << 16, Ordering::Relaxed);
    }

    /// The number under which it was put into a queue last, if it is in one. Called under the engine's lock.
    pub(crate) fn queued_at(&self) -> u64 {
        self.place.load(Ordering::Relaxed) >> 16
    }

    /// It waits for a slot once more. Called under the engine's lock.
    pub(crate) fn requeue(&self) {
        self.enter(QUEUED);
    }

    /// It has ended. Called under the engine's lock, once. Gives who is to be told, without the lock.
    #[must_use]
    pub(crate) fn finish(&self, outcome: Outcome) -> Watchers {
        let mut end = self.end();
        end.outcome = Some(outcome);
        let watchers = std::mem::take(&mut end.watchers);
        drop(end);
        self.enter(FINISHED);
        watchers
    }

    /// Adds somebody who is told when it ends. Called under the engine's lock, before its end. Whether he is the first, and those
    /// who are not wanted any more, to be dropped without the lock.
    pub(crate) fn add_watcher(&self, watcher: Watcher) -> (bool, Vec<Watcher>) {
        let mut end = self.end();
        let first = end.watchers.is_empty();
        (first, end.watchers.add(watcher))
    }

    pub(crate) fn set_abandoned(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
    }

    /// The number of the request that it is for, at an engine of other machines.
    pub(crate) fn set_request(&self, id: u64) {
        self.place.store(id, Ordering::Relaxed);
    }

    pub(crate) fn request(&self) -> u64 {
        self.place.load(Ordering::Relaxed)
    }

    /// Results that are still on another machine, if it has ended.
    pub(crate) fn away(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.end().outcome.as_ref()?.rare.as_ref()?.away.clone()
    }

    /// Whether it has ended, and its outcome says that something failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.end().outcome.as_ref().is_some_and(|outcome| outcome.failed || outcome.has_error())
    }

    fn end(&self) -> MutexGuard<'_, End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, phase: u32) {
        // Store, then look for sleepers; a sleeper announces itself, then looks at the phase. Both in the one total order of
        // sequentially consistent operations, so one of the two sees the other.
        self.phase.store(phase, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) != 0 {
            futex::wake_all(&self.phase);
        }
    }

    /// Sleeps while it waits for a slot.
    pub(crate) fn sleep_while_queued(&self, deadline: Option<std::time::Instant>) {
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        if self.phase.load(Ordering::SeqCst) == QUEUED {
            futex::wait(&self.phase, QUEUED, deadline);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    /// The outcome, once.
    pub(crate) fn take_outcome(&self) -> Option<Outcome> {
        let outcome = self.end().outcome.take();
        if let Some(events) = outcome.as_ref().and_then(|outcome| outcome.rare.as_ref()?.events.as_ref()) {
            events.pass_on_now();
        }
        outcome
    }
}
