//! Codes before each result. The code is followed by the length of the result in four bytes; 0 where nothing follows it anyway.

/// Bytes of code and length.
pub(crate) const HEADER: usize = 5;
pub(crate) const VALUE: u8 = 0;
pub(crate) const PANICKED: u8 = 1;
pub(crate) const NOT_DECODED: u8 = 2;
pub(crate) const NOT_ENCODED: u8 = 3;
pub(crate) const NO_MEMORY: u8 = 4;
/// It was taken back before it began.
pub(crate) const SKIPPED: u8 = 6;
/// An error of another machine's engine.
pub(crate) const ENDED: u8 = 5;
