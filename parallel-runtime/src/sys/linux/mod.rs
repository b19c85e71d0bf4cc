//! Linux.

pub(super) mod address;
pub(crate) mod channel;
#[path = "../unix/child.rs"]
pub(crate) mod child;
pub(crate) mod clock;
mod cloexec;
mod credentials;
mod death;
mod descriptor_numbers;
#[path = "../unix/descriptors.rs"]
pub(crate) mod descriptors;
#[path = "../unix/entry.rs"]
pub(crate) mod entry;
mod executable;
#[path = "../unix/executable_mode.rs"]
mod executable_mode;
#[path = "../unix/exit.rs"]
pub(crate) mod exit;
#[path = "../unix/fault.rs"]
pub(crate) mod fault;
#[cfg(feature = "dask")]
#[path = "../unix/file_mapping.rs"]
pub(crate) mod file_mapping;
#[path = "../unix/files.rs"]
pub(crate) mod files;
#[path = "../unix/fork.rs"]
pub(crate) mod fork;
#[path = "../elf/format.rs"]
mod format;
#[path = "../portable/identity.rs"]
mod identity;
#[path = "../unix/image.rs"]
pub(crate) mod image;
#[path = "../elf/initializers.rs"]
mod initializers;
#[path = "../unix/interrupts.rs"]
pub(crate) mod interrupts;
pub(crate) mod lifetime;
pub(crate) mod limits;
pub(crate) mod memory;
pub(crate) mod named;
mod needs;
mod object;
#[path = "../unix/peer.rs"]
pub(crate) mod peer;
#[path = "../unix/pipe.rs"]
pub(crate) mod pipe;
pub(crate) mod poller;
#[path = "../unix/privilege.rs"]
pub(crate) mod privilege;
pub(crate) mod processes;
mod program_headers;
mod raised;
mod rights;
#[cfg(feature = "sandbox")]
pub(crate) mod sandbox;
#[cfg(not(feature = "sandbox"))]
#[path = "no_sandbox.rs"]
pub(crate) mod sandbox;
#[path = "../unix/segment.rs"]
pub(crate) mod segment;
mod signal_numbers;
#[path = "../portable/signalling.rs"]
mod signalling;
#[path = "../unix/signals.rs"]
pub(crate) mod signals;
#[path = "../elf/stack_bounds.rs"]
pub(super) mod stack_bounds;
#[path = "../unix/streams.rs"]
pub(crate) mod streams;
#[path = "../portable/waiting.rs"]
mod waiting;

pub(crate) use std::os::fd::OwnedFd as Descriptor;

pub(crate) use initializers::before_main;
