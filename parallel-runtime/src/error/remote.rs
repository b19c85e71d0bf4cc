//! An error of any type, as it is on the other side of a process border.

use std::error::Error;
use std::fmt;
use std::io;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An error of any type that has crossed a process border: its message, and the messages of its sources.
///
/// A `mode = "process"` function may return `anyhow::Result<T>`, `eyre::Result<T>`, `std::io::Result<T>` or
/// `Result<T, Box<dyn Error + Send + Sync>>` as it is: the error becomes a `RemoteError` in the worker, and the program makes its own type of it
/// again, by `From<RemoteError>`. An [`io::Error`] keeps its [`kind`](io::Error::kind), and the number of the system if it has one.
///
/// Errors of other crates that serde does not know are turned into one by hand:
///
/// ```
/// use parallel_runtime::{RemoteError, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn parse(text: String) -> Result<i64, RemoteError> {
///     text.trim().parse().map_err(RemoteError::from_error)
/// }
///
/// #[parallel(mode = "process", pool = 2)]
/// fn size(path: &str) -> std::io::Result<u64> {
///     Ok(std::fs::metadata(path)?.len())
/// }
///
/// assert_eq!(parse("7".to_owned()).unwrap(), 7);
/// assert_eq!(parse("x".to_owned()).unwrap_err().to_string(), "invalid digit found in string");
/// assert_eq!(size("/no/such/file").unwrap_err().kind(), std::io::ErrorKind::NotFound);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteError {
    message: String,
    /// What an [`io::Error`] was.
    io: Option<Io>,
    source: Option<Box<RemoteError>>,
}

/// What an [`io::Error`] was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Io {
    kind: io::ErrorKind,
    /// The number of the system.
    code: Option<i32>,
}

/// So many sources are kept, since nothing keeps an error from being its own source.
const MOST_SOURCES: usize = 64;

impl RemoteError {
    /// What an error says.
    pub fn new(error: &(dyn Error + 'static)) -> Self {
        let chain = std::iter::successors(Some(error), |&error| error.source()).take(MOST_SOURCES);
        let each = chain.map(|error| {
            let io = error.downcast_ref::<io::Error>();
            let io = io.map(|error| Io { kind: error.kind(), code: error.raw_os_error() });
            // One that has crossed before.
            let io = io.or_else(|| error.downcast_ref::<Self>().and_then(|error| error.io));
            (error.to_string(), io)
        });
        Self::of_chain(each.collect())
    }

    /// The same, for `map_err`.
    pub fn from_error(error: impl Into<Box<dyn Error>>) -> Self {
        Self::new(&*error.into())
    }

    /// The kind, if it was an [`io::Error`].
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.io.map(|io| io.kind)
    }

    fn of_chain(chain: Vec<(String, Option<Io>)>) -> Self {
        let link = |source: Option<Self>, (message, io)| Some(Self { message, io, source: source.map(Box::new) });
        let nothing = Self { message: String::new(), io: None, source: None };
        chain.into_iter().rev().fold(None, link).unwrap_or(nothing)
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for RemoteError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<io::Error> for RemoteError {
    fn from(error: io::Error) -> Self {
        Self::new(&error)
    }
}

impl From<RemoteError> for io::Error {
    fn from(error: RemoteError) -> Self {
        match error.io {
            // It says what the system says.
            Some(Io { code: Some(code), .. }) if error.source.is_none() => Self::from_raw_os_error(code),
            Some(Io { kind, .. }) => Self::new(kind, error),
            None => Self::other(error),
        }
    }
}

macro_rules! kinds {
    ($($kind:ident),* $(,)?) => {
        /// The name of a kind.
        fn name_of(kind: io::ErrorKind) -> &'static str {
            match kind {
                $(io::ErrorKind::$kind => stringify!($kind),)*
                _ => "Other",
            }
        }

        fn kind_of(name: &str) -> io::ErrorKind {
            match name {
                $(stringify!($kind) => io::ErrorKind::$kind,)*
                _ => io::ErrorKind::Other,
            }
        }
    };
}
kinds! {
    NotFound, PermissionDenied, ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, ConnectionAborted, NotConnected,
    AddrInUse, AddrNotAvailable, NetworkDown, BrokenPipe, AlreadyExists, WouldBlock, NotADirectory, IsADirectory, DirectoryNotEmpty,
    ReadOnlyFilesystem, StaleNetworkFileHandle, InvalidInput, InvalidData, TimedOut, WriteZero, StorageFull, NotSeekable, QuotaExceeded,
    FileTooLarge, ResourceBusy, ExecutableFileBusy, Deadlock, TooManyLinks, ArgumentListTooLong, Interrupted, Unsupported, UnexpectedEof,
    OutOfMemory,
}

/// An error and its sources, from the outside in: the message, and what an [`io::Error`] was.
type Chain<'c> = Vec<(std::borrow::Cow<'c, str>, Option<(std::borrow::Cow<'c, str>, Option<i32>)>)>;

impl Serialize for RemoteError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let chain = std::iter::successors(Some(self), |error| error.source.as_deref());
        let chain: Chain<'_> = chain
            .map(|error| (error.message.as_str().into(), error.io.map(|io| (name_of(io.kind).into(), io.code))))
            .collect();
        chain.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RemoteError {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let chain = Chain::<'static>::deserialize(deserializer)?;
        let each = chain
            .into_iter()
            .take(MOST_SOURCES)
            .map(|(message, io)| (message.into_owned(), io.map(|(kind, code)| Io { kind: kind_of(&kind), code })));
        Ok(Self::of_chain(each.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_says_and_its_sources_stay() {
        let inner = io::Error::new(io::ErrorKind::InvalidData, "inner");
        let outer = io::Error::new(io::ErrorKind::NotFound, RemoteError::new(&inner));
        let error = RemoteError::from_error(outer);
        assert_eq!((error.to_string().as_str(), error.io_kind()), ("inner", Some(io::ErrorKind::NotFound)));
        assert_eq!(RemoteError::from_error("text").to_string(), "text");
        let system = io::Error::from_raw_os_error(2);
        let again = io::Error::from(RemoteError::new(&system));
        assert_eq!((again.kind(), again.raw_os_error()), (system.kind(), Some(2)));
        assert_eq!(again.to_string(), system.to_string());
    }

    #[test]
    fn an_error_that_is_its_own_source_ends() {
        #[derive(Debug)]
        struct Circle;
        impl fmt::Display for Circle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("round")
            }
        }
        impl Error for Circle {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&Circle)
            }
        }
        let error = RemoteError::new(&Circle);
        assert_eq!(std::iter::successors(Some(&error as &dyn Error), |&error| error.source()).count(), MOST_SOURCES);
    }
}
