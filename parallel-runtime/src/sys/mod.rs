//! What the runtime asks of the operating system. Nothing here knows anything else of this crate.
//!
//! | module | what |
//! | --- | --- |
//! | [`clock`] | the monotonic clock |
//! | [`cpu`] | how many CPUs there are |
//! | [`descriptors`] | the descriptors that children inherit |
//! | [`entry`] | entries of `.init_array` that never return |
//! | [`exit`] | ending the process, at once or in order |
//! | [`fork`] | programs that fork, or close all descriptors |
//! | [`futex`] | sleeping on a word of shared memory |
//! | [`image`] | functions, statics and literals as offsets into the executable |
//! | [`memory`] | large buffers |
//! | [`peer`] | the process at the other end of a socket |
//! | [`privilege`] | programs with more rights than their user, or that have given rights up |
//! | [`profile`] | the coverage of a worker, in a build that measures it |
//! | [`role`] | whether this process is a program, a worker or a node |
//! | [`signals`] | signals in words |
//! | [`spin`] | looking for a while before sleeping |
//! | [`stack`] | how deep a thread may recurse |
//! | [`sync`] | the atomics of the shared-memory protocols |

#[path = "linux/clock.rs"]
pub(crate) mod clock;
pub(crate) mod cpu;
#[path = "linux/descriptors.rs"]
pub(crate) mod descriptors;
#[path = "elf/entry.rs"]
pub(crate) mod entry;
#[path = "unix/exit.rs"]
pub(crate) mod exit;
#[path = "unix/fork.rs"]
pub(crate) mod fork;
pub(crate) mod futex;
#[path = "elf/image.rs"]
pub(crate) mod image;
#[path = "linux/memory.rs"]
pub(crate) mod memory;
#[path = "linux/peer.rs"]
pub(crate) mod peer;
#[path = "linux/privilege.rs"]
pub(crate) mod privilege;
pub(crate) mod profile;
#[cfg(test)]
pub(crate) mod random;
pub(crate) mod role;
#[path = "unix/segment.rs"]
pub(crate) mod segment;
#[path = "unix/signals.rs"]
pub(crate) mod signals;
pub(crate) mod spin;
pub(crate) mod stack;
pub(crate) mod sync;
