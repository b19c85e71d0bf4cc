//! What many items of a map refer to crosses once.
//!
//! In `f::map(keys.iter().map(|key| (&config, key)))` every item has the same `&config`. When a reference is met a second time in the items of
//! one map, what it points to is encoded once more, into memory of its own; from then on the items say where that is. A worker decodes it
//! when the first of them comes, and keeps it for the others.
//!
//! Two references are the same if they have the same address, length and type. What they point to is borrowed as long as the map goes on, so
//! it neither moves nor ends, and no other value comes to lie there. (A `Mutex` in it may change meanwhile: workers see what it was when
//! it was encoded.)

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::codec::{CodecError, Reader, ReferenceKey, Writer};
use crate::shared::Space;

/// What follows is the value.
pub(super) const INLINE: u8 = 0;

/// What follows is where it is.
const ELSEWHERE: u8 = 1;

/// From this size on, encoded, it is worth while.
const LEAST: usize = 128;

type Encode<T> = fn(&T, &mut Writer<'_>) -> Result<(), CodecError>;

fn key<T: ?Sized>(value: &T) -> ReferenceKey {
    let address = std::ptr::from_ref(value).cast::<u8>().addr();
    ReferenceKey { address, size: size_of_val(value), type_id: typeid::of::<T>() }
}

/// Writes what a reference points to, or where it is.
#[inline]
pub(super) fn send<T: ?Sized>(value: &T, encode: Encode<T>, writer: &mut Writer<'_>) -> Result<(), CodecError> {
    // Slices of what has no size differ in length alone, which their size does not tell.
    let Some(references) = writer.references().filter(|_| size_of_val(value) != 0) else {
        writer.put([INLINE]);
        return encode(value, writer);
    };
    let key = key(value);
    if let Some(place) = references.place_of(key, &mut |writer| encode(value, writer))? {
        writer.put([ELSEWHERE]);
        place.into_iter().for_each(|word| writer.put(word.to_ne_bytes()));
        return Ok(());
    }
    writer.put([INLINE]);
    let before = writer.len();
    encode(value, writer)?;
    let len = writer.len() - before;
    if len >= LEAST
        && let Some(references) = writer.references()
    {
        references.note(key);
    }
    Ok(())
}

/// Where something lies in shared memory that items refer to.
pub(super) struct Place {
    /// No other thing has it.
    id: u64,
    offset: u64,
    len: u64,
}

impl Place {
    /// Reads it. `None` if the value follows.
    #[inline(always)]
    pub(super) fn receive(reader: &mut Reader<'_>) -> Result<Option<Self>, CodecError> {
        match reader.take_u8()? {
            INLINE => Ok(None),
            _ => {
                let mut word = || reader.take().map(u64::from_ne_bytes);
                Ok(Some(Self { id: word()?, offset: word()?, len: word()? }))
            }
        }
    }
}

impl Place {
    /// A reader of what is there, for the message that `outer` reads.
    pub(super) fn reader<'m>(&self, outer: &Reader<'m>) -> Result<Reader<'m>, CodecError> {
        let missing = || CodecError::new("what many items refer to is not where it was");
        let start = Space::in_messages(self.offset, self.len).ok_or_else(missing)?;
        let len = usize::try_from(self.len).map_err(|_| missing())?;
        // SAFETY: the range was just checked to be mapped. The program keeps it as long as the message, whose arguments are read as long as `'m`,
        // and nothing writes it.
        let mut reader = unsafe { Reader::from_raw(start.as_ptr(), len) };
        if outer.lends() {
            // SAFETY: as above. Only shared references to it are given out: nothing that is lent exclusively is put there.
            reader = unsafe { reader.lending() };
        }
        Ok(match outer.source() {
            Some(source) => reader.receiving(source),
            None => reader,
        })
    }
}

/// Worker: what was decoded last, with the numbers by which items refer to it. The number of a thing is never given to another one.
const KEPT: usize = 4;

thread_local!(static DECODED: RefCell<Vec<(u64, Rc<dyn Any>)>> = const { RefCell::new(Vec::new()) });

thread_local!(static STATE: Cell<State> = const { Cell::new(State::Nothing) });

/// What a worker knows of what is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is none.
    Nothing,
    /// The message that is run has not used it.
    Unused,
    /// It has.
    Used,
}

/// Worker: a message has been run. What it has not used is forgotten: the map is over.
#[inline]
pub(crate) fn end_message() {
    match STATE.get() {
        State::Nothing => {}
        State::Used => STATE.set(State::Unused),
        State::Unused => forget(),
    }
}

/// How long a worker that has nothing to do keeps it.
const IDLE: Duration = Duration::from_secs(5);

thread_local!(static IDLE_SINCE: Cell<Option<Instant>> = const { Cell::new(None) });

/// Worker: there is nothing to do. Says when this is to be called again, if there is still nothing to do then.
#[inline]
pub(crate) fn rest() -> Option<Instant> {
    if STATE.get() == State::Nothing { None } else { rest_with_some() }
}

#[cold]
fn rest_with_some() -> Option<Instant> {
    let until = IDLE_SINCE.get().unwrap_or_else(Instant::now) + IDLE;
    if Instant::now() < until {
        IDLE_SINCE.set(Some(until - IDLE));
        return Some(until);
    }
    forget();
    None
}

/// Worker: forgets what is kept: a task that has panicked may have left it half changed, and one that has nothing to do needs no memory.
#[cold]
pub(crate) fn forget() {
    STATE.set(State::Nothing);
    IDLE_SINCE.set(None);
    let decoded = DECODED.with_borrow_mut(std::mem::take);
    // Not under the borrow: a destructor may be the user's.
    crate::panics::discard(|| drop(decoded));
}

/// What a reference points to, for a type that a worker may keep; `H` owns it there.
#[derive(Debug)]
pub struct SharedReferent<T: ?Sized, H> {
    pub(super) send: Encode<T>,
    pub(super) receive: fn(&mut Reader<'_>) -> Result<H, CodecError>,
    pub(super) lend: fn(&H) -> &T,
}

/// What a worker has of it.
#[derive(Debug)]
pub enum Received<H> {
    /// Of this item alone.
    Own(H),
    /// Of many.
    Kept(Rc<H>),
}

impl<T: ?Sized, H: 'static> SharedReferent<T, H> {
    #[inline]
    pub fn send(&self, value: &T, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        send(value, self.send, writer)
    }

    #[inline]
    pub fn receive(&self, reader: &mut Reader<'_>) -> Result<Received<H>, CodecError> {
        match Place::receive(reader)? {
            None => (self.receive)(reader).map(Received::Own),
            Some(place) => self.receive_kept(&place, reader).map(Received::Kept),
        }
    }

    #[cold]
    fn receive_kept(&self, place: &Place, reader: &Reader<'_>) -> Result<Rc<H>, CodecError> {
        STATE.set(State::Used);
        IDLE_SINCE.set(None);
        let known = DECODED
            .with_borrow(|decoded| decoded.iter().find(|(id, _)| *id == place.id).map(|(_, kept)| Rc::clone(kept)));
        if let Some(known) = known {
            return known.downcast().map_err(|_| CodecError::mismatch("one reference is of two types"));
        }
        let mut inner = place.reader(reader)?;
        if let Some(source) = reader.source() {
            inner = inner.receiving(source);
        }
        let kept = Rc::new((self.receive)(&mut inner)?);
        let out = DECODED.with_borrow_mut(|decoded| {
            decoded.push((place.id, Rc::clone(&kept) as _));
            (decoded.len() > KEPT).then(|| decoded.remove(0))
        });
        drop(out);
        Ok(kept)
    }

    #[inline]
    pub fn lend<'h>(&self, stored: &'h Received<H>) -> &'h T {
        match stored {
            Received::Own(owned) => (self.lend)(owned),
            Received::Kept(kept) => (self.lend)(kept),
        }
    }
}
