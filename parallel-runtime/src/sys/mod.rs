//! What the runtime asks of the operating system: the only room that knows which one it is. Nothing here knows anything else of this crate.
//!
//! What differs between systems is in `system`, whose `mod.rs` says for each system which implementation it takes:
//!
//! | folder | what |
//! | --- | --- |
//! | `linux` | what only Linux has: memfd, epoll, pidfd, futex, procfs, capabilities, Landlock, seccomp |
//! | `portable` | what takes its place on other Unixes; on Linux `--cfg parallel_portable` chooses it, for tests |
//! | `macos`, `freebsd` | what is bound to these kernels: waiting on an address, deaths, credentials |
//! | `bsd` | what both of these have: kqueue |
//! | `elf` | executables of Linux and FreeBSD |
//! | `unix` | what is the same on all of them |
//! | `single` | systems without worker processes: Windows, 32 bits, and all others. Everything is there, and starting a process is an error |
//!
//! | module | what it promises |
//! | --- | --- |
//! | `address` | sleeping on a word of shared memory; [`futex`] is what the other rooms use |
//! | [`channel`] | messages between a program and its worker |
//! | [`child`] | a process of this executable: its start, signals, death |
//! | [`clock`] | the monotonic clock |
//! | [`descriptors`] | the descriptors that children inherit |
//! | [`entry`] | functions that run before `main`, and never return |
//! | `executable` | the file of this program |
//! | [`exit`] | ending the process, at once or in order |
//! | [`fault`] | signals in a worker, and a note of why it dies |
//! | `file_mapping` | files in memory |
//! | [`files`] | files that are this user's alone, texts of the system as bytes |
//! | [`fork`] | programs that fork, or close all descriptors |
//! | [`image`] | functions, statics and literals as offsets into the executable |
//! | [`interrupts`] | the signals by which a program is ended from outside |
//! | [`lifetime`] | workers that end with the program |
//! | [`limits`] | memory limits of a worker |
//! | [`memory`] | large buffers |
//! | [`named`] | shared memory that other programs open by its name |
//! | [`peer`] | the process at the other end of a channel |
//! | [`pipe`] | what a worker prints |
//! | [`poller`] | waiting for many descriptors at once |
//! | [`privilege`] | programs with more rights than their user, or that have given rights up |
//! | [`processes`] | what the system tells about processes |
//! | [`sandbox`] | what a worker may still ask of the kernel |
//! | [`segment`] | the memory of the arena |
//! | [`signals`] | signals in words |
//! | [`streams`] | the standard streams |
//! | [`cpu`] | how many CPUs there are |
//! | [`profile`] | the coverage of a worker, in a build that measures it |
//! | [`role`] | whether this process is a program, a worker or a node |
//! | [`sizes`] | sizes of memory in variables of the environment |
//! | [`spin`] | looking for a while before sleeping |
//! | [`stack`] | how deep a thread may recurse |
//! | [`sync`] | the atomics of the shared-memory protocols |

pub(crate) mod cpu;
pub(crate) mod futex;
pub(crate) mod profile;
#[cfg(test)]
pub(crate) mod random;
pub(crate) mod role;
pub(crate) mod sizes;
pub(crate) mod spin;
pub(crate) mod stack;
pub(crate) mod sync;

#[cfg(all(target_os = "linux", target_pointer_width = "64", not(parallel_portable)))]
#[path = "linux/mod.rs"]
mod system;
#[cfg(all(target_os = "linux", target_pointer_width = "64", parallel_portable))]
#[path = "portable/mod.rs"]
mod system;
#[cfg(all(target_os = "macos", target_pointer_width = "64"))]
#[path = "macos/mod.rs"]
mod system;
#[cfg(all(target_os = "freebsd", target_pointer_width = "64"))]
#[path = "freebsd/mod.rs"]
mod system;
#[cfg(not(all(any(target_os = "linux", target_os = "macos", target_os = "freebsd"), target_pointer_width = "64")))]
#[path = "single/mod.rs"]
mod system;

#[cfg(feature = "dask")]
pub(crate) use system::file_mapping;
pub(crate) use system::{
    Descriptor, before_main, channel, child, clock, descriptors, entry, exit, fault, files, fork, image, interrupts,
    lifetime, limits, memory, named, peer, pipe, poller, privilege, processes, sandbox, segment, signals, streams,
};
