//! Where a worker delivers results.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::Ordering;

use super::code;
use crate::codec::{self, CodecError, Writer};
use crate::ipc::board::wait_while_terminating;
use crate::ipc::board::{Record, Slot};
use crate::ipc::control::ControlRequest;
use crate::ipc::link;
use crate::shared::handle::Reference;
use crate::shared::handle_table::{self, HandleTable};
use crate::sys::clock;

/// Why a worker has no result for an item, a panic apart.
#[derive(Debug)]
pub enum ServeError {
    /// The arguments do not decode.
    Decode(CodecError),
    /// The result does not encode.
    Encode(CodecError),
    /// The result does not fit into shared memory.
    OutOfSharedMemory {
        /// Bytes that were needed.
        requested: u64,
        /// Bytes that were there.
        available: u64,
    },
}

/// Encodes one result. May be called twice: a result that does not fit is measured by the first call and written by the second.
pub(crate) type Encode<'e> = &'e mut dyn FnMut(&mut Writer<'_>) -> Result<(), CodecError>;

/// Where a result is that did not fit into the room.
pub(crate) enum Placed {
    /// In other room, of which it takes so many bytes.
    Moved(usize),
    /// In a block of its own.
    Apart,
}

/// The future of an `async fn`: in the end it gives what delivers its result.
pub(crate) type Delivered = Pin<Box<dyn Future<Output = Deliver>>>;

/// Delivers a result.
pub(crate) type Deliver = Box<dyn FnOnce(&mut ResultWriter<'_>) -> Result<(), ServeError>>;

/// Finds room for a result that does not fit.
pub(crate) trait Overflow {
    /// Encodes a result of `needed` bytes, that of the item after `done` others.
    fn overflow(&mut self, done: u32, needed: usize, encode: Encode<'_>) -> Result<Placed, ServeError>;
}

/// What is delivered.
trait Deliverable {
    /// May be called twice: what does not fit is measured by the first call and written by the second.
    fn encode(&mut self, writer: &mut Writer<'_>) -> Result<(), CodecError>;

    /// It is encoded, and must be gone before it is published.
    fn let_go(&mut self);
}

/// A value that ends with its delivery.
struct Owned<V, E> {
    value: Option<V>,
    encode: E,
}

impl<V, E: FnMut(&V, &mut Writer<'_>) -> Result<(), CodecError>> Deliverable for Owned<V, E> {
    #[inline(always)]
    fn encode(&mut self, writer: &mut Writer<'_>) -> Result<(), CodecError> {
        match &self.value {
            Some(value) => (self.encode)(value, writer),
            None => Err(CodecError::new("it was let go of")),
        }
    }

    fn let_go(&mut self) {
        self.value = None;
    }
}

/// Makes sure that the objects whose handles are in a result exist until the program has read it, and that their owners have gone
/// with it.
#[cold]
fn keep(
    mut handles: HandleTable,
    value: &mut dyn Deliverable,
    arguments: Option<&handle_table::Arguments>,
) -> Result<(), ServeError> {
    if handles.is_promised() {
        value.let_go();
        handles.settle().map_err(ServeError::Encode)?;
    }
    for handle in &handles.entries {
        let Reference { id, nonce, .. } = handle.reference();
        let keep = ControlRequest::Keep { id: id.into(), nonce, task: link::task() };
        let is_kept = arguments.is_some_and(|arguments| arguments.keep_object(id));
        if !is_kept && link::ask(&keep)[0] == 0 {
            return Err(ServeError::Encode(CodecError::new("the shared memory behind a handle in it is gone")));
        }
    }
    Ok(())
}

/// Where a worker delivers the results of a message: one after the other into the room that there is.
///
/// After each result the slot is told how far the message has come, so that the death of the worker costs what it was running
/// and nothing that was done.
pub struct ResultWriter<'w> {
    writer: Writer<'w>,
    slot: &'w Slot,
    generation: u64,
    overflow: &'w mut dyn Overflow,
    /// What came with the arguments, which the message keeps.
    arguments: Option<&'w handle_table::Arguments>,
    /// This worker's record, if the items have a time limit.
    watched: Option<&'w Record>,
    /// Whether the message is to end before its last item.
    enough: Option<&'w dyn Fn() -> bool>,
    full: bool,
    /// The future of an `async fn` that has begun.
    deferred: Option<Delivered>,
    /// Where the last complete result ends.
    committed: usize,
    /// Items that have been begun, and items whose results are delivered.
    begun: u32,
    delivered: u32,
}

impl fmt::Debug for ResultWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultWriter").finish_non_exhaustive()
    }
}

impl<'w> ResultWriter<'w> {
    pub(crate) fn new(
        writer: Writer<'w>,
        slot: &'w Slot,
        generation: u64,
        overflow: &'w mut dyn Overflow,
        arguments: Option<&'w handle_table::Arguments>,
        watched: Option<&'w Record>,
    ) -> Self {
        Self {
            writer: handle_table::carrying_results(writer),
            slot,
            generation,
            overflow,
            arguments,
            watched,
            enough: None,
            full: false,
            deferred: None,
            committed: 0,
            begun: 0,
            delivered: 0,
        }
    }

    /// Ends the message before its last item when `enough`, which is asked after each item.
    pub(crate) fn end_when(&mut self, enough: &'w dyn Fn() -> bool) {
        self.enough = Some(enough);
    }

    /// Items whose results are delivered.
    pub(crate) fn delivered(&self) -> u32 {
        self.delivered
    }

    /// Bytes of the results that lie together.
    pub(crate) fn len(&self) -> usize {
        self.committed
    }

    /// One more item has ended, and the results that lie together take `len` bytes. What is published here survives the death of
    /// this process.
    #[inline(always)]
    fn publish(&mut self, len: usize) {
        self.committed = len;
        self.delivered += 1;
        self.slot.result_len.store(len as u64, Ordering::Relaxed);
        if self.watched.is_some() {
            // Before the progress: the thread that sees that the next item's turn has come sees since when.
            self.slot.began.store(clock::now(), Ordering::Relaxed);
        }
        self.slot.set_done_items(self.generation, self.delivered);
        self.full |= self.enough.is_some_and(|enough| enough());
    }

    /// Whether a result found no room: the message then ends with it.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// The next item is begun.
    #[inline(always)]
    pub(crate) fn begin(&mut self) {
        self.begun += 1;
        if let Some(record) = self.watched {
            self.begin_limited(record);
        }
    }

    #[cold]
    fn begin_limited(&self, record: &Record) {
        wait_while_terminating(record);
        if self.begun == 1 {
            self.slot.began.store(clock::now(), Ordering::Release);
        }
    }

    /// Whether the result of the item that was begun last is delivered: what fails after that fails nothing.
    pub(crate) fn has_delivered(&self) -> bool {
        self.delivered == self.begun
    }

    /// Takes the result of one item. `encode` may be called twice.
    #[inline]
    pub fn deliver<V>(
        &mut self,
        value: V,
        encode: impl FnMut(&V, &mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<(), ServeError> {
        let mut value = Owned { value: Some(value), encode };
        self.open();
        // This one step is compiled for each function, and inlined; all others are not.
        let encoded = value.encode(&mut self.writer);
        self.close(code::VALUE, encoded, &mut value)
    }

    /// Takes the future of one item, whose result is delivered when it is ready. The message ends with it.
    pub fn defer<V: 'static>(
        &mut self,
        future: impl Future<Output = V> + 'static,
        encode: impl FnMut(&V, &mut Writer<'_>) -> Result<(), CodecError> + 'static,
    ) -> Result<(), ServeError> {
        self.full = true;
        self.deferred = Some(Box::pin(async move {
            let value = future.await;
            Box::new(move |results: &mut ResultWriter<'_>| results.deliver(value, encode)) as Deliver
        }));
        Ok(())
    }

    /// The future of the item that was begun last, if it is to be run.
    pub(crate) fn take_deferred(&mut self) -> Option<Delivered> {
        self.deferred.take()
    }

    /// Takes the reason why there is no result for one item.
    pub(crate) fn deliver_failure(&mut self, code: u8, reason: &impl serde::Serialize) -> Result<(), ServeError> {
        self.deliver_error(code, |writer| codec::encode(reason, writer))
    }

    /// The same, written by `put`, which may be called twice.
    pub(crate) fn deliver_error(
        &mut self,
        code: u8,
        mut put: impl FnMut(&mut Writer<'_>) -> Result<(), CodecError>,
    ) -> Result<(), ServeError> {
        let encode = |(): &(), writer: &mut Writer<'_>| put(writer);
        let mut value = Owned { value: Some(()), encode };
        self.open();
        let encoded = value.encode(&mut self.writer);
        self.close(code, encoded, &mut value)
    }

    /// The next item is not run.
    pub(crate) fn skip(&mut self) {
        self.begin();
        if self.deliver_failure(code::SKIPPED, &()).is_err() {
            // There is no room: the message ends.
            self.full = true;
        }
    }

    /// A result is about to be encoded. A result whose encoding panicked or failed half-way has left a piece.
    #[inline]
    fn open(&mut self) {
        self.writer.rewind(self.committed);
        self.writer.put([0; code::HEADER]);
        if self.writer.luggage.is_some() {
            // What an encoding that panicked has left.
            self.writer.luggage = None;
        }
    }

    /// A result was encoded, or could not be.
    #[inline(always)]
    fn close(
        &mut self,
        code: u8,
        encoded: Result<(), CodecError>,
        value: &mut dyn Deliverable,
    ) -> Result<(), ServeError> {
        if let Err(error) = encoded {
            self.writer.luggage = None;
            return Err(ServeError::Encode(error));
        }
        if self.writer.overflowed() {
            return self.deliver_elsewhere(code, value);
        }
        if let Some(handles) = handle_table::take(&mut self.writer).handles {
            keep(handles, value, self.arguments)?;
        }
        // How long it is, so that the next one is found even if this one does not decode.
        let before = self.committed;
        let len = (self.writer.len() - before - code::HEADER) as u32;
        let [a, b, c, d] = len.to_ne_bytes();
        self.writer.patch(before, [code, a, b, c, d]);
        self.publish(self.writer.len());
        Ok(())
    }

    /// The result that was just encoded did not fit.
    #[cold]
    fn deliver_elsewhere(&mut self, code: u8, value: &mut dyn Deliverable) -> Result<(), ServeError> {
        let before = self.committed;
        let needed = self.writer.len() - before;
        self.writer.rewind(before);
        self.full = true;
        let Self { writer: short, overflow, .. } = self;
        // What it took along is taken anew.
        short.luggage = None;
        let placed = overflow.overflow(self.delivered, needed, &mut |writer| {
            short.luggage = None;
            short.lend_to(writer, |writer| {
                writer.put([code, 0, 0, 0, 0]);
                value.encode(writer)
            })
        })?;
        if let Some(handles) = handle_table::take(&mut self.writer).handles {
            keep(handles, value, self.arguments)?;
        }
        self.publish(match placed {
            Placed::Moved(len) => len,
            Placed::Apart => before,
        });
        Ok(())
    }
}
