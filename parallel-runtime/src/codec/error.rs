//! Why a value cannot cross.

use std::fmt;

/// Why a value could not be encoded or decoded. The text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecError(String);

impl CodecError {
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string())
    }

    pub(crate) fn end_of_data() -> Self {
        Self::mismatch("the data ended before the value did")
    }

    /// The bytes are not those of the type.
    pub(crate) fn mismatch(what: impl fmt::Display) -> Self {
        Self(format!("{what}; does its type serialise and deserialise the same fields?"))
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CodecError {}

impl serde::ser::Error for CodecError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}

impl serde::de::Error for CodecError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message)
    }
}
