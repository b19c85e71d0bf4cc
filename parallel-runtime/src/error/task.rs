//! Why a task has no result, and why a pool cannot be used.
//!
//! A text says all that is known, what the system said too. So that is no `source`: reports that print the chain of sources would say it twice.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a task has no result.
///
/// Each message says what happened and, where there is something to do about it, what.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked. The worker lives on.
    #[error("`{function}` panicked{}: {message}", at(.location))]
    #[non_exhaustive]
    Panicked {
        /// Path of the function.
        function: &'static str,
        /// The panic's text; a fixed text if its payload was not a string.
        message: String,
        /// `file:line:column`, where it is known.
        location: Option<String>,
        /// The worker's backtrace, if `RUST_BACKTRACE` asks for one.
        backtrace: Option<String>,
    },

    /// The worker process ended while it ran the task. Its place is taken by a new worker.
    #[error("the worker process {pid} died while it ran `{function}`{}: {reason}; the pool goes on with a new worker{}{}", after(.tries), replay(.saved), lines(.stderr))]
    #[non_exhaustive]
    WorkerDied {
        /// Path of the function.
        function: &'static str,
        /// The worker's process id.
        pid: u32,
        /// The signal that ended it, if it was one.
        signal: Option<i32>,
        /// Its exit code, if it exited.
        exit_code: Option<i32>,
        /// What happened, in words: the signal's name and, where the system or the worker's last moments say so, "probably
        /// stack overflow", "probably out of memory" and the like.
        reason: String,
        /// The last lines that the worker wrote to its standard error, by this task or an earlier one.
        stderr: Option<String>,
        /// How often the task was tried: once, unless it has `retries`.
        tries: u32,
        /// Where it was saved: see [`saved`](TaskError::saved).
        saved: Option<PathBuf>,
    },

    /// The task ran longer than its `timeout`. In a worker process it was ended; on a thread it runs on, and its result is lost.
    #[error("{} ran longer than its timeout of {after:?}; allow more time, or find out where it hangs{}", named(.function), replay(.saved))]
    #[non_exhaustive]
    TimedOut {
        /// Path of the function.
        function: &'static str,
        /// The timeout.
        after: Duration,
        /// Where it was saved: see [`saved`](TaskError::saved).
        saved: Option<PathBuf>,
    },

    /// The task was cancelled before it ran, or it was killed, or its pool was.
    #[error("the task was cancelled or killed, or its pool was")]
    Cancelled,

    /// The arguments or the result could not be encoded for another process.
    #[error(
        "`{function}`: its {what} cannot be sent to another process: {reason}; `mode = \"thread\"` needs no encoding"
    )]
    #[non_exhaustive]
    Encode {
        /// Path of the function.
        function: &'static str,
        /// `arguments` or `result`.
        what: &'static str,
        /// What the type's `Serialize` said.
        reason: String,
    },

    /// The arguments or the result could not be decoded.
    #[error("`{function}`: its {what} cannot be read back on the other side: {reason}")]
    #[non_exhaustive]
    Decode {
        /// Path of the function.
        function: &'static str,
        /// `arguments` or `result`.
        what: &'static str,
        /// What the type's `Deserialize` said.
        reason: String,
    },

    /// The arguments or the result do not fit into shared memory.
    #[error("shared memory is short: {}; pass less at a time, or allow more (`ulimit -v`, the size of /dev/shm, the memory limit of the container)", short(.requested, .available))]
    OutOfSharedMemory {
        /// Bytes that were needed.
        requested: u64,
        /// Bytes that were there.
        available: u64,
    },

    /// A named segment of shared memory could not be made or opened.
    #[error("the named segment `{name}` cannot be made or opened: {source}")]
    #[non_exhaustive]
    Named {
        /// Its name.
        name: String,
        /// What the system said.
        source: io::Error,
    },

    /// No worker could be started.
    #[error("no worker could be started: {0}")]
    Spawn(io::Error),

    /// The function has a `#[worker]` parameter, and its pool keeps no value of that type.
    #[error(
        "`{function}` needs a worker that keeps a `{expected}`, and its pool {}: give the function a `state`, or run it on a pool with `state_with`",
        keeps(.found)
    )]
    #[non_exhaustive]
    NoState {
        /// Path of the function.
        function: &'static str,
        /// The type of its `#[worker]` parameter.
        expected: String,
        /// The type of what the pool keeps, if it keeps anything.
        found: Option<String>,
    },

    /// The cluster cannot be used, or was lost.
    #[error("the Dask cluster at {address} cannot be used: {reason}")]
    #[non_exhaustive]
    Cluster {
        /// The scheduler's.
        address: String,
        /// What happened, and what can be done about it.
        reason: String,
    },

    /// The result was taken before: [`join_timeout`](crate::Task::join_timeout) and `.await` give it once.
    #[error("the result of the task was taken before: `join_timeout` and `.await` give it once")]
    ResultTaken,

    /// The pool was shut down before the task was submitted.
    #[error("the pool is shut down; submit before `shutdown()` or `kill()`, or use another pool")]
    PoolClosed,
}

/// Why a pool could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// More workers were asked for than a pool can have.
    #[error("a pool of {asked} workers was asked for, and the most is {most}")]
    TooManyWorkers {
        /// Workers asked for.
        asked: usize,
        /// The most that a pool can have.
        most: usize,
    },

    /// Workers could not be started.
    #[error("no worker could be started: {0}")]
    Spawn(io::Error),

    /// There is no memory for the pool's board.
    #[error("the shared memory of a pool could not be made: {0}")]
    Memory(io::Error),

    /// The cluster cannot be used.
    #[error("the Dask cluster at {address} cannot be used: {reason}")]
    #[non_exhaustive]
    Cluster {
        /// The scheduler's.
        address: String,
        /// What happened, and what can be done about it.
        reason: String,
    },

    /// The pool was shut down.
    #[error("the pool is shut down")]
    Closed,
}

impl TaskError {
    /// The path of the function, where it is known: a task that was cancelled or never started does not say it.
    pub fn function(&self) -> Option<&str> {
        match self {
            Self::Panicked { function, .. }
            | Self::WorkerDied { function, .. }
            | Self::TimedOut { function, .. }
            | Self::Encode { function, .. }
            | Self::Decode { function, .. }
            | Self::NoState { function, .. } => Some(*function).filter(|function| !function.is_empty()),
            _ => None,
        }
    }

    /// What can be done about it.
    ///
    /// ```
    /// use parallel_runtime::{TaskError, parallel};
    ///
    /// #[parallel]
    /// fn half(number: u32) -> u32 {
    ///     assert!(number % 2 == 0, "{number} is odd");
    ///     number / 2
    /// }
    ///
    /// let error = half::submit(3).join().unwrap_err();
    /// assert!(error.function().unwrap().ends_with("half"));
    /// assert!(error.help().contains("RUST_BACKTRACE"));
    /// ```
    pub fn help(&self) -> &'static str {
        match self {
            Self::Panicked { .. } => {
                "fix the function, or return a `Result`; with `RUST_BACKTRACE=1` the error has a backtrace"
            }
            Self::WorkerDied { .. } => {
                "look at the signal and the last lines on stderr; `retries` runs the task again, `memory_limit` ends it earlier"
            }
            Self::TimedOut { .. } => "allow more time (`timeout`), or find out where it hangs",
            Self::Cancelled => {
                "nothing, if it was cancelled on purpose: `cancel`, `kill`, and a map's first error do that"
            }
            Self::Encode { .. } => {
                "change what the message names; `mode = \"thread\"` needs no encoding, and `RemoteError` carries errors of any type"
            }
            Self::Decode { .. } => {
                "make `Serialize` and `Deserialize` of the type agree: what one writes the other reads, under the same names"
            }
            Self::OutOfSharedMemory { .. } => {
                "pass less at a time, or allow more: `ulimit -v`, the size of /dev/shm, the memory limit of the container"
            }
            Self::Named { .. } => "choose another name, or open what is there with `open_named`",
            Self::Spawn(_) => {
                "see what the system said: limits on processes and memory (`ulimit -u`, `ulimit -v`) are the usual reasons"
            }
            Self::NoState { .. } => {
                "give the function `state = path`, or run it on a pool that has this state: `ProcessPool::new(2).state_with(config, make)`"
            }
            Self::Cluster { .. } => {
                "look whether the scheduler runs and can be reached, and whether its workers have this executable"
            }
            Self::ResultTaken => "keep what the first `join_timeout` or `.await` gave",
            Self::PoolClosed => "submit before `shutdown()` or `kill()`, or use another pool",
        }
    }

    /// The file in which the task was saved, its worker having died or its time being over, if `PARALLEL_FAILURES` or
    /// [`save_failures`](crate::ProcessPool::save_failures) asks for that. With `PARALLEL_REPLAY` set to this path the program runs just this task.
    pub fn saved(&self) -> Option<&Path> {
        match self {
            Self::WorkerDied { saved, .. } | Self::TimedOut { saved, .. } => saved.as_deref(),
            _ => None,
        }
    }

    /// It was saved there.
    pub(crate) fn saved_as(mut self, path: PathBuf) -> Self {
        if let Self::WorkerDied { saved, .. } | Self::TimedOut { saved, .. } = &mut self {
            *saved = Some(path);
        }
        self
    }

    /// The task ran longer than this; its function is not known here.
    pub(crate) fn timed_out(after: Duration) -> Self {
        Self::TimedOut { function: "", after, saved: None }
    }

    /// Whether `retries` are for it: it says nothing about what the function does with its arguments.
    pub(crate) fn may_be_retried(&self) -> bool {
        matches!(self, Self::WorkerDied { .. } | Self::TimedOut { .. })
    }

    /// It comes after so many tries.
    pub(crate) fn after_tries(mut self, count: u32) -> Self {
        if let Self::WorkerDied { tries, .. } = &mut self {
            *tries = count;
        }
        self
    }

    /// Fills in the function, where the error was made without knowing it.
    pub(crate) fn of(mut self, name: &'static str) -> Self {
        if let Self::Panicked { function, .. }
        | Self::WorkerDied { function, .. }
        | Self::TimedOut { function, .. }
        | Self::Encode { function, .. }
        | Self::Decode { function, .. }
        | Self::NoState { function, .. } = &mut self
            && function.is_empty()
        {
            *function = name;
        }
        self
    }
}

impl PoolError {
    /// The same, as the error of a task that was to run there.
    pub(crate) fn into_task_error(self) -> TaskError {
        match self {
            Self::Closed => TaskError::PoolClosed,
            Self::Spawn(error) => TaskError::Spawn(error),
            Self::Cluster { address, reason } => TaskError::Cluster { address, reason },
            other => TaskError::Spawn(io::Error::other(other)),
        }
    }
}

/// What a pool keeps.
fn keeps(found: &Option<String>) -> String {
    found.as_ref().map_or_else(|| "keeps nothing".to_owned(), |found| format!("keeps a `{found}`"))
}

/// What was asked for, and what is there.
fn short(requested: &u64, available: &u64) -> String {
    if *requested == u64::MAX {
        return "so many elements were asked for that the number of their bytes is none".to_owned();
    }
    format!(
        "{requested} bytes{} were needed, about {available}{} are available",
        in_units(*requested),
        in_units(*available)
    )
}

/// A large number of bytes once more, to be read.
fn in_units(bytes: u64) -> String {
    const UNITS: [(u32, &str); 4] = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = UNITS.iter().find(|(shift, _)| bytes >> shift >= 10);
    unit.map_or_else(String::new, |(shift, name)| format!(" ({} {name})", bytes >> shift))
}

/// How often it was tried, if that is worth a word.
fn after(tries: &u32) -> String {
    if *tries > 1 { format!(", at the last of {tries} tries") } else { String::new() }
}

/// The function that ran, if it is known.
fn named(function: &&'static str) -> String {
    if function.is_empty() { "the task".to_owned() } else { format!("`{function}`") }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// How a task that was saved is run again.
fn replay(saved: &Option<PathBuf>) -> String {
    saved.as_ref().map_or_else(String::new, |path| format!("; PARALLEL_REPLAY={} runs it again", quoted(path)))
}

fn at(location: &Option<String>) -> String {
    location.as_ref().map_or_else(String::new, |location| format!(" at {location}"))
}

/// The worker's last lines, as the end of a message.
fn lines(stderr: &Option<String>) -> String {
    stderr
        .as_ref()
        .map_or_else(String::new, |lines| format!("; its last lines on stderr, perhaps of an earlier task:\n{lines}"))
}
