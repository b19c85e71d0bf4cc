//! Starting a worker process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::process::{Pid, PidfdFlags};

use super::hook;
use super::stderr::{Output, Standard, Stderr};
use crate::ipc::control;
use crate::options::WorkerOptions;
use crate::process::welcome::Welcome;
use crate::sandbox::Allowed;
use crate::shared::Arena;
use crate::sys::{descriptors, image, privilege};

/// A process that was started and may or may not have become a worker yet.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) socket: OwnedFd,
    /// Tells of its death. `None` where the kernel has no such descriptors (before Linux 5.3): the end of the socket tells then.
    pub(super) process: Option<OwnedFd>,
    pub(super) stderr: Arc<Stderr>,
    /// Its socket has ended, and is watched no more.
    pub(super) unwatched: bool,
}

/// The variables that a worker in a sandbox has: what the loader, the C library, Rust and its tools look at. Others may hold secrets.
const KEPT_VARIABLES: [&str; 24] = [
    "LANG",
    "LANGUAGE",
    "LC_ALL",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NUMERIC",
    "LC_TIME",
    "TZ",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "GLIBC_TUNABLES",
    "MALLOC_ARENA_MAX",
    "RUST_BACKTRACE",
    "RUST_LIB_BACKTRACE",
    "RUST_MIN_STACK",
    "OMP_NUM_THREADS",
    "LLVM_PROFILE_FILE",
    "ASAN_OPTIONS",
    "LSAN_OPTIONS",
    "MSAN_OPTIONS",
    "TSAN_OPTIONS",
    "UBSAN_OPTIONS",
];

/// Runs this executable again, as a worker. Does not wait for it.
///
/// `/proc/self/exe` is the very file that runs, even if the path has been rebuilt or removed since. Nothing is done between
/// fork and exec, so that the standard library takes its fast path, whose cost does not grow with the program's memory.
///
/// `allowed`: what its sandbox leaves open, if it has one.
pub(super) fn spawn(
    arena: &Arena,
    welcome: &Welcome,
    options: &WorkerOptions,
    allowed: Option<&Allowed>,
    stderr: Output,
) -> io::Result<Started> {
    if !hook::is_linked() {
        return Err(io::Error::other("the start-up hook of parallel-runtime was not linked"));
    }
    image::check()?;
    privilege::check()?;
    if std::env::var_os(hook::VARIABLE).is_some() {
        // The hook removes it. Workers that start workers would be without end.
        return Err(io::Error::other(
            "a static initialiser of this program uses a pool, and in a worker process it runs before that knows that it is one: use the pool \
             in `main`",
        ));
    }
    privilege::keep_down()?;
    let (ours, theirs) = control::pair()?;
    arena.will_be_mapped();
    // The message waits in the socket until the worker reads it.
    let allowed_or_none = allowed.unwrap_or(const { &Allowed::NONE });
    welcome.send(ours.as_fd(), arena.segment().descriptor(), &descriptors::inheritable(), allowed_or_none)?;
    let (stderr, their_stderr) = stderr;
    let mut command = Command::new(image::EXECUTABLE);
    command
        .arg0(format!("{}-{}", options.name.unwrap_or("parallel-worker"), welcome.worker))
        .stdin(Stdio::from(theirs))
        .stderr(Stdio::from(their_stderr));
    if let Some(allowed) = allowed {
        let (_, their_stdout) = Stderr::new(stderr.pool(), Standard::Output)?;
        command.stdout(Stdio::from(their_stdout));
        let kept = KEPT_VARIABLES.iter().copied().chain(allowed.env.iter().map(String::as_str));
        let kept = kept.filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.env_clear().envs(kept);
    } else {
        // What a static reads from the command line is the same in both.
        command.args(std::env::args_os().skip(1));
    }
    command.envs(options.env.iter().copied());
    // A group of its own: what is sent to the program's group is for the program to decide about, and what tasks have started ends with the group.
    let child =
        command.env(hook::VARIABLE, hook::value(allowed.is_none())).process_group(0).spawn().map_err(explained)?;
    let process = Pid::from_raw(child.id().cast_signed())
        .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
    Ok(Started { child, socket: ours, process, stderr, unwatched: false })
}

/// With what can be done about it.
fn explained(error: io::Error) -> io::Error {
    let hint = match error.raw_os_error() {
        Some(libc::ENOENT) => "`/proc/self/exe` is run, for which `/proc` must be mounted",
        Some(libc::EAGAIN) => "allow more processes (`ulimit -u`, `pids.max` of the container)",
        Some(libc::ENOMEM) => {
            "allow more memory (`ulimit -v`, the memory limit of the container, `vm.overcommit_memory`)"
        }
        Some(libc::EMFILE) => "allow more open files (`ulimit -n`)",
        Some(libc::E2BIG) => {
            "the environment is too large for another program: make it smaller, or allow more (`ulimit -s`)"
        }
        Some(libc::EACCES | libc::EPERM) => {
            "the executable may not be run, or something (seccomp, a security module) refuses new processes"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}: {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_says_what_can_be_done() {
        for (number, word) in [(libc::EAGAIN, "ulimit -u"), (libc::ENOENT, "/proc"), (libc::E2BIG, "environment")] {
            let error = io::Error::from_raw_os_error(number);
            let (kind, text) = (error.kind(), error.to_string());
            let error = explained(error);
            assert!(error.kind() == kind && error.to_string().contains(&text) && error.to_string().contains(word));
        }
        assert_eq!(explained(io::Error::from_raw_os_error(libc::EIO)).raw_os_error(), Some(libc::EIO));
    }
}
