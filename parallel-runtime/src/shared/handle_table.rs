//! Handles of shared memory that travel with values.
//!
//! The process that sends a value has the objects whose handles are in it until the other side has them: so each handle that is written is noted
//! ([`HandleTable`]), and the notes go with the message. What is written for a handle is its entry in the table of the frame
//! ([`codec::attachment`](crate::codec::attachment)); an exclusive owner is in one table once.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::arena::Arena;
use super::handle::{Handle, Reference};
use super::local_handles;
use super::offer::{GIVEN, Given, OFFERS, Offer};
use super::tables::Kind;
use crate::codec::attachment::{Attached, EXCLUSIVE, Entry, Purpose, Source};
use crate::codec::{CodecError, Writer};
use crate::sys::role;

/// The handles in an encoded value.
#[derive(Debug, Default)]
pub(crate) struct HandleTable {
    pub(crate) entries: Vec<Arc<Handle>>,
    /// Named segments of which there are slices in it.
    segments: Vec<Arc<dyn Any + Send + Sync>>,
    /// Exclusive owners among them that move away: by the number of the object, and their own.
    owners: BTreeMap<(u32, u32), Arc<Handle>>,
    /// Whether they are only promised: they were found behind references, so that what they own may be in use.
    promised: bool,
}

impl HandleTable {
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
        for ((_, number), handle) in &self.owners {
            if handle.end_promise(*number) {
                result = Err(CodecError::new(
                    "a `SharedVec` in it has not gone with it: something else has it, for instance an `Arc`; pass the only one, pass a slice of it, or `share()` it",
                ));
            }
        }
        result
    }

    /// It was not sent after all.
    pub(crate) fn unload(self) {
        self.take_owners_back();
    }

    fn take_owners_back(&self) {
        for ((_, number), handle) in &self.owners {
            if !handle.end_promise(*number) {
                handle.take_back(*number);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.segments.is_empty() && self.owners.is_empty()
    }

    fn note(&mut self, handle: &Arc<Handle>) {
        // Many items often share one.
        if !self.entries.iter().rev().take(4).any(|other| Arc::ptr_eq(other, handle)) {
            self.entries.push(Arc::clone(handle));
        }
    }

    fn note_owner(&mut self, handle: &Arc<Handle>, number: u32, sent: bool) -> Result<(), CodecError> {
        self.note(handle);
        if sent {
            self.owners.insert((handle.reference().id, number), Arc::clone(handle));
            return Ok(());
        }
        let is_here = self.owners.contains_key(&(handle.reference().id, number));
        Err(CodecError::new(match is_here {
            true => "the same `SharedVec` is in it twice",
            false => "this `SharedVec` was sent away before",
        }))
    }
}

/// What a writer keeps with the values that were written. Owners in it go back if it is dropped, since the values are not sent then.
#[derive(Debug, Default)]
struct Luggage {
    table: HandleTable,
    /// Bytes that the values refer to.
    shared: u64,
    /// Objects that have to get to the other machine some other way.
    #[cfg(feature = "dask")]
    blobs: Vec<Arc<Handle>>,
    /// The pool that the values go through.
    #[cfg(feature = "dask")]
    pool: u64,
}

impl Drop for Luggage {
    fn drop(&mut self) {
        self.table.take_owners_back();
    }
}

fn luggage<'w>(writer: &'w mut Writer<'_>) -> &'w mut Luggage {
    let luggage = writer.luggage.get_or_insert_with(|| Box::new(Luggage::default()));
    luggage.downcast_mut().expect("all luggage is of this kind")
}

/// What goes with the values that were written.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// Handles in them, if there are any.
    pub(crate) handles: Option<HandleTable>,
    /// Bytes that they refer to.
    pub(crate) shared: u64,
    #[cfg(feature = "dask")]
    pub(crate) blobs: Vec<Arc<Handle>>,
}

/// Takes what goes with the values that a writer has written.
#[inline(always)]
pub(crate) fn take(writer: &mut Writer<'_>) -> Carried {
    match writer.luggage.take() {
        None => Carried::default(),
        Some(luggage) => unpack(luggage),
    }
}

#[cold]
fn unpack(luggage: Box<dyn Any>) -> Carried {
    let mut luggage = luggage.downcast::<Luggage>().expect("all luggage is of this kind");
    let table = std::mem::take(&mut luggage.table);
    Carried {
        handles: Some(table).filter(|table| !table.is_empty()),
        shared: luggage.shared,
        #[cfg(feature = "dask")]
        blobs: std::mem::take(&mut luggage.blobs),
    }
}

/// Whether parts of memory are lent with the values that a writer has written.
pub(crate) fn lends(writer: &mut Writer<'_>) -> bool {
    !writer.take_lent().is_empty()
}

/// What values for workers of this arena are written for: `otherwise`, if these are not isolated.
#[inline(always)]
pub(crate) fn purpose_in(arena: &Arena, otherwise: Purpose) -> Purpose {
    if arena.is_isolated() { Purpose::Isolated } else { otherwise }
}

/// A writer whose values go to a worker of this machine, or to the program.
#[inline(always)]
pub(crate) fn carrying(writer: Writer<'_>, purpose: Purpose) -> Writer<'_> {
    writer.carrying(attach, purpose)
}

/// Encodes something without handles, as to a file: what lies in shared memory is in the bytes. `put` is called once to measure, and once to write.
pub(crate) fn encode_contents(
    mut put: impl FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
) -> Result<Vec<u8>, CodecError> {
    let mut room = 0;
    for _ in 0..2 {
        let mut bytes = Vec::with_capacity(room);
        let mut writer = carrying(Writer::new(bytes.spare_capacity_mut()), Purpose::File);
        put(&mut writer)?;
        let written = writer.len();
        if !writer.overflowed() {
            drop(writer);
            // SAFETY: the writer has written the first `written` bytes of the spare capacity.
            unsafe { bytes.set_len(written) };
            return Ok(bytes);
        }
        room = written;
    }
    Err(CodecError::new("its `Serialize` wrote different amounts of data for the same value"))
}

/// A writer of results: of a worker.
#[inline(always)]
pub(crate) fn carrying_results(writer: Writer<'_>) -> Writer<'_> {
    let purpose = match (FAR_AWAY.load(Ordering::Relaxed), role::is_isolated()) {
        (true, _) => Purpose::Far,
        (false, true) => Purpose::Isolated,
        (false, false) => Purpose::Move,
    };
    writer.carrying(attach, purpose)
}

/// A writer whose values go to another machine, through this pool.
#[cfg(feature = "dask")]
pub(crate) fn carrying_far(writer: Writer<'_>, pool: u64) -> Writer<'_> {
    let mut writer = writer.carrying(attach, Purpose::Far);
    luggage(&mut writer).pool = pool;
    writer
}

/// Worker: whether results go to another machine.
static FAR_AWAY: AtomicBool = AtomicBool::new(false);

/// Worker: results go to another machine.
#[cfg(feature = "dask")]
pub(crate) fn set_far_away() {
    FAR_AWAY.store(true, Ordering::Relaxed);
}

/// Writes what its owner goes on to use.
#[inline(always)]
pub(crate) fn lending<R>(writer: &mut Writer<'_>, write: impl FnOnce(&mut Writer<'_>) -> R) -> R {
    let before = writer.purpose;
    if before.shares_objects() {
        // Otherwise nothing moves.
        writer.purpose = Purpose::Lend;
    }
    let result = write(writer);
    writer.purpose = before;
    result
}

/// Notes that so many bytes are referred to by what is being written.
pub(super) fn count_shared(writer: &mut Writer<'_>, bytes: u64) {
    let luggage = luggage(writer);
    luggage.shared = luggage.shared.saturating_add(bytes);
}

/// Notes a named segment of which a slice is being written that must be kept.
pub(super) fn keep_segment(writer: &mut Writer<'_>, segment: Arc<dyn Any + Send + Sync>) {
    luggage(writer).table.segments.push(segment);
}

/// Notes an object of which a slice is being written that must be kept.
pub(super) fn keep_object(writer: &mut Writer<'_>, handle: &Arc<Handle>) {
    luggage(writer).table.note(handle);
}

/// Notes an object that has to be on the other machine.
#[cfg(feature = "dask")]
pub(super) fn note_blob(writer: &mut Writer<'_>, handle: &Arc<Handle>) {
    let blobs = &mut luggage(writer).blobs;
    if !blobs.iter().any(|other| Arc::ptr_eq(other, handle)) {
        blobs.push(Arc::clone(handle));
    }
}

/// The pool that what is being written goes through.
#[cfg(feature = "dask")]
pub(super) fn far_pool(writer: &mut Writer<'_>) -> u64 {
    luggage(writer).pool
}

/// Whether handles can be written, and what is sent does not move to another machine.
fn check_near(writer: &Writer<'_>) -> Result<(), CodecError> {
    match writer.purpose {
        Purpose::Far => Err(CodecError::new(
            "a handle of shared memory means something on one machine only: to another one pass plain values, a `SharedSlice` or a `SharedVec`",
        )),
        Purpose::Isolated => Err(CodecError::new(
            "a handle of shared memory means nothing to a worker in a sandbox, nor to a process that a task has started: it shares no objects with the \
             program. Pass plain values, a `SharedSlice` or a `SharedVec`, which are copied, or use a pool without a sandbox",
        )),
        Purpose::File => Err(CodecError::new(
            "a handle of shared memory means nothing to a later process, but that of a `SharedSlice` or a `SharedVec`, which are copied",
        )),
        Purpose::Move | Purpose::Lend | Purpose::Copy => Ok(()),
    }
}

/// Notes an exclusive owner that moves away, and that nothing else can refer to. Gives its entry.
pub(super) fn send_owner(
    handle: &Arc<Handle>,
    number: u32,
    bytes: u64,
    writer: &mut Writer<'_>,
) -> Result<Entry, CodecError> {
    check_near(writer)?;
    count_shared(writer, bytes);
    luggage(writer).table.note_owner(handle, number, handle.send_away(number))?;
    Ok(entry(handle, EXCLUSIVE))
}

/// As it stands in the table of a frame.
pub(super) fn entry(handle: &Handle, flags: u8) -> Entry {
    let Reference { id, nonce, .. } = handle.reference();
    let mut entry = [0; 16];
    entry[..8].copy_from_slice(&nonce.to_le_bytes());
    entry[8..12].copy_from_slice(&id.to_le_bytes());
    entry[15] = flags;
    entry
}

/// What an entry names.
pub(super) fn given(entry: Entry, copied: bool) -> Given {
    let [a, b, c, d, e, f, g, h, i, j, k, l, .., flags] = entry;
    Given {
        id: u32::from_le_bytes([i, j, k, l]),
        nonce: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        exclusive: flags & EXCLUSIVE != 0,
        copied,
    }
}

/// Takes handles along.
fn attach(ticket: u64, writer: &mut Writer<'_>) -> Result<Attached, CodecError> {
    let Some(offer) = OFFERS.take(ticket) else {
        return Err(CodecError::new("a value that is no handle of shared memory says that it is one"));
    };
    match writer.purpose {
        Purpose::Far => return attach_far(&offer, writer),
        Purpose::Isolated | Purpose::File => return attach_contents(&offer, writer),
        Purpose::Move | Purpose::Lend | Purpose::Copy => {}
    }
    let Some(handle) = &offer.handle else {
        return Err(CodecError::new(offer.refusal.unwrap_or_else(|| "it stays with this process".to_owned())));
    };
    let bytes = offer.elements.as_ref().map_or(handle.reference().len, |elements| elements.len() as u64);
    let Some(number) = offer.owner else {
        count_shared(writer, bytes);
        luggage(writer).table.note(handle);
        return Ok(Attached::Entry(entry(handle, 0)));
    };
    match writer.purpose {
        Purpose::Copy => {
            let copy = copy(&offer)?;
            count_shared(writer, bytes);
            luggage(writer).table.note(&copy);
            Ok(Attached::Entry(entry(&copy, EXCLUSIVE)))
        }
        Purpose::Lend => Err(CodecError::new(
            "a `SharedVec` has one owner, so it cannot be sent from behind a reference: pass it by value, pass a slice of it, or `share()` it",
        )),
        Purpose::Move | Purpose::Far | Purpose::Isolated | Purpose::File => {
            count_shared(writer, bytes);
            let table = &mut luggage(writer).table;
            table.note_owner(handle, number, handle.promise(number))?;
            table.promised = true;
            Ok(Attached::Entry(entry(handle, EXCLUSIVE)))
        }
    }
}

/// A copy of what is offered, in memory of its own.
fn copy(offer: &Offer) -> Result<Arc<Handle>, CodecError> {
    let nothing = || CodecError::new("there is nothing to copy");
    let elements = offer.elements.as_ref().ok_or_else(nothing)?;
    let (copy, _) =
        local_handles::create(elements.len() as u64, elements.alignment as u64, Kind::Vec).map_err(CodecError::new)?;
    let memory = local_handles::memory(&copy).ok_or_else(nothing)?;
    // SAFETY: it was offered by this thread just now, and its serialisation goes on when this returns.
    let bytes = unsafe { elements.bytes() };
    // SAFETY: the memory was just made for so many bytes, and nothing else knows of it.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.as_ptr(), bytes.len()) };
    Ok(copy)
}

/// What it holds, if that can be sent.
fn attach_contents(offer: &Offer, writer: &mut Writer<'_>) -> Result<Attached, CodecError> {
    let Some(elements) = &offer.elements else { return check_near(writer).map(|()| Attached::Bytes(Vec::new())) };
    // SAFETY: it was offered by this thread just now, and its serialisation goes on when this returns.
    Ok(Attached::Bytes(unsafe { elements.bytes() }.to_vec()))
}

#[cfg(feature = "dask")]
fn attach_far(offer: &Offer, writer: &mut Writer<'_>) -> Result<Attached, CodecError> {
    if let (Some(handle), Some(elements)) = (&offer.handle, &offer.elements)
        // A result has no program that would bring it anywhere.
        && elements.unchanging && elements.len() >= super::blob::LARGE && !role::in_worker()
    {
        note_blob(writer, handle);
        count_shared(writer, elements.len() as u64);
        return Ok(Attached::Text(super::blob::name_of(handle, far_pool(writer))));
    }
    attach_contents(offer, writer)
}

#[cfg(not(feature = "dask"))]
fn attach_far(_offer: &Offer, writer: &mut Writer<'_>) -> Result<Attached, CodecError> {
    check_near(writer).map(|()| Attached::Bytes(Vec::new()))
}

/// Worker: what the arguments of a message have brought.
#[derive(Default)]
pub(crate) struct Arguments {
    objects: RefCell<BTreeSet<u32>>,
    kept: RefCell<Vec<Arc<dyn Any + Send + Sync>>>,
}

impl Arguments {
    /// Whether the message keeps this object.
    pub(crate) fn keep_object(&self, id: u32) -> bool {
        self.objects.borrow().contains(&id)
    }
}

impl Source for Arguments {
    fn accept(&self, entry: Entry) -> Result<u64, CodecError> {
        let given = given(entry, false);
        self.objects.borrow_mut().insert(given.id);
        Ok(GIVEN.put(given))
    }

    fn withdraw(&self, ticket: u64) {
        GIVEN.take(ticket);
    }

    fn keep(&self, kept: Arc<dyn Any + Send + Sync>) {
        self.kept.borrow_mut().push(kept);
    }

    fn is_far(&self) -> bool {
        false
    }
}

/// Where values come from that are no arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A worker of this machine, which has sent a result.
    Result,
    /// A container, which they are taken out of.
    Taken,
    /// A container, where they stay.
    Copied,
    /// Another machine, or a worker that is isolated.
    Far,
}

impl Origin {
    /// The source.
    pub(crate) fn source(self) -> &'static dyn Source {
        match self {
            Self::Result => &Self::Result,
            Self::Taken => &Self::Taken,
            Self::Copied => &Self::Copied,
            Self::Far => &Self::Far,
        }
    }
}

impl Source for Origin {
    fn accept(&self, entry: Entry) -> Result<u64, CodecError> {
        if *self == Self::Far {
            return Err(CodecError::new("a handle of shared memory came from where there are none of this program's"));
        }
        Ok(GIVEN.put(given(entry, *self == Self::Copied)))
    }

    fn withdraw(&self, ticket: u64) {
        GIVEN.take(ticket);
    }

    fn keep(&self, _kept: Arc<dyn Any + Send + Sync>) {}

    fn is_far(&self) -> bool {
        *self == Self::Far
    }
}
