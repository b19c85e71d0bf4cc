//! What workers write to their standard error, and in a sandbox to their standard output.
//!
//! Each worker's standard error is a pipe to the program, where one thread for all workers passes it on, whole lines at a time, and keeps the last lines
//! of each: the error of a task whose worker died ends with them. The thread is not the supervisor's, because the reader of the
//! program's own standard error may be slow; then the workers that write have to wait, and nothing else.
//!
//! The standard output of a worker is the program's own, unless it is in a sandbox: what shares a file's description can make it non-blocking for
//! the program, read what the user types into a terminal, or cut a file short. Then it is a pipe like the other.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::observe::progress::above_bars;
use crate::observe::worker_events::{WorkerEvents, event_in};
use crate::remote::outcome::Events;
use crate::sys::pipe::{self, Reader};
use crate::sys::poller::Poller;
use crate::sys::streams::Standard;
use crate::sys::{Descriptor, exit, fork};

/// Bytes that are kept of each worker's last lines.
const TAIL: usize = 16 << 10;

/// The most lines of an error.
const LINES: usize = 10;

/// The longest line that is passed on whole, in bytes.
const LINE: usize = 64 << 10;

/// How long the end of a line is waited for.
const PATIENCE: Duration = Duration::from_millis(100);

/// One worker's standard error or output, in the program.
pub(crate) struct Stderr {
    pipe: Reader,
    /// Which of the two.
    to: Standard,
    /// Of which pool it is.
    pool: u32,
    read: Mutex<Read>,
    /// Events among the lines.
    events: WorkerEvents,
}

impl std::fmt::Debug for Stderr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stderr").field("pipe", &self.pipe).finish_non_exhaustive()
    }
}

impl Events for Stderr {
    fn pass_on_now(&self) {
        Stderr::pass_on_now(self);
    }
}

/// The program's end, and the worker's.
pub(super) type Output = (Arc<Stderr>, Descriptor);

#[derive(Default)]
struct Read {
    tail: VecDeque<u8>,
    /// What has been read and not passed on.
    pending: Vec<u8>,
}

/// The thread that passes it on.
struct Forwarder {
    poller: Poller,
    keys: AtomicU64,
    open: Mutex<HashMap<u64, Arc<Stderr>>>,
}

/// The program has closed our descriptors, and may have something else under their numbers.
static BROKEN: AtomicBool = AtomicBool::new(false);

/// What is known of the program elsewhere.
pub(super) struct Program {
    /// Whether our descriptors are still ours.
    pub(super) is_sound: fn() -> bool,
    /// Our descriptors are not ours any more, as is seen here.
    pub(super) give_up: fn(),
    /// To be done before the last lines are passed on.
    pub(super) before_exit: fn(),
}

static PROGRAM: OnceLock<Program> = OnceLock::new();

pub(super) fn set_program(program: Program) {
    let _ = PROGRAM.set(program);
}

fn is_sound() -> bool {
    PROGRAM.get().is_none_or(|program| (program.is_sound)())
}

/// Held by the thread that passes something on.
static WRITING: Mutex<()> = Mutex::new(());

/// How long the end of the program is put off for what workers have still to print, if nothing reads it.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Touches no descriptor any more.
pub(super) fn give_up() {
    BROKEN.store(true, Ordering::Relaxed);
    if let Some(forwarder) = FORWARDER.get() {
        // Not even to close it.
        std::mem::forget(std::mem::take(&mut *lock(&forwarder.open)));
    }
}

/// Ends all pools, whose descriptors are closed.
fn give_up_all() {
    if let Some(program) = PROGRAM.get() {
        (program.give_up)();
    }
}

static FORWARDER: OnceLock<Forwarder> = OnceLock::new();

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stderr {
    /// A new pipe: the end that is read here, and the end for the worker.
    pub(super) fn new(pool: u32, to: Standard) -> io::Result<Output> {
        let forwarder = Forwarder::get()?;
        let (ours, theirs) = pipe::new()?;
        let stderr = Arc::new(Self { pipe: ours, to, pool, read: Mutex::default(), events: WorkerEvents::new() });
        let key = forwarder.keys.fetch_add(1, Ordering::Relaxed);
        lock(&forwarder.open).insert(key, Arc::clone(&stderr));
        if let Err(error) = forwarder.poller.add(stderr.pipe.descriptor(), key) {
            lock(&forwarder.open).remove(&key);
            return Err(error);
        }
        Ok((stderr, theirs))
    }

    /// Of which pool it is.
    pub(super) fn pool(&self) -> u32 {
        self.pool
    }

    /// Reads what there is. True at the end of the pipe.
    fn take_in(&self, read: &mut Read) -> bool {
        if BROKEN.load(Ordering::Relaxed) {
            return true;
        }
        let mut buffer = [0_u8; 16 << 10];
        // Bounded: a worker may write as fast as this reads.
        for _ in 0..16 {
            match self.pipe.read(&mut buffer) {
                Ok(0) => return true,
                Ok(len) => {
                    read.pending.extend_from_slice(&buffer[..len]);
                    read.tail.extend(&buffer[..len]);
                    let over = read.tail.len().saturating_sub(TAIL);
                    read.tail.drain(..over);
                }
                Err(error) => return error.kind() != io::ErrorKind::WouldBlock,
            }
        }
        false
    }

    /// Passes on what there is, up to the end of a line, or all of it. True at the end of the pipe.
    fn pass_on(&self, all: bool) -> bool {
        // The thread that holds this writes what it has taken: so lines stay in order, and the exit can wait for them.
        let _writing = lock(&WRITING);
        let mut read = lock(&self.read);
        let ended = self.take_in(&mut read);
        let whole = read.pending.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let is_too_long = whole == 0 && read.pending.len() > LINE;
        let len = if all || ended || is_too_long { read.pending.len() } else { whole };
        let lines = self.take_events(read.pending.drain(..len).collect());
        drop(read);
        if !lines.is_empty() {
            above_bars(|| self.to.write_all(&lines));
        }
        ended
    }

    /// Passes on whole lines that are there, and emits the events among them.
    pub(crate) fn pass_on_now(&self) {
        self.pass_on(false);
        self.events.emit();
    }

    /// Passes everything on that a task has written, which has ended.
    pub(super) fn end_task(&self, task: u64) {
        self.pass_on_now();
        self.events.end_task(task);
    }

    /// Takes the events out of lines.
    fn take_events(&self, lines: Vec<u8>) -> Vec<u8> {
        if self.to == Standard::Output || event_in(&lines).is_none() {
            return lines;
        }
        let mut others = Vec::new();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            let (printed, event) = line.split_at(event_in(line).unwrap_or(line.len()));
            others.extend_from_slice(printed);
            if !event.is_empty() {
                self.events.take(event.strip_suffix(b"\n").unwrap_or(event), self.pool);
            }
        }
        others
    }

    /// Passes everything on that is there, now: its worker is gone, or the program is about to be.
    ///
    /// Waits for a short time at most: if nothing reads the program's standard error, the rest is lost.
    pub(super) fn drain(&self) {
        let deadline = Instant::now() + LAST_WORDS;
        let _writing = loop {
            match WRITING.try_lock() {
                Ok(writing) => break writing,
                Err(_) if Instant::now() >= deadline => return,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        let mut read = lock(&self.read);
        self.take_in(&mut read);
        let lines = self.take_events(std::mem::take(&mut read.pending));
        drop(read);
        if !lines.is_empty() {
            above_bars(|| self.to.write_until(&lines, deadline));
        }
    }

    /// The last lines, in printable form, and the last one that `wanted` wants. To be called when the worker is gone.
    pub(super) fn last_lines(&self, wanted: impl Fn(&str) -> bool) -> (Option<String>, bool) {
        let mut read = lock(&self.read);
        self.take_in(&mut read);
        let text = read.tail.make_contiguous();
        (printable(text), String::from_utf8_lossy(text).lines().any(wanted))
    }
}

/// The last lines of a text that may hold anything, without backtraces: those are long, and hide the line above them that says what
/// happened.
fn printable(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: VecDeque<&str> = VecDeque::new();
    let mut in_backtrace = false;
    let printed = |line| event_in(str::as_bytes(line)).map_or(line, |event| &line[..event]);
    for line in text.lines().map(printed).filter(|line| !line.trim().is_empty()) {
        in_backtrace = line == "stack backtrace:" || (in_backtrace && is_of_backtrace(line));
        if !in_backtrace {
            lines.push_back(line);
        }
        if lines.len() > LINES {
            lines.pop_front();
        }
    }
    // A terminal must not obey what an untrusted file made a parser print.
    let clean = |line: &str| -> String {
        line.chars().map(|c| if c.is_control() && c != '\t' { char::REPLACEMENT_CHARACTER } else { c }).collect()
    };
    (!lines.is_empty()).then(|| lines.into_iter().map(clean).collect::<Vec<_>>().join("\n"))
}

/// Whether a line may be one of a backtrace as the standard library prints it: `   5: name`, `      at file:line`, or its last.
fn is_of_backtrace(line: &str) -> bool {
    let start = line.trim_start();
    let numbered = start.split_once(": ").is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    line.starts_with(' ') && (numbered || start.starts_with("at "))
        || line.starts_with("note: Some details are omitted")
}

impl Forwarder {
    fn get() -> io::Result<&'static Self> {
        static STARTING: Mutex<()> = Mutex::new(());
        if let Some(forwarder) = FORWARDER.get() {
            return Ok(forwarder);
        }
        let _starting = lock(&STARTING);
        if FORWARDER.get().is_none() {
            let poller = Poller::new()?;
            std::thread::Builder::new().name("parallel-stderr".to_owned()).spawn(|| FORWARDER.wait().run())?;
            let _ = FORWARDER.set(Self { poller, keys: AtomicU64::new(0), open: Mutex::default() });
            exit::at_exit(pass_on_the_last);
        }
        Ok(FORWARDER.get().expect("it was just set"))
    }

    fn run(&self) {
        // Whether there are lines without their ends, and when something came last: a wake-up is nothing.
        let (mut half_lines, mut last) = (false, Instant::now());
        loop {
            if !is_sound() {
                return give_up_all();
            }
            let patience = half_lines.then(|| PATIENCE.saturating_sub(last.elapsed()));
            let Ok(ready) = self.poller.wait(patience) else {
                // The program may have closed all descriptors, or one of these.
                return give_up_all();
            };
            if !is_sound() {
                return give_up_all();
            }
            if !ready.is_empty() {
                last = Instant::now();
            } else if half_lines && last.elapsed() >= PATIENCE {
                for stderr in self.all() {
                    stderr.drain();
                }
                half_lines = false;
            }
            for key in ready {
                let Some(stderr) = lock(&self.open).get(&key).cloned() else { continue };
                let ended = stderr.pass_on(false);
                crate::panics::discard(|| stderr.events.emit());
                if ended {
                    self.poller.remove(stderr.pipe.descriptor());
                    lock(&self.open).remove(&key);
                } else {
                    half_lines |= !lock(&stderr.read).pending.is_empty();
                }
            }
        }
    }

    fn all(&self) -> Vec<Arc<Stderr>> {
        lock(&self.open).values().cloned().collect()
    }
}

/// What workers have printed before the program ends comes out, although the thread ends with the program.
extern "C" fn pass_on_the_last() {
    if fork::check().is_err() || !is_sound() {
        return;
    }
    let open = || -> Vec<Arc<Stderr>> {
        let open = FORWARDER.get().and_then(|forwarder| forwarder.open.try_lock().ok());
        open.map_or_else(Vec::new, |open| open.values().cloned().collect())
    };
    // Those of workers that end now are gone from it afterwards.
    let mut all = open();
    if let Some(program) = PROGRAM.get() {
        (program.before_exit)();
    }
    all.extend(open().into_iter().filter(|new| !all.iter().any(|known| Arc::ptr_eq(known, new))).collect::<Vec<_>>());
    for stderr in all {
        // This waits for the other thread, which may be in the middle of a line.
        stderr.drain();
        crate::panics::discard(|| stderr.events.emit_last());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_printable_and_few() {
        let many: String = (0..100).map(|line| format!("line {line}\n")).collect();
        let last = printable(many.as_bytes()).unwrap();
        assert_eq!(last.lines().count(), LINES);
        assert!(last.ends_with("line 99"), "{last}");
        assert_eq!(printable(b"\x1b[31mred\xff\n\n").unwrap(), "\u{fffd}[31mred\u{fffd}");
        assert_eq!(printable(b" \n\n"), None);
        let with_backtrace = b"it failed\nstack backtrace:\n   0: main\n             at ./x.rs:1:2\nnote: Some details are omitted\nend\n";
        assert_eq!(printable(with_backtrace).unwrap(), "it failed\nend");
    }
}
