//! Handles of shared memory that travel inside values.
//!
//! A handle is encoded as the name of its object. Somebody must have the object until the other side has it: so each handle that
//! is encoded on this thread is noted here, and the process that sends the bytes takes the notes along.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::codec::CodecError;
use crate::shared::handle::Handle;

/// What the value that is being encoded is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Nothing of ours: another serialiser is at work.
    None,
    /// It moves away, and its owner does not use it any more.
    Move,
    /// It is lent: its owner goes on to use it.
    Lend,
    /// It moves away, but the process that sends it keeps it until an answer comes: so an exclusive owner is sent as a copy.
    Copy,
    /// It goes to another machine, where no handle means anything: what lies in shared memory is sent itself.
    Far,
}

/// How an exclusive owner travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Itself.
    Moved,
    /// As a copy, which its own encoding makes.
    Copied,
}

/// Where the bytes come from that are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A message, which keeps the objects that it names.
    Message,
    /// A container, which they are taken out of.
    Taken,
    /// A container, where they stay.
    Copied,
    /// Another machine.
    Far,
}

/// The handles in an encoded value.
#[derive(Debug, Default)]
pub(crate) struct HandleTable {
    pub(crate) entries: Vec<Arc<Handle>>,
    /// Named segments of which there are slices in it.
    segments: Vec<Arc<dyn Any + Send + Sync>>,
    /// Exclusive owners among them that move away, each with the pass that has met it: by the number of the object, and their own.
    owners: BTreeMap<(u32, u32), (Arc<Handle>, u32)>,
    /// How often the value has been encoded before: first to measure it, then to write it.
    pass: u32,
    /// Whether they are only promised: they were found behind references, so that somebody may be using what they own.
    promised: bool,
}

thread_local! {
    static PURPOSE: Cell<Purpose> = const { Cell::new(Purpose::None) };
    static SOURCE: Cell<Source> = const { Cell::new(Source::Message) };
    static RECEIVED: RefCell<BTreeSet<u32>> = const { RefCell::new(BTreeSet::new()) };
    static MESSAGE: Cell<u64> = const { Cell::new(0) };
    static RETAINING: Cell<bool> = const { Cell::new(false) };
    static LOADED: Cell<bool> = const { Cell::new(false) };
    static SHARED: Cell<u64> = const { Cell::new(0) };
    #[cfg(feature = "dask")]
    static POOL: Cell<u64> = const { Cell::new(0) };
    #[cfg(feature = "dask")]
    static BLOBS: RefCell<Vec<Arc<Handle>>> = const { RefCell::new(Vec::new()) };
    static CARGO: RefCell<HandleTable> = const { RefCell::new(HandleTable::NONE) };
}

impl HandleTable {
    const NONE: Self =
        Self { entries: Vec::new(), segments: Vec::new(), owners: BTreeMap::new(), pass: 0, promised: false };

    /// Whether exclusive owners have moved away.
    pub(crate) fn has_owners(&self) -> bool {
        !self.owners.is_empty()
    }

    /// Whether the process that sends it must drop what was encoded, and then [`settle`](HandleTable::settle), before anything else reads it.
    pub(crate) fn is_promised(&self) -> bool {
        self.promised
    }

    /// What was encoded has been dropped.
    ///
    /// # Errors
    ///
    /// If an owner is still there.
    pub(crate) fn settle(&mut self) -> Result<(), CodecError> {
        self.promised = false;
        let mut result = Ok(());
        for ((_, number), (handle, _)) in &self.owners {
            if handle.end_promise(*number) {
                result = Err(CodecError::new(
                    "a `SharedVec` in it has not gone with it: somebody else has it, for instance in an `Arc`; pass the only one, pass a slice of it, or `share()` it",
                ));
            }
        }
        result
    }

    /// It was not sent after all.
    pub(crate) fn unload(self) {
        for ((_, number), (handle, _)) in &self.owners {
            if !handle.end_promise(*number) {
                handle.take_back(*number);
            }
        }
    }
}

/// A value is about to be encoded on this thread. What an encoding that panicked has left is forgotten.
#[inline(always)]
pub(crate) fn begin() {
    if LOADED.get() {
        abort();
    }
    PURPOSE.set(if is_far_away() { Purpose::Far } else { Purpose::Move });
}

/// Worker: whether results go to another machine.
#[cfg(feature = "dask")]
static FAR_AWAY: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Worker: results go to another machine.
#[cfg(feature = "dask")]
pub(crate) fn set_far_away() {
    FAR_AWAY.store(true, std::sync::atomic::Ordering::Relaxed);
}

#[inline(always)]
fn is_far_away() -> bool {
    #[cfg(feature = "dask")]
    return FAR_AWAY.load(std::sync::atomic::Ordering::Relaxed);
    #[cfg(not(feature = "dask"))]
    false
}

/// Whether what is being encoded goes to another machine.
#[cfg(feature = "dask")]
#[inline]
pub(crate) fn is_far() -> bool {
    PURPOSE.try_with(|purpose| purpose.get() == Purpose::Far).unwrap_or(false)
}

/// Encodes something that goes to another machine, through this pool. Gives the objects that have to get there some other way.
#[cfg(feature = "dask")]
pub(crate) fn far<R, E>(pool: u64, encode: impl FnOnce() -> Result<R, E>) -> Result<(R, Vec<Arc<Handle>>), E> {
    POOL.set(pool);
    BLOBS.take();
    let (value, _) = collecting_for(Purpose::Far, encode)?;
    Ok((value, BLOBS.take()))
}

/// The pool that what is being encoded goes through.
#[cfg(feature = "dask")]
pub(crate) fn far_pool() -> u64 {
    POOL.get()
}

/// Notes an object that has to be on the other machine.
#[cfg(feature = "dask")]
pub(crate) fn note_blob(handle: &Arc<Handle>) {
    BLOBS.with_borrow_mut(|blobs| {
        if !blobs.iter().any(|other| Arc::ptr_eq(other, handle)) {
            blobs.push(Arc::clone(handle));
        }
    });
}

/// It is encoded: gives its handles, if there are any.
#[inline(always)]
pub(crate) fn finish() -> Option<HandleTable> {
    PURPOSE.set(Purpose::None);
    if LOADED.get() { Some(take()) } else { None }
}

#[cold]
fn take() -> HandleTable {
    LOADED.set(false);
    CARGO.take()
}

/// The same value is encoded once more.
#[inline(always)]
pub(crate) fn again() {
    if LOADED.get() {
        CARGO.with_borrow_mut(|handles| handles.pass += 1);
    }
    SHARED.set(0);
}

/// Notes a named segment of which a slice is being encoded that must be kept.
pub(crate) fn keep_segment(segment: Arc<dyn Any + Send + Sync>) {
    LOADED.set(true);
    CARGO.with_borrow_mut(|handles| handles.segments.push(segment));
}

/// It could not be encoded.
#[inline(always)]
pub(crate) fn abort() {
    PURPOSE.set(Purpose::None);
    if LOADED.get() {
        take().unload();
    }
}

/// Encodes something on the side, while another value may be half encoded.
#[inline]
pub(crate) fn collecting<R, E>(encode: impl FnOnce() -> Result<R, E>) -> Result<(R, Option<HandleTable>), E> {
    collecting_for(Purpose::Move, encode)
}

#[inline]
fn collecting_for<R, E>(
    purpose: Purpose,
    encode: impl FnOnce() -> Result<R, E>,
) -> Result<(R, Option<HandleTable>), E> {
    /// Also if `encode` panics.
    struct Restore {
        purpose: Purpose,
        others: Option<HandleTable>,
    }
    impl Drop for Restore {
        #[inline(always)]
        fn drop(&mut self) {
            if LOADED.get() {
                take().unload();
            }
            PURPOSE.set(self.purpose);
            if let Some(others) = self.others.take() {
                LOADED.set(true);
                CARGO.set(others);
            }
        }
    }
    SHARED.set(0);
    let restore = Restore { purpose: PURPOSE.get(), others: LOADED.get().then(take) };
    PURPOSE.set(purpose);
    let result = encode();
    let handles = if LOADED.get() { Some(take()) } else { None };
    drop(restore);
    match result {
        Ok(value) => Ok((value, handles)),
        Err(error) => {
            if let Some(handles) = handles {
                handles.unload();
            }
            Err(error)
        }
    }
}

fn with_purpose<R>(purpose: Purpose, encode: impl FnOnce() -> R) -> R {
    let before = PURPOSE.replace(purpose);
    let result = encode();
    PURPOSE.set(before);
    result
}

/// Encodes what its owner goes on to use.
#[inline(always)]
pub(crate) fn lending<R>(encode: impl FnOnce() -> R) -> R {
    // Nothing moves to another machine.
    let purpose = if PURPOSE.get() == Purpose::Far { Purpose::Far } else { Purpose::Lend };
    with_purpose(purpose, encode)
}

/// Encodes what is dropped only when an answer has come.
#[inline(always)]
pub(crate) fn copying<R>(encode: impl FnOnce() -> R) -> R {
    SHARED.set(0);
    with_purpose(Purpose::Copy, encode)
}

/// Encodes slices that must be kept because their owner may be dropped before they are read.
pub(crate) fn retaining<R>(encode: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            RETAINING.set(self.0);
        }
    }
    let _restore = Restore(RETAINING.replace(true));
    encode()
}

pub(crate) fn is_retaining() -> bool {
    RETAINING.get()
}

/// Until its end, bytes come from a certain source.
pub(crate) struct Entered(Source);

impl Drop for Entered {
    fn drop(&mut self) {
        SOURCE.set(self.0);
    }
}

/// From here on bytes come from there.
pub(crate) fn enter(source: Source) -> Entered {
    Entered(SOURCE.replace(source))
}

/// Decodes what comes from a container.
pub(crate) fn from<R>(source: Source, decode: impl FnOnce() -> R) -> R {
    let _entered = enter(source);
    decode()
}

/// Where the bytes come from.
pub(crate) fn source() -> Source {
    SOURCE.get()
}

/// Worker: a message begins.
pub(crate) fn begin_message() {
    MESSAGE.set(MESSAGE.get() + 1);
    RECEIVED.with_borrow_mut(BTreeSet::clear);
}

/// Worker: which message is run.
pub(crate) fn message() -> u64 {
    MESSAGE.get()
}

/// Worker: this object was named by the bytes that are decoded.
pub(crate) fn receive(id: u32) {
    if SOURCE.get() == Source::Message {
        let _ = RECEIVED.try_with(|received| received.borrow_mut().insert(id));
    }
}

/// Worker: whether the message that is being run keeps this object.
pub(crate) fn is_kept_by_message(id: u32) -> bool {
    RECEIVED.try_with(|received| received.borrow().contains(&id)).unwrap_or(false)
}

/// Notes that so many bytes are referred to by what is being encoded.
pub(crate) fn count_shared(bytes: u64) {
    SHARED.set(SHARED.get().saturating_add(bytes));
}

/// How many bytes were referred to since this was last asked.
#[inline(always)]
pub(crate) fn shared_bytes() -> u64 {
    SHARED.replace(0)
}

/// Notes a handle that is being encoded.
pub(crate) fn carry(handle: &Arc<Handle>) -> Result<(), CodecError> {
    if PURPOSE.get() == Purpose::Far {
        return Err(CodecError::new(
            "a handle of shared memory means something on one machine only: to another one pass plain values, a `SharedSlice` or a `SharedVec`",
        ));
    }
    if PURPOSE.get() == Purpose::None && !RETAINING.get() {
        return Err(CodecError::new(
            "a handle of shared memory means something to this program and its workers only: pass it to a task, or serialise what it holds",
        ));
    }
    if CARGO.try_with(|_| ()).is_err() {
        return Err(CodecError::new(
            "a handle of shared memory cannot be sent by a destructor of a thread's own variables",
        ));
    }
    LOADED.set(true);
    CARGO.with_borrow_mut(|handles| {
        // Many items often share one.
        if !handles.entries.iter().rev().take(4).any(|other| Arc::ptr_eq(other, handle)) {
            handles.entries.push(Arc::clone(handle));
        }
    });
    Ok(())
}

/// Notes an exclusive owner that moves away, found behind a reference of unknown origin.
pub(crate) fn carry_owner(handle: &Arc<Handle>, number: u32) -> Result<Owner, CodecError> {
    match PURPOSE.get() {
        Purpose::Copy => return Ok(Owner::Copied),
        Purpose::Lend => {
            return Err(CodecError::new(
                "a `SharedVec` has one owner, so it cannot be sent from behind a reference: pass it by value, pass a slice of it, or `share()` it",
            ));
        }
        Purpose::Move | Purpose::None | Purpose::Far => {}
    }
    note_owner(handle, number, Handle::promise)?;
    CARGO.with_borrow_mut(|handles| handles.promised = true);
    Ok(Owner::Moved)
}

/// Notes an exclusive owner that moves away, and that nothing else can refer to.
pub(crate) fn carry_unshared_owner(handle: &Arc<Handle>, number: u32) -> Result<(), CodecError> {
    note_owner(handle, number, Handle::send_away)
}

fn note_owner(handle: &Arc<Handle>, number: u32, send: impl FnOnce(&Handle, u32) -> bool) -> Result<(), CodecError> {
    carry(handle)?;
    CARGO.with_borrow_mut(|handles| {
        let owner = (handle.reference().id, number);
        let pass = handles.pass;
        match handles.owners.get_mut(&owner) {
            Some((_, met)) if *met < pass => *met = pass,
            None if send(handle, number) => drop(handles.owners.insert(owner, (Arc::clone(handle), pass))),
            Some(_) => return Err(CodecError::new("the same `SharedVec` is in it twice")),
            None => return Err(CodecError::new("this `SharedVec` was sent away before")),
        }
        Ok(())
    })
}
