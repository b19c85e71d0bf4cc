//! Starting a worker process.

use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use super::hook;
use super::stderr::{Output, Stderr};
use crate::options::WorkerOptions;
use crate::process::welcome::Welcome;
use crate::sandbox::Allowed;
use crate::shared::Arena;
use crate::sys::channel::Channel;
use crate::sys::child::{Child, Start};
use crate::sys::streams::Standard;
use crate::sys::{descriptors, image, privilege};

/// A process that was started and may or may not have become a worker yet.
pub(super) struct Started {
    pub(super) child: Child,
    pub(super) channel: Channel,
    pub(super) stderr: Arc<Stderr>,
    /// Its channel has ended, and is watched no more.
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
    let (channel, input) = Channel::pair()?;
    arena.will_be_mapped();
    // The message waits in the channel until the worker reads it.
    let allowed_or_none = allowed.unwrap_or(const { &Allowed::NONE });
    welcome.send(&channel, arena.segment(), &descriptors::inheritable(), allowed_or_none)?;
    let (stderr, error) = stderr;
    let own = |name: &str| Some((name.into(), std::env::var_os(name)?));
    let (mut arguments, mut variables, mut output) = (Vec::new(), Vec::<(OsString, OsString)>::new(), None);
    if let Some(allowed) = allowed {
        output = Some(Stderr::new(stderr.pool(), Standard::Output)?.1);
        let kept = KEPT_VARIABLES.iter().copied().chain(allowed.env.iter().map(String::as_str));
        variables.extend(kept.filter_map(own));
    } else {
        // What a static reads from the command line is the same in both.
        arguments.extend(std::env::args_os().skip(1));
    }
    variables.extend(options.env.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    variables.push((hook::VARIABLE.into(), hook::value(allowed.is_none())));
    let name = format!("{}-{}", options.name.unwrap_or("parallel-worker"), welcome.worker);
    let child = Start { name, arguments, inherits: allowed.is_none(), variables, input, output, error }.spawn()?;
    Ok(Started { child, channel, stderr, unwatched: false })
}
