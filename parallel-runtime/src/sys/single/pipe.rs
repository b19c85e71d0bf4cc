//! There are no workers that print.

use std::io;

use super::none::Descriptor;

/// The end in the program: there is none.
#[derive(Debug)]
pub(crate) enum Reader {}

pub(crate) fn new() -> io::Result<(Reader, Descriptor)> {
    Err(super::none::none())
}

impl Reader {
    pub(crate) fn descriptor(&self) -> &Descriptor {
        match *self {}
    }

    pub(crate) fn read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }
}
