//! There are no workers that print.

use std::io;

use super::none::{Descriptor, check};

/// The end in the program.
#[derive(Debug)]
pub(crate) struct Reader(Descriptor);

pub(crate) fn new() -> io::Result<(Reader, Descriptor)> {
    check().map(|()| (Reader(Descriptor), Descriptor))
}

impl Reader {
    pub(crate) fn descriptor(&self) -> &Descriptor {
        &self.0
    }

    pub(crate) fn read(&self, _buffer: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
}
