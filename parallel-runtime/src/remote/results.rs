//! Reading the results of a message.

use super::message::Refused;
use super::ticket::{Left, Outcome};
use crate::codec::{CodecError, Reader};
use crate::error::TaskError;
use crate::function::pass_mode::{Changed, Returned};
use crate::function::{Received, Remote, code, header};
use crate::shared::handles;

/// The results of an outcome, one after the other.
pub(crate) struct Results<'o, I, R> {
    remote: &'o Remote<I, R>,
    outcome: &'o Outcome,
    returned: Returned<'o>,
    /// Items whose results lie together and have not been read.
    together: usize,
    granted: bool,
    _source: handles::Entered,
}

impl<'o, I, R> Results<'o, I, R> {
    pub(crate) fn new(remote: &'o Remote<I, R>, outcome: &'o Outcome) -> Self {
        // Also where a container's value is being decoded, whose `Deserialize` has called a task.
        let source = handles::enter(outcome.source());
        let bytes = outcome.results.as_slice();
        // SAFETY: the bytes are private and live as long as the outcome; only copies are made from this reader.
        let results = unsafe { Reader::from_raw(bytes.as_ptr(), bytes.len()) }.untrusted();
        let rare = outcome.rare.as_deref();
        let arguments = rare.and_then(|rare| rare.arguments.as_ref()).map_or(Changed::default(), Left::changed);
        let granted = rare.is_some_and(|rare| rare.granted.is_some());
        let together = (outcome.done as usize).saturating_sub(usize::from(granted));
        Self { remote, outcome, returned: Returned { results, arguments }, together, granted, _source: source }
    }

    /// Reads values until one is none, and says why it is not. To be called again with the items after that one.
    pub(crate) fn read(&mut self, items: &mut [I], values: &mut Vec<R>) -> Option<TaskError> {
        let together = self.together.min(items.len());
        let (these, rest) = items.split_at_mut(together);
        let before = values.len();
        match (self.remote.receive)(&mut self.returned, these, values) {
            Received::All => self.together = 0,
            failed => {
                self.together -= values.len() - before + 1;
                return Some(self.failure(failed));
            }
        }
        if rest.is_empty() || !self.go_to_granted() {
            return None;
        }
        match (self.remote.receive)(&mut self.returned, &mut rest[..1], values) {
            Received::All => None,
            failed => Some(self.failure(failed)),
        }
    }

    /// Reads the only value, and copies nothing back. `None` if there is no result.
    pub(crate) fn read_output(&mut self) -> Option<Result<R, TaskError>> {
        if self.outcome.done == 0 {
            return None;
        }
        if self.together == 0 {
            self.go_to_granted();
        }
        let value = match header(&mut self.returned.results) {
            Ok((code::VALUE, _)) => (self.remote.output)(&mut self.returned).map_err(Received::Failed),
            Ok((other, end)) => Err(Received::Code(other, end)),
            Err(error) => Err(Received::Failed(error)),
        };
        Some(value.map_err(|failed| self.failure(failed)))
    }

    /// Goes on in the granted block, if there is one that has not been read.
    fn go_to_granted(&mut self) -> bool {
        let granted = self.outcome.rare.as_deref().and_then(|rare| rare.granted.as_ref());
        match granted {
            Some((block, len)) if std::mem::take(&mut self.granted) => {
                // SAFETY: the block is mapped as long as the outcome lives, `len` was checked against it, and only copies are
                // made from this reader.
                self.returned.results = unsafe { Reader::from_raw(block.start().as_ptr(), *len) }.untrusted();
                true
            }
            _ => false,
        }
    }

    fn failure(&mut self, failed: Received) -> TaskError {
        let function = self.remote.function;
        let reader = &mut self.returned.results;
        let end = if let Received::Code(_, end) = failed { end } else { 0 };
        let told = match failed {
            Received::All => Err(CodecError::new("there is a value")),
            Received::Failed(error) => Err(error),
            Received::Code(code::PANICKED, _) => crate::codec::decode(reader)
                .map(|(message, location, backtrace)| TaskError::Panicked { function, message, location, backtrace }),
            Received::Code(code::NOT_DECODED, _) => {
                crate::codec::decode(reader).map(|reason| TaskError::Decode { function, what: "arguments", reason })
            }
            Received::Code(code::NOT_ENCODED, _) => {
                crate::codec::decode(reader).map(|reason| TaskError::Encode { function, what: "result", reason })
            }
            Received::Code(code::NO_MEMORY, _) => crate::codec::decode(reader)
                .map(|(requested, available)| TaskError::OutOfSharedMemory { requested, available }),
            #[cfg(feature = "dask")]
            Received::Code(code::ENDED, _) => super::failure::take(reader).map(|error| error.of(function)),
            Received::Code(other, _) => Err(CodecError::new(format_args!("{other} is no code of a result"))),
        };
        reader.go_to(end);
        told.unwrap_or_else(|error| TaskError::Decode { function, what: "result", reason: error.to_string() })
    }

    /// The error of an item without a result.
    pub(crate) fn missing(function: &'static str) -> TaskError {
        TaskError::Decode { function, what: "result", reason: "the worker process left none".to_owned() }
    }
}

impl Refused {
    pub(crate) fn into_task_error(self, function: &'static str) -> TaskError {
        match self {
            Self::Codec(error) => TaskError::Encode { function, what: "arguments", reason: error.to_string() },
            Self::Memory(error) => error,
        }
    }
}
