//! A record of all tasks: what ran where, from when to when.
//!
//! | module | what |
//! | --- | --- |
//! | [`recorder`] | what is recorded, and where it is kept |
//! | [`memory`] | the memory of all processes, every now and then |
//! | [`tracks`] | who ran what, in the order of time |
//! | [`page`] | as a page for a browser |
//! | [`trace`] | as a trace for Perfetto |

pub(crate) mod memory;
mod page;
mod recorder;
mod text;
mod trace;
mod tracks;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Once, OnceLock};

pub(crate) use recorder::{death, task, worker};

use crate::sys::{privilege, role};
use tracks::Tracks;

/// A record of what runs where, from [`Timeline::start`] on: every task of every pool, with the deaths of workers and the memory of all
/// processes.
///
/// It is written as a page for a browser, or as a trace for [Perfetto](https://ui.perfetto.dev) if the name of the file ends with
/// `.json`. Without a change to the program: `PARALLEL_TIMELINE=run.html`, or `run.json`, records all of it and writes the file when
/// the program exits (not if it aborts, or a signal ends it, Ctrl-C for one), in the directory where it was started. `%p` in the name stands for the process id.
///
/// A message of a `map` that holds many items is one bar, with their number, and so is each piece of a `map` on threads. Of more than a
/// million tasks the first are kept, and the page says so. A task takes about 90 bytes of memory, and 0.2 µs. When nothing is recorded, the clock is not read for it.
///
/// ```
/// use parallel_runtime::{Timeline, parallel};
///
/// #[parallel(mode = "process", pool = 2)]
/// fn work(milliseconds: u64) {
///     std::thread::sleep(std::time::Duration::from_millis(milliseconds));
/// }
///
/// let timeline = Timeline::start();
/// work::map([1, 2, 3]);
/// let file = std::env::temp_dir().join(format!("timeline-{}.html", std::process::id()));
/// timeline.write(&file).unwrap();
/// # assert!(std::fs::read_to_string(&file).unwrap().contains("work"));
/// # std::fs::remove_file(file).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "it records as long as it lives"]
pub struct Timeline(());

impl Timeline {
    /// Begins to record, unless it is recorded already; then that record is gone on with.
    pub fn start() -> Self {
        recorder::begin();
        Self(())
    }

    /// Writes what has been recorded so far: as a trace if the file's name ends with `.json`, else as a page.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> io::Result<()> {
        write(path.as_ref())
    }
}

impl Drop for Timeline {
    /// Nothing more is recorded, unless there is another one.
    fn drop(&mut self) {
        recorder::end();
    }
}

fn write(path: &Path) -> io::Result<()> {
    let tracks = Tracks::new(recorder::snapshot());
    let mut file = BufWriter::new(File::create(path)?);
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
        trace::write(&tracks, &mut file)?;
    } else {
        page::write(&tracks, &mut file)?;
    }
    file.flush()
}

/// The file that the environment asks for, or asked for before the program changed its environment or its directory.
static ASKED_FOR: OnceLock<Option<PathBuf>> = OnceLock::new();

fn asked_for() -> Option<&'static Path> {
    let ask = || {
        let name = privilege::variable("PARALLEL_TIMELINE")?.into_string().ok().filter(|name| !name.is_empty())?;
        let name = name.replace("%p", &std::process::id().to_string());
        Some(std::path::absolute(&name).unwrap_or_else(|_| name.into()))
    };
    ASKED_FOR.get_or_init(ask).as_deref()
}

/// Begins to record if the environment says so. To be called before a pool's first task.
pub(crate) fn begin_if_asked() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if role::in_worker() || asked_for().is_none() {
            return;
        }
        recorder::begin();
        crate::sys::exit::at_exit(write_at_exit);
    });
}

extern "C" fn write_at_exit() {
    if crate::sys::fork::check().is_err() {
        return;
    }
    let Some(path) = asked_for() else { return };
    if let Err(error) = write(path) {
        let _ =
            writeln!(io::stderr(), "parallel-runtime: the timeline `{}` cannot be written: {error}", path.display());
    }
}
