//! An encoded call, on its way to a worker.

use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::Duration;

use super::recording::Recording;
use super::references::{SharedReferences, Stored, Writing};
use crate::codec::attachment::Purpose;
use crate::codec::{CodecError, LentMemory, Writer};
use crate::error::TaskError;
use crate::ipc::board::slot::{INLINE_ALIGNMENT, INLINE_ARGUMENTS};
use crate::observe::Seen;
use crate::options::Keep;
use crate::shared::handle_table::{self, Carried, HandleTable};
use crate::shared::{Arena, Block};

/// One or several items for one function.
pub(crate) struct Message<'b> {
    /// The function, as an offset from the start of the executable's image.
    pub(crate) entry: u64,
    pub(crate) items: u32,
    /// If it is looked at.
    pub(crate) seen: Option<Box<Seen>>,
    /// Whether the worker is to say how long it took.
    pub(crate) timed: bool,
    /// Whether it is the item of an `async fn`, of which a worker runs many at a time.
    pub(crate) is_async: bool,
    /// How long an item may take.
    pub(crate) limit: Option<Duration>,
    /// What is needed to send it again.
    pub(crate) retry: Option<Box<Retry>>,
    /// Its items once more, if failures are saved.
    pub(crate) recording: Option<Box<Recording>>,
    pub(crate) body: Body<'b>,
    /// Shared memory that goes with it.
    pub(crate) loan: Option<Box<Loan>>,
}

/// What is counted of a message when it is submitted.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) function: &'static str,
    /// Bytes of shared memory that it refers to.
    pub(crate) shared: u64,
    /// Whether it may travel with others of its function.
    pub(crate) packable: bool,
    /// Makes what the function keeps, if it keeps something.
    pub(crate) keep: Option<Keep>,
}

/// Shared memory that a message refers to.
#[derive(Debug, Default)]
pub(crate) struct Loan {
    /// The objects whose handles are in it. They exist as long as this does.
    handles: HandleTable,
    /// Parts of shared memory that the task may change.
    lent: Vec<LentMemory>,
    /// What many items of a map refer to.
    references: Vec<Arc<Stored>>,
}

impl Loan {
    /// What goes with what a writer has written, and how many bytes that refers to.
    #[inline(always)]
    fn take(writer: &mut Writer<'_>) -> (Option<Box<Self>>, u64) {
        let Carried { handles, shared, .. } = handle_table::take(writer);
        let lent = writer.take_lent();
        if handles.is_none() && lent.is_empty() {
            return (None, shared);
        }
        let loan = Self { handles: handles.unwrap_or_default(), lent, references: Vec::new() };
        (Some(Box::new(loan)), shared)
    }

    /// With what the items refer to.
    fn referring(loan: Option<Box<Self>>, references: Option<&mut SharedReferences>) -> Option<Box<Self>> {
        let used = references.map_or_else(Vec::new, SharedReferences::take_used);
        if used.is_empty() {
            return loan;
        }
        let mut loan = loan.unwrap_or_default();
        loan.references = used;
        Some(loan)
    }

    /// Whether a task that is still running could change what its caller has.
    pub(crate) fn is_exclusive(&self) -> bool {
        self.handles.has_owners() || !self.lent.is_empty()
    }

    /// Whether exclusive owners move away with it.
    pub(crate) fn has_owners(&self) -> bool {
        self.handles.has_owners()
    }

    /// See [`HandleTable::is_promised`].
    pub(crate) fn is_promised(&self) -> bool {
        self.handles.is_promised()
    }

    /// See [`HandleTable::settle`].
    pub(crate) fn settle(&mut self) -> Result<(), CodecError> {
        self.handles.settle()
    }

    /// It is not sent after all.
    pub(crate) fn unload(self) {
        self.handles.unload();
    }

    /// A private copy of what the task may change. `None` if it is not known where that is.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        if self.has_owners() {
            return None;
        }
        let copy = |lent: &LentMemory| {
            // SAFETY: the range is mapped as long as the call goes on, which has borrowed it exclusively; no worker has been told
            // of it yet.
            (*lent, unsafe { std::slice::from_raw_parts(lent.start.as_ptr(), lent.len) }.into())
        };
        Some(Snapshot(self.lent.iter().map(copy).collect()))
    }
}

/// What lay in shared memory before a task could change it.
#[derive(Debug, Default)]
pub(crate) struct Snapshot(Vec<(LentMemory, Box<[u8]>)>);

impl Snapshot {
    /// Puts it back.
    ///
    /// # Safety
    ///
    /// The call that has borrowed the memory goes on, and no worker uses the memory.
    pub(crate) unsafe fn restore(&self) {
        for (lent, bytes) in &self.0 {
            // SAFETY: the range is mapped as long as the call goes on; nothing else uses it, as the caller promises.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), lent.start.as_ptr(), bytes.len()) };
        }
    }
}

/// A message of one item that is sent again if its worker dies, or if it takes too long. The arguments are kept in memory that no worker
/// can write: so what a task had changed in place before it failed does not reach the next try.
#[derive(Debug)]
pub(crate) struct Retry {
    /// How often it may be sent again, and was sent.
    left: u32,
    tries: u32,
    entry: u64,
    is_async: bool,
    limit: Option<Duration>,
    bytes: Box<[u8]>,
    /// Of arguments in a block: see [`Arguments::marks`].
    marks: Option<Vec<u64>>,
    /// Of what it may change in shared memory.
    snapshot: Snapshot,
}

impl Retry {
    /// `None` if it is not to be sent again, or cannot be.
    pub(crate) fn new(
        retries: u32,
        (entry, is_async): (u64, bool),
        limit: Option<Duration>,
        body: &Body<'_>,
        loan: Option<&Loan>,
    ) -> Option<Box<Self>> {
        if retries == 0 {
            return None;
        }
        let snapshot = loan.map_or(Some(Snapshot::default()), Loan::snapshot)?;
        let (bytes, marks) = match body {
            Body::Inline(bytes) => (Box::from(*bytes), None),
            Body::Kept(bytes) => (bytes.clone(), None),
            Body::Block(arguments) => (arguments.copy(), Some(arguments.marks.clone())),
        };
        Some(Box::new(Self { left: retries, tries: 1, entry, is_async, limit, bytes, marks, snapshot }))
    }

    /// Whether it may be sent again.
    pub(crate) fn may_try(&self) -> bool {
        self.left > 0
    }

    /// How often it was sent.
    pub(crate) fn tries(&self) -> u32 {
        self.tries
    }

    /// The message for the next try.
    ///
    /// # Safety
    ///
    /// The worker that had the message before is gone.
    pub(crate) unsafe fn next(
        mut self: Box<Self>,
        arena: &Arc<Arena>,
        loan: Option<Box<Loan>>,
    ) -> Result<Message<'static>, TaskError> {
        self.left -= 1;
        self.tries += 1;
        // SAFETY: the task has not ended, so the thread that lent the memory waits, or has given it to the message; its worker is gone.
        unsafe { self.snapshot.restore() };
        let body = match &self.marks {
            None => Body::Kept(self.bytes.clone()),
            Some(marks) => {
                let mut block = arena.take(self.bytes.len() as u64)?;
                // SAFETY: no worker knows of this block: it was just taken.
                let memory = unsafe { block.bytes_mut(self.bytes.len()) };
                memory.copy_from_slice(as_uninit(&self.bytes));
                Body::Block(Arguments { block, len: self.bytes.len(), marks: marks.clone() })
            }
        };
        let Self { entry, is_async, limit, .. } = *self;
        let (items, seen, timed, retry, recording) = (1, None, false, Some(self), None);
        Ok(Message { entry, items, seen, timed, is_async, limit, retry, recording, body, loan })
    }
}

pub(crate) fn as_uninit(bytes: &[u8]) -> &[MaybeUninit<u8>] {
    // SAFETY: a `MaybeUninit<u8>` is laid out as a `u8`, and the slice is shared, so nothing uninitialised is written through it.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
}

impl Message<'_> {
    /// The same, without a borrow: for the queue.
    pub(crate) fn keep(self) -> Message<'static> {
        Message { body: self.body.keep(), ..self }
    }
}

/// The encoded arguments.
pub(crate) enum Body<'b> {
    /// Few enough to travel in the slot.
    Inline(&'b [u8]),
    /// The same, for a message that waits for a slot.
    Kept(Box<[u8]>),
    Block(Arguments),
}

/// Arguments in shared memory.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) block: Block,
    pub(crate) len: usize,
    /// Where the slices lie that the worker may change in place.
    pub(crate) marks: Vec<u64>,
}

impl Arguments {
    /// A private copy. To be made before a worker is told of the block.
    fn copy(&self) -> Box<[u8]> {
        // SAFETY: the block is mapped, `len` bytes of it were written, and no worker knows of it yet.
        unsafe { std::slice::from_raw_parts(self.block.start().as_ptr(), self.len) }.into()
    }
}

/// Why there is no message.
#[derive(Debug)]
pub(crate) enum Refused {
    Codec(CodecError),
    Memory(TaskError),
}

impl From<CodecError> for Refused {
    fn from(error: CodecError) -> Self {
        Self::Codec(error)
    }
}

/// Memory for arguments that may fit into the slot.
pub(crate) struct Scratch([MaybeUninit<u8>; INLINE_ARGUMENTS]);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self([MaybeUninit::uninit(); INLINE_ARGUMENTS])
    }
}

/// The arguments of a call as they were encoded, and what goes with them.
pub(crate) struct EncodedArguments<'b> {
    pub(crate) body: Body<'b>,
    pub(crate) loan: Option<Box<Loan>>,
    /// Bytes of shared memory that it refers to.
    pub(crate) shared: u64,
}

impl<'b> EncodedArguments<'b> {
    /// Encodes a call. `encode` may be called twice: once to measure, once to write. `guess` is about how many bytes it will
    /// take; a good guess saves the first call.
    #[inline]
    pub(crate) fn new(
        arena: &Arc<Arena>,
        scratch: &'b mut Scratch,
        guess: usize,
        mut references: Option<&mut SharedReferences>,
        encode: &mut dyn FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<Self, Refused> {
        if guess > INLINE_ARGUMENTS {
            return Self::encode_in_block(
                arena,
                guess,
                handle_table::purpose_in(arena, Purpose::Move),
                references,
                encode,
            );
        }
        let mut writing = references.as_deref_mut().map(|references| Writing { references, arena });
        let mut writer =
            handle_table::carrying(Writer::new(&mut scratch.0), handle_table::purpose_in(arena, Purpose::Move))
                .with_references(writing.as_mut().map(|writing| writing as _));
        encode(&mut writer)?;
        let len = writer.len();
        if !writer.overflowed() && !writer.has_marks() && writer.alignment() <= INLINE_ALIGNMENT {
            let (loan, shared) = Loan::take(&mut writer);
            drop(writer);
            let loan = Loan::referring(loan, references);
            let written = &scratch.0[..len];
            // SAFETY: the writer has written these bytes; a `MaybeUninit<u8>` that is written is laid out as a `u8`.
            let written = unsafe { std::slice::from_raw_parts(written.as_ptr().cast::<u8>(), len) };
            return Ok(Self { body: Body::Inline(written), loan, shared });
        }
        // What it took along is taken anew.
        drop(writer);
        Self::encode_in_block(arena, len, handle_table::purpose_in(arena, Purpose::Move), references, encode)
    }

    /// As [`new`](EncodedArguments::new), with copies of exclusive owners: see [`Purpose::Copy`].
    #[cold]
    pub(crate) fn of_copies(
        arena: &Arc<Arena>,
        guess: usize,
        encode: &mut dyn FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<Self, Refused> {
        Self::encode_in_block(arena, guess, handle_table::purpose_in(arena, Purpose::Copy), None, encode)
    }

    /// As [`of_copies`](EncodedArguments::of_copies), without any handle: see [`Purpose::File`].
    #[cold]
    pub(crate) fn of_contents(
        arena: &Arc<Arena>,
        guess: usize,
        encode: &mut dyn FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<Self, Refused> {
        Self::encode_in_block(arena, guess, Purpose::File, None, encode)
    }

    #[cold]
    fn encode_in_block(
        arena: &Arc<Arena>,
        guess: usize,
        purpose: Purpose,
        mut references: Option<&mut SharedReferences>,
        encode: &mut dyn FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<Self, Refused> {
        let mut room = guess.max(1);
        for _ in 0..2 {
            let mut block = arena.take(room as u64).map_err(Refused::Memory)?;
            let there = usize::try_from(block.len()).unwrap_or(room);
            // SAFETY: no worker knows of this block: it was just taken.
            let memory = unsafe { block.bytes_mut(there) };
            let mut writing = references.as_deref_mut().map(|references| Writing { references, arena });
            let mut writer = handle_table::carrying(Writer::new(memory), purpose)
                .with_references(writing.as_mut().map(|writing| writing as _));
            encode(&mut writer)?;
            let (len, marks) = (writer.len(), writer.take_marks());
            if !writer.overflowed() {
                let (loan, shared) = Loan::take(&mut writer);
                drop(writer);
                let loan = Loan::referring(loan, references);
                return Ok(Self { body: Body::Block(Arguments { block, len, marks }), loan, shared });
            }
            room = len;
        }
        Err(Refused::Codec(CodecError::new("its `Serialize` wrote different amounts of data for the same value")))
    }
}

impl Body<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Kept(bytes) => bytes.len(),
            Self::Block(arguments) => arguments.len,
        }
    }

    fn keep(self) -> Body<'static> {
        match self {
            Self::Inline(bytes) => Body::Kept(bytes.into()),
            Self::Kept(bytes) => Body::Kept(bytes),
            Self::Block(arguments) => Body::Block(arguments),
        }
    }
}
