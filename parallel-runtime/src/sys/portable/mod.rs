//! Linux as another Unix: what is not bound to its kernel is done as on other systems. For tests, by `--cfg parallel_portable`.

#[path = "../linux/address.rs"]
pub(super) mod address;
pub(crate) mod channel;
#[path = "../unix/child.rs"]
pub(crate) mod child;
#[path = "../linux/clock.rs"]
pub(crate) mod clock;
mod cloexec;
#[path = "../linux/credentials.rs"]
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
#[path = "../linux/program_headers.rs"]
mod program_headers;
#[path = "../linux/raised.rs"]
mod raised;
mod rights;
pub(crate) mod sandbox;
#[path = "../unix/segment.rs"]
pub(crate) mod segment;
#[path = "../linux/signal_numbers.rs"]
mod signal_numbers;
mod signalling;
#[path = "../unix/signals.rs"]
pub(crate) mod signals;
#[path = "../elf/stack_bounds.rs"]
pub(super) mod stack_bounds;
#[path = "../unix/streams.rs"]
pub(crate) mod streams;
mod waiting;

pub(crate) use std::os::fd::OwnedFd as Descriptor;

pub(crate) use initializers::before_main;
