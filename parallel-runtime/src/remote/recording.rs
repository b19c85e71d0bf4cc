//! Tasks whose workers died, or whose time was over, in files: each can be run again alone. See `process::replay` for the other side.
//!
//! A worker may change its arguments in place, and may die in the middle of that. So where failures are saved each message has a *recording*: its
//! items once more, each encoded by itself and without handles, as for a worker that shares no objects with the program. Of a message that fails the
//! item at fault is cut out of it, and written when its error is taken, or dropped.
//!
//! ```text
//! file = MAGIC, length of the identity (u8), identity of the executable, one frame of the codec: `Saved`
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use crate::codec::{self, Reader};
use crate::function::init;
use crate::function::pool_state::PoolState;
use crate::function::table::FunctionTable;
use crate::options::WorkerOptions;
use crate::panics;
use crate::shared::handle_table;
use crate::sys::privilege::variable;
use crate::sys::{files, fork, image, sizes};

/// The first bytes of a file.
const MAGIC: &[u8; 16] = b"parallel task 1\n";

/// How many files a process writes.
const MOST_FILES: u32 = 100;

/// The most bytes of arguments that are saved, unless `PARALLEL_FAILURES_LIMIT` says otherwise.
const MOST_BYTES: u64 = 64 << 20;

/// Variables that a pool sets in its workers.
type Variables = &'static [(&'static str, &'static str)];

/// Where a pool saves its failures, and what its workers have beside the arguments.
pub(crate) struct Recorder {
    directory: PathBuf,
    most_bytes: u64,
    init: Option<fn()>,
    variables: Variables,
    state: Option<Arc<PoolState>>,
}

/// Where `PARALLEL_FAILURES` says that failures are saved.
fn directory() -> Option<&'static PathBuf> {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let read = || {
        let directory = variable("PARALLEL_FAILURES").filter(|directory| !directory.is_empty())?;
        // The program may change its directory.
        Some(std::path::absolute(&directory).unwrap_or_else(|_| directory.into()))
    };
    DIRECTORY.get_or_init(read).as_ref()
}

/// How many bytes of arguments are saved at most.
///
/// # Panics
///
/// If the variable does not say.
fn most_bytes() -> u64 {
    static MOST: OnceLock<u64> = OnceLock::new();
    *MOST.get_or_init(|| {
        let Some(text) = variable("PARALLEL_FAILURES_LIMIT").filter(|text| !text.is_empty()) else { return MOST_BYTES };
        let bytes = text.to_str().and_then(sizes::bytes_of);
        bytes.unwrap_or_else(|| panic!("PARALLEL_FAILURES_LIMIT={text:?}: it must be a size such as `64MiB` or `1GiB`"))
    })
}

/// The items of a message.
pub(crate) struct Recording {
    recorder: Arc<Recorder>,
    function: &'static str,
    entry: u64,
    items: Vec<Result<Box<[u8]>, String>>,
}

/// An item that failed and is not saved yet. Dropped, it is saved by another thread.
pub(crate) struct Unsaved(Option<(Arc<Recorder>, Item)>);

struct Item {
    function: &'static str,
    entry: u64,
    bytes: Result<Box<[u8]>, String>,
}

/// What is in a file.
pub(crate) struct Saved {
    pub(crate) function: String,
    /// Offsets in the executable: of what runs the task, and of the pool's `init` or 0.
    pub(crate) entry: u64,
    pub(crate) init: u64,
    pub(crate) variables: Vec<(String, String)>,
    /// What decodes the configuration of the pool's state, as an offset in the executable, and the configuration.
    pub(crate) state: Option<(u64, Vec<u8>)>,
    pub(crate) arguments: Vec<u8>,
}

/// What is in a file, as serde knows it: in the order of the fields of [`Saved`].
type Parts = (String, u64, u64, Vec<(String, String)>, Option<(u64, Vec<u8>)>, Vec<u8>);

impl std::fmt::Debug for Unsaved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Unsaved").field(&self.0.as_ref().map(|(_, item)| item.function)).finish()
    }
}

impl Recording {
    /// Of items that are about to be sent: where they lie, and how many there are.
    ///
    /// # Safety
    ///
    /// `count` items of the function lie at `first`.
    pub(crate) unsafe fn new(
        recorder: &Arc<Recorder>,
        function: &'static FunctionTable,
        (first, count): (*const u8, usize),
    ) -> Box<Self> {
        let remote = function.remote();
        let record = |index: usize| {
            let item = first.wrapping_add(index * function.item.size());
            // SAFETY: as the caller promises.
            let bytes = handle_table::encode_contents(|writer| unsafe { (remote.send)(item, 1, writer) })
                .map_err(|error| error.to_string())?;
            if bytes.len() as u64 > recorder.most_bytes {
                return Err(format!(
                    "its arguments take {} bytes, and a file may take {}: PARALLEL_FAILURES_LIMIT=1GiB allows more",
                    bytes.len(),
                    recorder.most_bytes
                ));
            }
            Ok(bytes.into_boxed_slice())
        };
        let items = (0..count).map(record).collect();
        // What is not part of the executable is not sent either.
        let entry = remote.entry().unwrap_or_default();
        Box::new(Self { recorder: Arc::clone(recorder), function: function.name, entry, items })
    }

    /// The item of this number has failed.
    pub(crate) fn failed(self, index: u32) -> Option<Unsaved> {
        let Self { recorder, function, entry, mut items } = self;
        let bytes = (items.len() > index as usize).then(|| items.swap_remove(index as usize))?;
        Some(Unsaved(Some((recorder, Item { function, entry, bytes }))))
    }
}

impl Unsaved {
    /// It is tried again.
    pub(crate) fn discard(mut self) {
        self.0 = None;
    }

    /// Writes the file, and gives its path. What prevents that is told on the program's standard error, the first time.
    pub(crate) fn save(mut self) -> Option<PathBuf> {
        let (recorder, item) = self.0.take()?;
        recorder.write(item, FilePermit::new()?)
    }
}

impl Drop for Unsaved {
    /// No thread has taken the outcome of its task. This may be any thread, under any lock, and to write takes its time and calls code of the user's: so
    /// another one does it, which the end of the pool waits for.
    fn drop(&mut self) {
        let Some((recorder, item)) = self.0.take() else { return };
        if fork::check().is_err() {
            // The program that has forked saves it.
            return;
        }
        if let Some(permit) = FilePermit::new() {
            let thread = std::thread::Builder::new().name("parallel-save".to_owned());
            // Without a thread it is not saved.
            let _ = thread.spawn(move || recorder.write(item, permit));
        }
    }
}

/// Files that may still be written, and files that are being written.
static FILES: Mutex<(u32, u32)> = Mutex::new((MOST_FILES, 0));
static WRITTEN: Condvar = Condvar::new();

/// Permits to write one file, while it lives.
struct FilePermit {
    is_used: bool,
}

impl FilePermit {
    /// `None` if there are enough files.
    fn new() -> Option<Self> {
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, writing) = &mut *files;
        *left = left.checked_sub(1)?;
        *writing += 1;
        Some(Self { is_used: false })
    }
}

impl Drop for FilePermit {
    fn drop(&mut self) {
        let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
        files.0 += u32::from(!self.is_used);
        files.1 -= 1;
        drop(files);
        WRITTEN.notify_all();
    }
}

/// Waits until no file is being written.
pub(crate) fn wait_until_saved(limit: Duration) {
    let files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    drop(WRITTEN.wait_timeout_while(files, limit, |files| files.1 > 0));
}

impl Recorder {
    /// What saves the failures of a pool, if they are to be saved.
    pub(crate) fn of(options: &WorkerOptions, state: Option<&Arc<PoolState>>) -> Option<Arc<Self>> {
        let directory = options.save_failures.map(PathBuf::from).or_else(|| directory().cloned())?;
        let most_bytes = most_bytes();
        Some(Arc::new(Self {
            directory,
            most_bytes,
            init: options.init,
            variables: options.env,
            state: state.cloned(),
        }))
    }

    /// Gives the path of the file. What prevents it is told on the program's standard error, the first time.
    fn write(&self, item: Item, mut permit: FilePermit) -> Option<PathBuf> {
        static IS_TOLD: AtomicBool = AtomicBool::new(false);
        let function = item.function;
        let saved =
            panics::catch(|| self.save(item)).unwrap_or_else(|caught| Err(caught.into_error(function).to_string()));
        permit.is_used = saved.is_ok();
        let why = match saved {
            Ok(path) => return Some(path),
            Err(why) => why,
        };
        if !IS_TOLD.swap(true, Ordering::Relaxed) {
            let directory = self.directory.display();
            let line = format!("parallel: a failed task of `{function}` cannot be saved in {directory}: {why}\n");
            let _ = io::stderr().write_all(line.as_bytes());
        }
        None
    }

    fn save(&self, item: Item) -> Result<PathBuf, String> {
        let Saved { function, entry, init, variables, state, arguments } = self.saved(item)?;
        let parts: Parts = (function, entry, init, variables, state, arguments);
        let bytes =
            handle_table::encode_contents(|writer| codec::encode(&parts, writer)).map_err(|error| error.to_string())?;
        let identity = image::identity();
        let (mut file, path) = self.create(&parts.0).map_err(|error| error.to_string())?;
        let mut write = |part: &[u8]| file.write_all(part);
        let written = write(MAGIC)
            .and_then(|()| write(&[u8::try_from(identity.len()).unwrap_or(u8::MAX)]))
            .and_then(|()| write(identity))
            .and_then(|()| write(&bytes));
        if let Err(error) = written {
            let _ = std::fs::remove_file(&path);
            return Err(error.to_string());
        }
        Ok(path)
    }

    fn saved(&self, item: Item) -> Result<Saved, String> {
        let init = self.init.map(init::offset_of).transpose().map_err(|error| error.to_string())?;
        let state = self.state.as_ref().map(|state| {
            let entry = state.entry().map_err(|error| error.to_string())?;
            let bytes = handle_table::encode_contents(|writer| state.send(writer));
            Ok((entry, bytes.map_err(|error| format!("the configuration of its `state_with`: {error}"))?))
        });
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Ok(Saved {
            function: item.function.to_owned(),
            entry: item.entry,
            init: init.unwrap_or(0),
            variables: self.variables.iter().map(text).collect(),
            state: state.transpose().map_err(|error: String| error)?,
            arguments: item.bytes?.into_vec(),
        })
    }

    /// A new file, which only this user can read.
    fn create(&self, function: &str) -> io::Result<(File, PathBuf)> {
        files::create_private_directory(&self.directory)?;
        let directory = std::path::absolute(&self.directory)?;
        let name = function.rsplit("::").next().unwrap_or(function);
        let name: String = name.chars().filter(|c| c.is_alphanumeric() || *c == '_').take(60).collect();
        for number in 1_u32.. {
            let path = directory.join(format!("{name}-{}-{number}.task", std::process::id()));
            match files::create_private(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => return Ok((other?, path)),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }
}

impl Saved {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// In words, if it is not one that this executable has written.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let unreadable = |error: io::Error| format!("it cannot be read: {error}");
        let mut file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !files::is_ours_alone(&metadata) {
            // It says which code runs, and on what.
            return Err("another user owns it or may write it: copy it, if its origin is known".to_owned());
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        let rest = bytes.strip_prefix(MAGIC).ok_or("it is no file of a failed task")?;
        let (len, rest) = rest.split_first().ok_or("it is no file of a failed task")?;
        let (identity, rest) = rest.split_at_checked((*len).into()).ok_or("it is cut short")?;
        if identity != image::identity() {
            return Err("another build of the program has written it: replay it with that one".to_owned());
        }
        // SAFETY: the bytes live as long as the reader, and only copies are made from it.
        let mut reader = unsafe { Reader::from_raw(rest.as_ptr(), rest.len()) };
        let (function, entry, init, variables, state, arguments): Parts =
            codec::decode(&mut reader).map_err(|error| format!("it is damaged: {error}"))?;
        let saved = Self { function, entry, init, variables, state, arguments };
        let is_code = |offset: u64| offset == 0 || image::is_code(offset);
        if saved.entry == 0
            || ![saved.entry, saved.init, saved.state.as_ref().map_or(0, |state| state.0)].into_iter().all(is_code)
        {
            return Err("it is damaged".to_owned());
        }
        Ok(saved)
    }
}
