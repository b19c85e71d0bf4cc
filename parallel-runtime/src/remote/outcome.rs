//! What came of a message.

use std::any::Any;
use std::fmt::Debug;
use std::ptr::NonNull;
use std::sync::Arc;

use super::message::{Arguments, Loan};
use super::recording::{Recording, Unsaved};
use crate::codec::Reader;
use crate::error::TaskError;
use crate::function::pass_mode::Changed;
use crate::observe::Fate;
use crate::shared::handle_table::Origin;
use crate::shared::{Block, Handle};

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
    /// The events that the worker has sent. They are emitted before the outcome can be read.
    pub(crate) events: Option<Arc<dyn Events>>,
    /// The other objects whose handles are in the results.
    pub(crate) kept: Vec<Arc<Handle>>,
    /// What its results may take in memory, in bytes, if its pool says so.
    pub(crate) result_limit: Option<u64>,
    /// Nothing knows which of its items was at fault: each is to be sent alone.
    pub(crate) apart: bool,
    /// The item that the error is of, which is to be saved.
    pub(crate) unsaved: Option<Unsaved>,
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
    #[inline]
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
    #[inline(always)]
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

    /// Whether there is an error, and not because the task was cancelled.
    pub(crate) fn has_failure(&self) -> bool {
        let error = self.rare.as_ref().and_then(|rare| rare.error.as_ref());
        error.is_some_and(|error| !matches!(error, TaskError::Cancelled))
    }

    pub(crate) fn has_error(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| rare.error.is_some())
    }

    /// Takes the error, and saves the task that it is of, if it is to be.
    pub(crate) fn take_error(&mut self) -> Option<TaskError> {
        let rare = self.rare.as_mut()?;
        let error = rare.error.take()?;
        match rare.unsaved.take().and_then(Unsaved::save) {
            Some(path) => Some(error.saved_as(path)),
            None => Some(error),
        }
    }

    /// The task that failed is tried again.
    pub(crate) fn discard_unsaved(&mut self) {
        if let Some(unsaved) = self.rare.as_mut().and_then(|rare| rare.unsaved.take()) {
            unsaved.discard();
        }
    }

    /// Notes what is to be saved, if its error says so.
    pub(crate) fn record(&mut self, recording: Option<Box<Recording>>) {
        let Some(recording) = recording else { return };
        let done = self.done;
        let rare = self.rare();
        if rare.error.as_ref().is_some_and(TaskError::may_be_retried) {
            rare.unsaved = recording.failed(done);
        }
    }
}
