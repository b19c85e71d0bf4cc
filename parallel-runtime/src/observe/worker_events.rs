//! What tasks in worker processes log, for the program: events of `tracing`, and records of `log`.
//!
//! A worker sends them as lines of its standard error that begin with a mark: so they come in the order of what is printed, and survive a crash. The
//! program emits them once more, before the result of their task can be read, and inside the span of the call if there is one.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use super::progress::clear_bars;
#[cfg(feature = "log")]
use super::records::{self, SentRecord};
use super::spans::CallSpan;
#[cfg(feature = "tracing")]
use super::spans::{self, Event, Spans};

pub(crate) use super::line::place as event_in;

/// Whether workers send anything.
pub(crate) const ARE_SENT: bool = true;

/// Bits of a level.
const LEVEL_BITS: u32 = 3;

/// How long a thread waits for another one that emits and gets no further. It may be in a logger that wants what the waiting thread holds: a lock of standard
/// error, say.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often it looks.
const LOOK: Duration = Duration::from_micros(100);

/// What one worker has sent.
#[derive(Default)]
pub(crate) struct WorkerEvents {
    waiting: Mutex<VecDeque<(Sent, CallSpan)>>,
    /// Held by the thread that emits: so that the thread that comes later comes back when all is emitted that was there.
    emitting: Mutex<Emitter>,
    /// How many were emitted; and how many had been, plus one, when a thread gave up waiting.
    emitted: AtomicU64,
    stuck: AtomicU64,
}

enum Sent {
    #[cfg(feature = "tracing")]
    Event(Event),
    #[cfg(feature = "log")]
    Record(SentRecord),
    /// A task has ended, and with it the spans in it.
    #[cfg(feature = "tracing")]
    End(u64),
}

/// What is kept between two of them.
#[derive(Default)]
struct Emitter {
    #[cfg(feature = "tracing")]
    spans: Spans,
}

thread_local! {
    /// This thread emits: what it does meanwhile emits nothing of its own accord.
    static EMITS: Cell<bool> = const { Cell::new(false) };
}

impl WorkerEvents {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Takes a line that a worker of this pool has written.
    pub(crate) fn take(&self, line: &[u8], pool: u32) {
        let Some(sent) = read(line) else { return };
        let span = span_of(&sent, pool);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back((sent, span));
    }

    /// A task has ended, and with it the spans in it. To be called without a lock.
    pub(crate) fn end_task(&self, task: u64) {
        #[cfg(feature = "tracing")]
        {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_back((Sent::End(task), CallSpan::none()));
            self.emit();
        }
        #[cfg(not(feature = "tracing"))]
        let _ = task;
    }

    /// The same for the last time: a thread that got no further may get on again.
    pub(crate) fn emit_last(&self) {
        self.stuck.store(0, Ordering::Relaxed);
        self.emit();
    }

    /// Emits what there is. To be called without a lock: subscriber and logger are the user's.
    pub(crate) fn emit(&self) {
        struct Done;
        impl Drop for Done {
            fn drop(&mut self) {
                EMITS.set(false);
            }
        }
        if EMITS.replace(true) {
            return;
        }
        let _done = Done;
        let Some(mut emitter) = self.enter() else { return };
        loop {
            let next = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some((sent, span)) = next else { return };
            // It may be printed. No lock of the bars is held meanwhile: the logger may use them.
            clear_bars();
            emitter.emit(&sent, &span);
            self.emitted.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until no other thread emits, as long as that one gets on. `None` if it does not: then it emits what there is when it does.
    fn enter(&self) -> Option<MutexGuard<'_, Emitter>> {
        let mut seen = self.emitted.load(Ordering::Relaxed);
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            match self.emitting.try_lock() {
                Ok(emitter) => return Some(emitter),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            let emitted = self.emitted.load(Ordering::Relaxed);
            if emitted != seen {
                (seen, deadline) = (emitted, Instant::now() + PATIENCE);
            }
            if self.stuck.load(Ordering::Relaxed) == seen + 1 || Instant::now() >= deadline {
                self.stuck.store(seen + 1, Ordering::Relaxed);
                return None;
            }
            std::thread::sleep(LOOK);
        }
    }
}

fn read(line: &[u8]) -> Option<Sent> {
    #[cfg(feature = "tracing")]
    if let Some(event) = Event::from_line(line) {
        return Some(Sent::Event(event));
    }
    #[cfg(feature = "log")]
    if let Some(record) = SentRecord::from_line(line) {
        return Some(Sent::Record(record));
    }
    None
}

/// The span of the call that sent it.
#[cfg(feature = "tracing")]
fn span_of(sent: &Sent, pool: u32) -> CallSpan {
    let task = match sent {
        Sent::Event(event) => event.task,
        #[cfg(feature = "log")]
        Sent::Record(record) => record.task,
        Sent::End(task) => *task,
    };
    spans::of_task(pool, task)
}

#[cfg(not(feature = "tracing"))]
fn span_of(_: &Sent, _: u32) -> CallSpan {
    CallSpan::none()
}

impl Emitter {
    #[cfg_attr(not(feature = "tracing"), expect(clippy::unused_self, reason = "records need nothing"))]
    fn emit(&mut self, sent: &Sent, span: &CallSpan) {
        match sent {
            #[cfg(feature = "tracing")]
            Sent::Event(event) => span.with_subscriber(|call| self.spans.emit(event, call)),
            #[cfg(feature = "log")]
            Sent::Record(record) => span.inside(|| record.emit()),
            #[cfg(feature = "tracing")]
            Sent::End(task) => drop(self.spans.end_task(*task)),
        }
    }
}

/// The most verbose levels that the program wants, as one number: 0 for none.
#[inline(always)]
pub(crate) fn level() -> u32 {
    let mut level = 0;
    #[cfg(feature = "tracing")]
    {
        level |= spans::level();
    }
    #[cfg(feature = "log")]
    {
        level |= records::level() << LEVEL_BITS;
    }
    level
}

pub(crate) mod worker {
    use super::LEVEL_BITS;
    #[cfg(feature = "log")]
    use super::records;
    #[cfg(feature = "tracing")]
    use super::spans;

    /// From here on what tasks log goes to the program, unless `init` has set another subscriber or logger.
    pub(crate) fn begin() {
        #[cfg(feature = "tracing")]
        spans::worker::begin();
        #[cfg(feature = "log")]
        records::begin();
    }

    /// The program wants so much: see [`level`](super::level).
    #[inline(always)]
    pub(crate) fn set_level(level: u32) {
        #[cfg(feature = "tracing")]
        spans::worker::set_level(level & ((1 << LEVEL_BITS) - 1));
        #[cfg(feature = "log")]
        records::set_level(level >> LEVEL_BITS);
        #[cfg(not(feature = "log"))]
        let _ = LEVEL_BITS;
    }
}
