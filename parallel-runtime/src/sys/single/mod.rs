//! Systems without worker processes: Windows, 32 bits, and Unixes that are not listed. Threads, and shared types within one process, work as elsewhere;
//! a pool of processes gives an error when it starts.

pub(super) mod address;
pub(crate) mod channel;
pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod descriptors;
pub(crate) mod entry;
pub(crate) mod exit;
pub(crate) mod fault;
#[cfg(feature = "dask")]
pub(crate) mod file_mapping;
#[cfg(not(unix))]
pub(crate) mod files;
#[cfg(unix)]
#[path = "../unix/files.rs"]
pub(crate) mod files;
pub(crate) mod fork;
pub(crate) mod image;
pub(crate) mod interrupts;
pub(crate) mod lifetime;
#[path = "../portable/limits.rs"]
pub(crate) mod limits;
pub(crate) mod memory;
#[path = "../portable/named.rs"]
pub(crate) mod named;
mod needs;
mod none;
pub(crate) mod peer;
pub(crate) mod pipe;
pub(crate) mod poller;
pub(crate) mod privilege;
pub(crate) mod processes;
#[cfg(target_os = "linux")]
#[path = "../linux/raised.rs"]
mod raised;
#[cfg_attr(windows, path = "windows_reserve.rs")]
mod reserve;
#[path = "../portable/sandbox.rs"]
pub(crate) mod sandbox;
pub(crate) mod segment;
pub(crate) mod signals;
pub(super) mod stack_bounds;
pub(crate) mod streams;

pub(crate) use entry::before_main;
pub(crate) use none::Descriptor;
