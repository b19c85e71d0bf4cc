//! What a sandboxed worker may do.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::codec::{self, Reader, Writer};
use crate::error::TaskError;

/// What the workers of a pool may still ask of the kernel, for tasks that handle untrusted input: see
/// [`ProcessPool::sandbox`](crate::ProcessPool::sandbox).
///
/// `strict` takes everything away that a computation does not need: no network, no new program, no new process, no signal to
/// another process, and no file or directory but those that `init` has opened before, or that are listed here.
///
#[cfg_attr(feature = "sandbox", doc = "```")]
#[cfg_attr(not(feature = "sandbox"), doc = "```ignore")]
/// use std::fs;
/// use parallel_runtime::{ProcessPool, Sandbox, parallel};
///
/// static PARSERS: ProcessPool = ProcessPool::new(2).sandbox(Sandbox::strict().read(&["/usr/share"]));
///
/// #[parallel(pool = PARSERS, mode = "process")]
/// fn can_read(path: String) -> bool {
///     fs::read_dir(path).is_ok()
/// }
///
/// assert!(can_read("/usr/share".to_owned()));
/// assert!(!can_read("/etc".to_owned()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use = "a sandbox has no effect until it is given to a pool"]
pub struct Sandbox {
    read: &'static [&'static str],
    write: &'static [&'static str],
    env: &'static [&'static str],
}

impl Sandbox {
    /// No network, no new program or process, no file that is not open already.
    pub const fn strict() -> Self {
        Self { read: &[], write: &[], env: &[] }
    }

    /// Files, and directories with everything below them, that tasks may open for reading. They must exist when a worker
    /// starts.
    pub const fn read(mut self, paths: &'static [&'static str]) -> Self {
        self.read = paths;
        self
    }

    /// Files, and directories with everything below them, that tasks may open for reading and writing; in the directories
    /// they may also make and remove files. They must exist when a worker starts.
    pub const fn write(mut self, paths: &'static [&'static str]) -> Self {
        self.write = paths;
        self
    }

    /// Variables of the environment that workers have, `init` among what may read them. Others may hold secrets, and are left out, but for those of
    /// the locale, the time zone, the loader, and Rust's own (`RUST_BACKTRACE` and the like).
    pub const fn env(mut self, names: &'static [&'static str]) -> Self {
        self.env = names;
        self
    }

    /// The one that leaves these paths open. They are kept for as long as the process lives.
    #[cfg(feature = "dask")]
    pub(crate) fn kept(allowed: &Allowed) -> Self {
        use std::collections::HashMap;
        use std::sync::{Mutex, PoisonError};
        static KEPT: Mutex<Option<HashMap<Vec<u8>, Sandbox>>> = Mutex::new(None);
        let leak = |paths: &[String]| -> &'static [&'static str] {
            paths.iter().map(|path| &*Box::leak(path.clone().into_boxed_str())).collect::<Vec<_>>().leak()
        };
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Self { read: leak(&allowed.read), write: leak(&allowed.write), env: leak(&allowed.env) };
        *kept.get_or_insert_default().entry(allowed.to_bytes()).or_insert_with(make)
    }

    pub(crate) fn allowed(self) -> Allowed {
        let owned = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        Allowed { read: owned(self.read), write: owned(self.write), env: owned(self.env) }
    }
}

/// The sandbox of this process, if it is a worker that is confined.
static OURS: OnceLock<Allowed> = OnceLock::new();

/// This process is confined from now on.
pub(crate) fn is_on(allowed: &Allowed) {
    let _ = OURS.set(allowed.clone());
}

/// This process is going to be confined, before its first task.
static WILL_BE_ON: AtomicBool = AtomicBool::new(false);

/// This process will be confined when its `init` is over.
pub(crate) fn will_be_on() {
    WILL_BE_ON.store(true, Ordering::Relaxed);
}

/// Whether this process is confined, or will be.
pub(crate) fn is_confined() -> bool {
    WILL_BE_ON.load(Ordering::Relaxed)
}

/// Whether this process is confined as `sandbox` says.
pub(crate) fn confines_us(sandbox: Sandbox) -> bool {
    OURS.get() == Some(&sandbox.allowed())
}

/// A function that asks for a sandbox was to run without it; `how` says what would be right.
pub(crate) fn refused(function: &str, how: &str) -> TaskError {
    TaskError::Spawn(std::io::Error::other(format!("`{function}` asks for a sandbox, {how}")))
}

/// What a sandbox leaves open, on its way to a worker.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(crate) read: Vec<String>,
    pub(crate) write: Vec<String>,
    pub(crate) env: Vec<String>,
}

impl Allowed {
    pub(crate) const NONE: Self = Self { read: Vec::new(), write: Vec::new(), env: Vec::new() };

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let value = (&self.read, &self.write, &self.env);
        let mut measure = Writer::new(&mut []);
        codec::encode(&value, &mut measure).expect("strings can be encoded");
        let mut bytes = vec![std::mem::MaybeUninit::new(0_u8); measure.len()];
        codec::encode(&value, &mut Writer::new(&mut bytes)).expect("strings can be encoded");
        // SAFETY: every byte was initialised when the vector was made.
        bytes.into_iter().map(|byte| unsafe { byte.assume_init() }).collect()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        // SAFETY: the bytes are a slice that lives as long as the reader, and only copies are made from it.
        let mut reader = unsafe { Reader::from_raw(bytes.as_ptr(), bytes.len()) };
        let (read, write, env) = codec::decode(&mut reader).unwrap_or_default();
        Self { read, write, env }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paths_arrive_as_they_were_listed() {
        let allowed = Sandbox::strict().read(&["/usr/share", "/ä"]).write(&["/tmp"]).env(&["HOME"]).allowed();
        assert_eq!(Allowed::from_bytes(&allowed.to_bytes()), allowed);
        assert_eq!(allowed.read, ["/usr/share", "/ä"]);
    }
}
