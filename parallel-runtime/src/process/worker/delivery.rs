//! Where the results of one message go.

use std::mem::MaybeUninit;
use std::sync::atomic::Ordering;

use super::core::Worker;
use crate::codec::{CodecError, Writer};
use crate::function::{Encode, Overflow, Placed, ServeError};
use crate::ipc::board::Slot;
use crate::ipc::board::slot::INLINE_RESULT;
use crate::process::region::Part;

/// Results of a batch lie together in a part of the region of this size; when it is full the batch ends early.
const BATCH_RESULTS: u64 = 64 << 10;

/// The largest result that goes into the region.
const REGION_RESULT: u64 = 256 << 10;

/// Where the results of one message go.
///
/// They lie one after the other in the slot (a single item), or in a part of the region (a batch). A result that does not fit
/// there goes into a part of its own or, if it is large or one of several, into a block of its own, and ends the message.
pub(super) struct Delivery<'w, 's> {
    worker: &'w mut Worker,
    slot: &'s Slot,
    batch: bool,
    /// Where the results lie, if not in the slot.
    part: Option<Part>,
}

impl<'w, 's> Delivery<'w, 's> {
    pub(super) fn new(worker: &'w mut Worker, slot: &'s Slot, items: u32) -> Self {
        // What an earlier use of the slot left is not valid any more once `done_items` is set for this generation.
        slot.failed.store(0, Ordering::Relaxed);
        slot.result_offset.store(0, Ordering::Relaxed);
        slot.granted_len.store(0, Ordering::Relaxed);
        slot.nanoseconds.store(0, Ordering::Relaxed);
        let batch = items > 1;
        let mut delivery = Self { worker, slot, batch, part: None };
        if batch {
            // Without room in the region the first result that does not fit into the slot ends the message.
            delivery.take_part(BATCH_RESULTS);
        }
        delivery
    }

    fn take_part(&mut self, len: u64) -> bool {
        let Some(part) = self.worker.region.take(len) else { return false };
        self.part = Some(part);
        let region = self.worker.board.record(self.worker.index).region_offset.load(Ordering::Relaxed);
        self.slot.result_offset.store(region + part.offset, Ordering::Relaxed);
        true
    }

    /// The room for results: in the slot, or in the part.
    pub(super) fn memory(&self) -> (*mut MaybeUninit<u8>, usize) {
        match self.part {
            Some(part) => (self.worker.region.memory(part).as_ptr().cast(), part.len as usize),
            None => (self.slot.result.0.get().cast(), INLINE_RESULT),
        }
    }

    /// Encodes a result that was measured into memory of exactly its size.
    fn encode_at(start: *mut u8, needed: usize, encode: Encode<'_>) -> Result<(), ServeError> {
        // SAFETY: the caller has just been given `needed` bytes there: a part of the region, or a granted block.
        let memory = unsafe { std::slice::from_raw_parts_mut(start.cast::<MaybeUninit<u8>>(), needed) };
        let mut writer = Writer::new(memory);
        encode(&mut writer).map_err(ServeError::Encode)?;
        if writer.len() == needed {
            return Ok(());
        }
        Err(ServeError::Encode(CodecError::new("its `Serialize` wrote different amounts of data for the same value")))
    }

    /// Gives back the room that was not needed.
    pub(super) fn close(&mut self, len: usize) {
        if self.part.is_some() {
            self.worker.region.shrink_newest(len as u64);
            if len == 0 {
                self.slot.result_offset.store(0, Ordering::Relaxed);
            }
        }
    }
}

impl Overflow for Delivery<'_, '_> {
    fn overflow(&mut self, done: u32, needed: usize, encode: Encode<'_>) -> Result<Placed, ServeError> {
        if !self.batch && needed as u64 <= REGION_RESULT && self.take_part(needed as u64) {
            let (start, _) = self.memory();
            if let Err(error) = Self::encode_at(start.cast(), needed, encode) {
                self.worker.region.shrink_newest(0);
                self.part = None;
                self.slot.result_offset.store(0, Ordering::Relaxed);
                return Err(error);
            }
            return Ok(Placed::Moved(needed));
        }
        let (offset, start) = self.worker.grant(needed as u64)?;
        Self::encode_at(start, needed, encode)?;
        // This becomes valid when the item is published; a death in between costs this item alone.
        self.slot.granted_item.store(done + 1, Ordering::Relaxed);
        self.slot.granted_offset.store(offset, Ordering::Relaxed);
        self.slot.granted_len.store(needed as u64, Ordering::Relaxed);
        Ok(Placed::Apart)
    }
}
