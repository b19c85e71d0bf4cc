//! Reading the results of a message.

use super::message::Refused;
use super::outcome::{Left, Outcome};
use crate::codec::{self, CodecError, Reader};
use crate::error::TaskError;
use crate::function::code;
use crate::function::erased::{ErasedValue, ErasedVec};
use crate::function::pass_mode::{Changed, Returned};
use crate::function::remote::Received;
use crate::function::table::{FunctionTable, Piece};

/// The results of an outcome, one after the other.
pub(super) struct ResultReader<'o> {
    function: &'static FunctionTable,
    outcome: &'o Outcome,
    returned: Returned<'o>,
    /// Items whose results lie together and have not been read.
    together: usize,
    granted: bool,
}

impl<'o> ResultReader<'o> {
    pub(super) fn new(function: &'static FunctionTable, outcome: &'o Outcome) -> Self {
        let bytes = outcome.results.as_slice();
        // SAFETY: the bytes are private and live as long as the outcome; only copies are made from this reader.
        let results = outcome.reader(unsafe { Reader::from_raw(bytes.as_ptr(), bytes.len()) });
        let rare = outcome.rare.as_deref();
        let arguments = rare.and_then(|rare| rare.arguments.as_ref()).map_or(Changed::default(), Left::changed);
        let granted = rare.is_some_and(|rare| rare.granted.is_some());
        let together = (outcome.done as usize).saturating_sub(usize::from(granted));
        Self { function, outcome, returned: Returned { results, arguments }, together, granted }
    }

    /// Reads values until one is none, and says why it is not. To be called again with the items after that one. `items` is null, or
    /// where the items lie into which is copied what was changed. Gives how many were read.
    ///
    /// # Safety
    ///
    /// There is room for `count` outputs of the function at `values`; if `items` is not null, `count` items lie there, which no thread
    /// else uses.
    pub(super) unsafe fn read(&mut self, items: *mut u8, count: usize, values: *mut u8) -> (usize, Option<TaskError>) {
        let receive = self.function.remote().receive;
        let together = self.together.min(count);
        // SAFETY: as the caller promises.
        let (read, received) = unsafe { receive(&mut self.returned, items, together, values) };
        match received {
            Received::All => self.together -= together,
            failed => {
                self.together -= read + 1;
                return (read, Some(self.failure(failed)));
            }
        }
        if together == count || !self.go_to_granted() {
            return (read, None);
        }
        let items = if items.is_null() { items } else { items.wrapping_add(together * self.function.item.size()) };
        let value = values.wrapping_add(read * self.function.output.size());
        // SAFETY: there is one more item, and room for its output.
        match unsafe { receive(&mut self.returned, items, 1, value) } {
            (last, Received::All) => (read + last, None),
            (last, failed) => (read + last, Some(self.failure(failed))),
        }
    }

    /// The same, for values that are added to others.
    ///
    /// # Safety
    ///
    /// If `items` is not null, `count` items of the function lie there, which nothing else uses; the vector is one of its outputs.
    pub(super) unsafe fn read_into(
        &mut self,
        items: *mut u8,
        count: usize,
        values: &mut ErasedVec<'_>,
    ) -> (usize, Option<TaskError>) {
        values.reserve(count);
        let len = values.len();
        // SAFETY: there is room for `count` more; the rest as the caller promises.
        let (read, failure) = unsafe { self.read(items, count, values.at(len)) };
        // SAFETY: so many were written behind those that were there; an output that was decoded borrows nothing.
        unsafe { values.set_len(len + read) };
        (read, failure)
    }

    /// Where the next result ends of those that lie together, if there is one.
    pub(super) fn end_of_next(&self) -> Option<usize> {
        let reader = &self.returned.results;
        let [_, a, b, c, d] = reader.at::<{ code::HEADER }>(0).ok().filter(|_| self.together > 0)?;
        Some(reader.offset() + code::HEADER + u32::from_ne_bytes([a, b, c, d]) as usize)
    }

    /// Goes on behind a result, reading which has panicked: where `end_of_next` had said that it ends.
    pub(super) fn skip_to(&mut self, end: Option<usize>) {
        match end {
            Some(end) => {
                self.returned.results.go_to(end);
                self.together -= 1;
            }
            // It was the one in a block of its own, and the last.
            None => self.together = 0,
        }
    }

    /// Reads the only value to a place, and copies nothing back. `None` if there is no result.
    ///
    /// # Safety
    ///
    /// There is room for an output of the function.
    pub(super) unsafe fn read_output(&mut self, value: *mut u8) -> Option<Result<(), TaskError>> {
        if self.outcome.done == 0 {
            return None;
        }
        if self.together == 0 {
            self.go_to_granted();
        }
        let receive = self.function.remote().receive;
        // SAFETY: as the caller promises; there are no items.
        Some(match unsafe { receive(&mut self.returned, std::ptr::null_mut(), 1, value) } {
            (_, Received::All) => Ok(()),
            (_, failed) => Err(self.failure(failed)),
        })
    }

    /// Goes on in the granted block, if there is one that has not been read.
    fn go_to_granted(&mut self) -> bool {
        let granted = self.outcome.rare.as_deref().and_then(|rare| rare.granted.as_ref());
        match granted {
            Some((block, len)) if std::mem::take(&mut self.granted) => {
                // SAFETY: the block is mapped as long as the outcome lives, `len` was checked against it, and only copies are
                // made from this reader.
                self.returned.results = self.outcome.reader(unsafe { Reader::from_raw(block.start().as_ptr(), *len) });
                true
            }
            _ => false,
        }
    }

    fn failure(&mut self, failed: Received) -> TaskError {
        let function = self.function.name;
        let reader = &mut self.returned.results;
        let end = if let Received::Code(_, end) = failed { end } else { 0 };
        let told = match failed {
            Received::All => Err(CodecError::new("there is a value")),
            Received::Failed(error) => Err(error),
            Received::Code(code::PANICKED, _) => codec::decode(reader)
                .map(|(message, location, backtrace)| TaskError::Panicked { function, message, location, backtrace }),
            Received::Code(code::NOT_DECODED, _) => {
                codec::decode(reader).map(|reason| TaskError::Decode { function, what: "arguments", reason })
            }
            Received::Code(code::NOT_ENCODED, _) => {
                codec::decode(reader).map(|reason| TaskError::Encode { function, what: "result", reason })
            }
            Received::Code(code::NO_MEMORY, _) => codec::decode(reader)
                .map(|(requested, available)| TaskError::OutOfSharedMemory { requested, available }),
            Received::Code(code::ENDED, _) => super::failure::take(reader).map(|error| error.of(function)),
            Received::Code(other, _) => Err(CodecError::new(format_args!("{other} is no code of a result"))),
        };
        reader.go_to(end);
        told.unwrap_or_else(|error| TaskError::Decode { function, what: "result", reason: error.to_string() })
    }
}

/// The error of an item without a result.
pub(crate) fn missing(function: &'static str) -> TaskError {
    TaskError::Decode { function, what: "result", reason: "the worker process left none".to_owned() }
}

/// Reads the result of a message of one item, and copies what was changed back into it.
pub(super) fn read_call(one: &mut Piece<'_>, mut outcome: Outcome) -> Result<(), TaskError> {
    let function = one.table();
    // SAFETY: the item of the piece lies there, if it has not been dropped, which is its alone, and there is room for its output.
    let (read, failure) = unsafe { ResultReader::new(function, &outcome).read(one.item_or_null(), 1, one.output()) };
    if read == 1 {
        // SAFETY: it was just written.
        unsafe { one.note_output() };
    }
    match failure.or_else(|| outcome.take_error()) {
        Some(error) => {
            if read == 1 {
                one.drop_output();
            }
            Err(error)
        }
        None if read == 1 => Ok(()),
        None => Err(missing(function.name)),
    }
}

/// Reads the result of a message of one item whose arguments are gone.
pub(super) fn output<'a>(function: &'static FunctionTable, mut outcome: Outcome) -> Result<ErasedValue<'a>, TaskError> {
    let read = |place: *mut u8| {
        // SAFETY: there is room for one output.
        let read = unsafe { ResultReader::new(function, &outcome).read_output(place) };
        read.map_or(Err(None), |read| read.map_err(Some))
    };
    // SAFETY: an output was written if there is no error; what was decoded borrows nothing.
    unsafe { ErasedValue::try_write(function.output, read) }.map_err(|error| {
        error.unwrap_or_else(|| outcome.take_error().unwrap_or_else(|| missing(function.name)).of(function.name))
    })
}

impl Refused {
    pub(crate) fn into_task_error(self, function: &'static str) -> TaskError {
        match self {
            Self::Codec(error) => TaskError::Encode { function, what: "arguments", reason: error.to_string() },
            Self::Memory(error) => error,
        }
    }
}
