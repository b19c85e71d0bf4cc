//! A record of all tasks: what ran where, from when to when.
//!
//! | module | what |
//! | --- | --- |
//! | [`recorder`] | what is recorded, and where it is kept |
//! | [`memory`] | the memory of all processes, every now and then |
//! | [`numbering`] | numbers for pools, workers and functions |
//! | [`page`] | as a page for a browser |
//! | [`trace`] | as a trace for Perfetto |

pub(crate) mod memory;
pub(crate) mod numbering;
pub(crate) mod page;
pub(crate) mod recorder;
pub(crate) mod text;
mod trace;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, OnceLock, PoisonError};

pub(crate) use recorder::{begin_on_thread, death, end_on_thread, task, worker};

use crate::sys::{interrupts, privilege, role};

/// A record of what runs where, from [`Timeline::start`] on: every task of every pool, with the deaths of workers and the memory of all
/// processes.
///
/// The name of the file chooses the form: `.html` is a page for a browser, `.json` a trace for [Perfetto](https://ui.perfetto.dev).
///
/// No change to the program is needed: `PARALLEL_TIMELINE=run.html` (or `run.json`) records everything and writes the file when the program exits, or
/// when Ctrl-C (SIGINT) or SIGTERM ends it; not when it aborts, or another signal ends it, or the program handles these two itself. The path is relative
/// to the directory in which the program was started; `%p` in it stands for the process id. The page shows the program's command line.
///
/// A message of a `map` that holds several items is one bar, and so is each piece of a `map` on threads; the bar tells how many items it has. The first
/// million tasks are kept, and the page says how many are left out. Recording takes about 90 bytes and 0.2 µs for each task. While nothing is
/// recorded, it costs one atomic load.
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
    /// Begins to record, or continues a recording that is on.
    pub fn start() -> Self {
        recorder::begin();
        Self(())
    }

    /// Writes what has been recorded so far: a page for `.html`, a trace for `.json`.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) if the name of the file ends otherwise; else if the file cannot be written.
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

#[derive(Debug, Clone, Copy)]
enum Form {
    Page,
    Trace,
}

impl Form {
    /// By the name of a file.
    fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "html" => Some(Self::Page),
            "json" => Some(Self::Trace),
            _ => None,
        }
    }
}

fn write(path: &Path) -> io::Result<()> {
    let unknown = || {
        let why = format!("`{}`: the name of a timeline must end with `.html` or `.json`", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, why)
    };
    let form = Form::of(path).ok_or_else(unknown)?;
    // One at a time: the program may end by itself while a signal is about to end it.
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let record = recorder::snapshot();
    // The file is whole or not there.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let write = || {
        let mut file = BufWriter::new(File::create(&part)?);
        match form {
            Form::Page => page::write(&record, false, &mut file)?,
            Form::Trace => trace::write(record, &mut file)?,
        }
        file.flush()?;
        std::fs::rename(&part, path)
    };
    write().inspect_err(|_| _ = std::fs::remove_file(&part))
}

static WRITING: Mutex<()> = Mutex::new(());

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
///
/// # Panics
///
/// If `PARALLEL_TIMELINE` names a file that is neither `.html` nor `.json`.
pub(crate) fn begin_if_asked() {
    static ONCE: Once = Once::new();
    let Some(path) = asked_for().filter(|_| !role::in_worker()) else { return };
    assert!(Form::of(path).is_some(), "PARALLEL_TIMELINE={path:?}: the name must end with `.html` or `.json`");
    ONCE.call_once(|| {
        recorder::begin();
        crate::sys::exit::at_exit(write_at_exit);
        interrupts::before_end(|| write_at_exit());
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
