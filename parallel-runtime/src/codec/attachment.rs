//! What travels beside the bytes of a value, as file descriptors do beside those of a socket.
//!
//! A handle of shared memory is no data: the process that has it may use the memory, and some handles may exist once only. So in the bytes it is an
//! index into a table that follows the value in its frame, and nothing but this library writes or reads that table: see [`frame`](super::frame).
//! What code of the user's makes of the bytes between can name an entry of the table of its own message, and no other; one that is
//! exclusive is given out once.
//!
//! serde lets a handle say no more than a name and a value. So it *offers* itself to its process under a ticket (a number), and serialises the
//! ticket as a newtype struct of the name [`NAME`]. A [`Writer`](super::Writer) with a carrier takes what is offered under the
//! ticket; any other serialiser leaves it, by which the handle knows, and fails. Reading is the mirror of that.

use std::any::Any;
use std::sync::Arc;

use super::error::CodecError;

/// The newtype struct that is a ticket.
pub(crate) const NAME: &str = "$parallel_runtime::Attachment";

/// Whether this is the name of a ticket.
#[inline(always)]
pub(super) fn is_ticket(name: &'static str) -> bool {
    // Nearly all names have another length.
    name.len() == NAME.len() && name == NAME
}

/// An entry of the table.
pub(crate) type Entry = [u8; 16];

/// Set in an entry that is given out once: in its last byte.
pub(crate) const EXCLUSIVE: u8 = 1;

/// What a value is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It moves away, and its owner does not use it any more.
    Move,
    /// It is lent: its owner goes on to use it.
    Lend,
    /// It moves away, but the process that sends it keeps it until an answer comes: so what may exist once only is sent as a copy.
    Copy,
    /// It goes to another machine, where no handle means anything: what lies in shared memory is sent itself.
    Far,
    /// It goes to a worker that has no part in the program's shared objects, or comes from it: as if it went far.
    Isolated,
    /// It goes to a file, which a later process reads.
    File,
}

impl Purpose {
    /// Whether handles mean something on the other side.
    pub(crate) fn shares_objects(self) -> bool {
        !matches!(self, Self::Far | Self::Isolated | Self::File)
    }
}

/// What is written for a handle.
pub(crate) enum Attached {
    Entry(Entry),
    /// What it holds.
    Bytes(Vec<u8>),
    /// Where what it holds is found.
    #[cfg_attr(not(feature = "dask"), expect(dead_code, reason = "all is on this machine"))]
    Text(String),
}

/// Where attachments are taken from.
pub(crate) trait Source {
    /// Offers what an entry stands for, and gives the ticket.
    fn accept(&self, entry: Entry) -> Result<u64, CodecError>;

    /// What was offered under a ticket is not offered any more.
    fn withdraw(&self, ticket: u64);

    /// Keeps something as long as what is read is used.
    fn keep(&self, kept: Arc<dyn Any + Send + Sync>);

    /// Whether the bytes come from where no memory is shared: another machine, or a worker that is isolated.
    fn is_far(&self) -> bool;
}
