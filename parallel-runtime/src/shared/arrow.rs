//! Arrow record batches in shared memory.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write};
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{FileDecoder, read_footer_length};
use arrow_ipc::writer::FileWriter;
use arrow_ipc::{Block, root_as_footer};
use arrow_schema::ArrowError;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::slice::SharedSlice;
use super::vec::SharedVec;
use crate::error::TaskError;

/// A data frame that is written once into shared memory and read there by every worker: an Arrow `RecordBatch` whose columns lie in a
/// [`SharedSlice`].
///
/// A clone is another handle. It derefs to the `RecordBatch`, and works with the `arrow` crates; a part
/// (`batch.slice(offset, length)`) is a view as well.
///
/// ```
/// use std::sync::Arc;
/// use arrow_array::cast::AsArray;
/// use arrow_array::types::Float64Type;
/// use arrow_array::{Float64Array, RecordBatch};
/// use parallel_runtime::{SharedBatch, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn total(batch: SharedBatch, from: usize, rows: usize) -> f64 {
///     let part = batch.slice(from, rows);
///     part.column(0).as_primitive::<Float64Type>().values().iter().sum()
/// }
///
/// let prices = Float64Array::from_iter_values((0..1000).map(f64::from));
/// let batch = RecordBatch::try_from_iter([("price", Arc::new(prices) as _)]).unwrap();
/// let shared = SharedBatch::new(&batch).unwrap();
/// let totals = total::map((0..4).map(|part| (shared.clone(), part * 250, 250)));
/// assert_eq!(totals.iter().sum::<f64>(), 499_500.0);
/// ```
///
/// The memory holds the batch as an Arrow IPC file. Its text columns are checked once in each process that gets a handle; nothing
/// else is read or copied then. A process that writes over shared memory afterwards can make text invalid: do not share
/// batches with workers that handle untrusted input.
#[derive(Clone)]
pub struct SharedBatch {
    file: SharedSlice<u8>,
    batch: RecordBatch,
}

impl SharedBatch {
    /// Writes a batch into shared memory.
    ///
    /// # Errors
    ///
    /// If the batch cannot be written as an Arrow IPC file, or shared memory is short (`ArrowError::ExternalError` with a
    /// [`TaskError`]).
    pub fn new(batch: &RecordBatch) -> Result<Self, ArrowError> {
        // Once to know how long it is, once to write it where it is to lie.
        let mut length = Length(0);
        write(batch, &mut length)?;
        let mut memory = SharedVec::try_zeroed(length.0).map_err(external)?;
        write(batch, &mut &mut memory[..])?;
        Self::read(memory.share())
    }

    fn read(file: SharedSlice<u8>) -> Result<Self, ArrowError> {
        let start = NonNull::from(&*file).cast::<u8>();
        let len = file.len();
        // SAFETY: the bytes lie in shared memory that `file` keeps mapped and that nothing changes; the buffer keeps `file`.
        let buffer = unsafe { Buffer::from_custom_allocation(start, len, Arc::new(file.clone())) };
        let known = file.nonce().is_some_and(is_valid);
        let batch = decode(&buffer, known)?;
        if let (false, Some(nonce)) = (known, file.nonce()) {
            note_valid(nonce);
        }
        Ok(Self { file, batch })
    }

    /// The batch, whose columns lie in shared memory.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }
}

/// Bytes after the footer of an Arrow IPC file.
const TRAILER: usize = 10;

/// Finds the columns of the only batch of an Arrow IPC file. `known`: this process has checked these very bytes before.
///
/// As in the `zero_copy_ipc` example of the `arrow` crate.
fn decode(buffer: &Buffer, known: bool) -> Result<RecordBatch, ArrowError> {
    let damaged = || ArrowError::IpcError("the shared memory holds no record batch".to_owned());
    let part = |from: usize, len: usize| {
        let inside = from.checked_add(len).is_some_and(|end| end <= buffer.len());
        inside.then(|| buffer.slice_with_length(from, len)).ok_or_else(damaged)
    };
    let end = buffer.len().checked_sub(TRAILER).ok_or_else(damaged)?;
    let trailer = part(end, TRAILER)?;
    let footer_len = read_footer_length(trailer.as_slice().try_into().map_err(|_| damaged())?)?;
    let footer = part(end.checked_sub(footer_len).ok_or_else(damaged)?, footer_len)?;
    let footer = root_as_footer(&footer).map_err(|error| ArrowError::IpcError(error.to_string()))?;
    let schema = try_fb_to_schema(footer.schema().ok_or_else(damaged)?)?;
    // What lies at its alignment is not copied; that it does is up to the writer.
    let mut decoder = FileDecoder::new(Arc::new(schema), footer.version()).with_require_alignment(true);
    if known {
        // SAFETY: this process has checked these very bytes before, and nothing changes them.
        decoder = unsafe { decoder.with_skip_validation(true) };
    }
    let block_of = |block: &Block| {
        let number = |number: i64| usize::try_from(number).map_err(|_| damaged());
        let len = number(block.bodyLength())?.checked_add(number(block.metaDataLength().into())?);
        part(number(block.offset())?, len.ok_or_else(damaged)?)
    };
    for block in footer.dictionaries().iter().flatten() {
        decoder.read_dictionary(block, &block_of(block)?)?;
    }
    let block = footer.recordBatches().and_then(|batches| batches.iter().next()).ok_or_else(damaged)?;
    decoder.read_record_batch(block, &block_of(block)?)?.ok_or_else(damaged)
}

/// The objects whose bytes this process has checked, by their nonces, of which there are no two the same.
static VALID: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// So many are remembered.
const MOST_VALID: usize = 1024;

fn is_valid(nonce: u64) -> bool {
    VALID.lock().unwrap_or_else(PoisonError::into_inner).contains(&nonce)
}

fn note_valid(nonce: u64) {
    let mut valid = VALID.lock().unwrap_or_else(PoisonError::into_inner);
    if valid.len() >= MOST_VALID {
        valid.clear();
    }
    valid.insert(nonce);
}

fn write(batch: &RecordBatch, target: &mut impl Write) -> Result<(), ArrowError> {
    let mut writer = FileWriter::try_new(target, batch.schema_ref())?;
    writer.write(batch)?;
    writer.finish()
}

fn external(error: TaskError) -> ArrowError {
    ArrowError::ExternalError(Box::new(error))
}

/// Counts what is written.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Deref for SharedBatch {
    type Target = RecordBatch;
    fn deref(&self) -> &RecordBatch {
        &self.batch
    }
}

impl fmt::Debug for SharedBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedBatch").field(&self.batch).finish()
    }
}

impl Serialize for SharedBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.file.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(SharedSlice::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}
