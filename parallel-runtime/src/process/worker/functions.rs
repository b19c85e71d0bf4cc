//! What the numbers of functions stand for, as the program has said.

use crate::codec::{CodecError, Reader};
use crate::function::remote::{Serve, serve_at};
use crate::function::{ResultWriter, ServeError};
use crate::ipc::control::{ControlRequest, told_function};
use crate::process::state::functions::TOLD;
use crate::sys::channel::Channel;
use crate::sys::{exit, image};

/// The functions that this worker knows.
pub(super) struct Functions {
    known: Vec<Option<Serve>>,
}

/// The most numbers that are remembered: a program has no more functions.
const MOST: u64 = 1 << 20;

impl Functions {
    /// Those that it was told of when it was started.
    pub(super) fn new(first: [u64; TOLD]) -> Self {
        Self { known: first.into_iter().map(function_at).collect() }
    }

    /// The function of a number. One of which the program knows nothing fails.
    #[inline(always)]
    pub(super) fn get(&mut self, number: u64, channel: &Channel) -> Serve {
        match self.known.get(number as usize) {
            Some(Some(serve)) => *serve,
            _ => self.ask(number, channel),
        }
    }

    #[cold]
    fn ask(&mut self, number: u64, channel: &Channel) -> Serve {
        if number >= MOST {
            return unknown;
        }
        let asked = ControlRequest::Function(number).send(channel);
        let Some(entry) = asked.ok().and_then(|()| told_function(channel, number)) else {
            // The program is gone.
            exit::with_group()
        };
        let Some(serve) = function_at(entry) else { return unknown };
        let number = number as usize;
        if self.known.len() <= number {
            self.known.resize(number + 1, None);
        }
        self.known[number] = Some(serve);
        serve
    }
}

fn function_at(entry: u64) -> Option<Serve> {
    // SAFETY: the program has said so over the control channel, which no other process can write, and runs the same executable; it has the entry from
    // `RemoteTable::entry`.
    (entry != 0 && image::is_code(entry)).then(|| unsafe { serve_at(entry) })
}

/// Stands for no function.
fn unknown(_reader: &mut Reader<'_>, _results: &mut ResultWriter<'_>, _items: u32) -> Result<(), ServeError> {
    Err(ServeError::Decode(CodecError::new(
        "a worker process had damaged the memory that it shares with the program: there is no function of this number",
    )))
}
