//! FreeBSD. Nothing here has run: it is checked by the compiler, and by what Linux runs of it under `--cfg parallel_portable`.

pub(super) mod address;
#[path = "../portable/channel.rs"]
pub(crate) mod channel;
#[path = "../unix/child.rs"]
pub(crate) mod child;
#[path = "../bsd/clock.rs"]
pub(crate) mod clock;
#[path = "../portable/cloexec.rs"]
mod cloexec;
mod credentials;
#[path = "../bsd/death.rs"]
mod death;
#[path = "../portable/descriptor_numbers.rs"]
mod descriptor_numbers;
#[path = "../unix/descriptors.rs"]
pub(crate) mod descriptors;
#[path = "../unix/entry.rs"]
pub(crate) mod entry;
#[path = "../portable/executable.rs"]
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
#[path = "../portable/lifetime.rs"]
pub(crate) mod lifetime;
#[path = "../portable/limits.rs"]
pub(crate) mod limits;
#[path = "../portable/memory.rs"]
pub(crate) mod memory;
#[path = "../portable/named.rs"]
pub(crate) mod named;
#[path = "../portable/needs.rs"]
mod needs;
#[path = "../portable/object.rs"]
mod object;
#[path = "../unix/peer.rs"]
pub(crate) mod peer;
#[path = "../unix/pipe.rs"]
pub(crate) mod pipe;
#[path = "../portable/poller.rs"]
pub(crate) mod poller;
#[path = "../unix/privilege.rs"]
pub(crate) mod privilege;
#[path = "../portable/processes.rs"]
pub(crate) mod processes;
mod program_headers;
#[path = "../bsd/raised.rs"]
mod raised;
#[path = "../portable/rights.rs"]
mod rights;
#[path = "../portable/sandbox.rs"]
pub(crate) mod sandbox;
#[path = "../unix/segment.rs"]
pub(crate) mod segment;
#[path = "../bsd/signal_numbers.rs"]
mod signal_numbers;
#[path = "../portable/signalling.rs"]
mod signalling;
#[path = "../unix/signals.rs"]
pub(crate) mod signals;
#[path = "../elf/stack_bounds.rs"]
pub(super) mod stack_bounds;
#[path = "../unix/streams.rs"]
pub(crate) mod streams;

pub(crate) use std::os::fd::OwnedFd as Descriptor;

pub(crate) use initializers::before_main;
