//! The side of a Dask worker: this executable, run as a *node*.
//!
//! A node is the process engine without a program. It reads parcels from its standard input, runs their letters on its own worker
//! processes, and writes the replies to its standard output. It ends when its input does.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::letter::{self, Arrived, Reply};
use super::wire::{self, Put, Take, question, to_node};
use crate::error::{PoolError, TaskError};
use crate::function::code;
use crate::options::Mode;
use crate::pool::{Target, default};
use crate::process;
use crate::process::board::slot::{INLINE_ALIGNMENT, INLINE_ARGUMENTS};
use crate::remote::carrier::Carrier;
use crate::remote::failure;
use crate::remote::message::{About, Arguments, Body, Message, as_uninit};
use crate::remote::ticket::{Left, Outcome, Ticket};

/// The variable that makes a process a node; its value is how many workers it may have.
pub(crate) const VARIABLE: &str = "__PARALLEL_RUNTIME_NODE";

/// What a node says first.
const HELLO: u8 = 0;

/// A letter of many items is cut into pieces that take about so long, so that all workers have something to do at its end.
const PIECE: f64 = 5e6;

/// The most items of a piece.
const MOST_ITEMS: u32 = 4096;

/// Letters that have ended are remembered for a while: somebody may ask.
const REMEMBERED: usize = 100_000;

/// Everything that a node does.
pub(crate) fn main() -> ! {
    let code = match run() {
        Ok(()) => 0,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "parallel-runtime: a node has ended: {error}");
            1
        }
    };
    process::exit(code)
}

/// What becomes of letters here.
#[derive(Default)]
struct Letters {
    /// Parcels that run. The same letter may be in two of them: one that nobody wants any more, because its bridge has died, and one from
    /// the next bridge.
    parcels: HashMap<u64, Parcel>,
    /// Those that are not to be begun, or not to go on.
    refused: Recent,
    ended: Recent,
}

/// A parcel that runs.
#[derive(Default)]
struct Parcel {
    /// Nobody wants its reply any more.
    dropped: bool,
    /// The messages of each letter.
    messages: HashMap<u64, Vec<SentPiece>>,
}

impl Letters {
    /// The messages of a letter.
    fn messages(&self, id: u64) -> impl Iterator<Item = &SentPiece> {
        self.parcels.values().filter_map(move |parcel| parcel.messages.get(&id)).flatten()
    }
}

/// A message that runs.
#[derive(Clone)]
struct SentPiece {
    engine: Arc<process::Engine>,
    ticket: Arc<Ticket>,
}

/// A set of numbers that forgets the oldest.
#[derive(Default)]
struct Recent {
    numbers: HashSet<u64>,
    order: VecDeque<u64>,
}

impl Recent {
    fn add(&mut self, number: u64) {
        if self.numbers.insert(number) {
            self.order.push_back(number);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.numbers.remove(&oldest);
        }
    }

    fn remove(&mut self, number: u64) {
        // Its place in the order stays, and does no harm.
        self.numbers.remove(&number);
    }

    fn has(&self, number: u64) -> bool {
        self.numbers.contains(&number)
    }
}

struct Node {
    output: Mutex<File>,
    workers: usize,
    letters: Mutex<Letters>,
    /// How long an item of a function takes, in nanoseconds.
    rates: Mutex<HashMap<u64, f64>>,
}

fn run() -> std::io::Result<()> {
    let workers = NODE_WORKERS.load(Ordering::Relaxed).max(1);
    // What tasks print must not get among the frames.
    let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let output = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    let null: OwnedFd = File::open("/dev/null")?.into();
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    let node: &'static Node = Box::leak(Box::new(Node {
        output: Mutex::new(File::from(output)),
        workers,
        letters: Mutex::default(),
        rates: Mutex::default(),
    }));
    node.write(HELLO, &[]);
    let mut input = BufReader::with_capacity(1 << 16, File::from(input));
    while let Some((kind, frame)) = wire::read(&mut input)? {
        let Some(number) = Take(&frame).u64() else { continue };
        match kind {
            to_node::RUN => {
                // Here, so that a frame that drops it finds it.
                node.letters().parcels.insert(number, Parcel::default());
                let spawned = std::thread::Builder::new()
                    .name("parallel-parcel".to_owned())
                    .spawn(move || node.run_parcel(number, &frame[8..]));
                if spawned.is_err() {
                    node.letters().parcels.remove(&number);
                    node.write(to_node::RUN, Put::default().u64(number).u32(0).0.as_slice());
                }
            }
            to_node::ASK => {
                let mut answer = number.to_le_bytes().to_vec();
                answer.extend_from_slice(&node.answer(&frame[8..]));
                node.write(to_node::ASK, &answer);
            }
            to_node::DROP => node.drop_parcel(number),
            _ => {}
        }
    }
    Ok(())
}

impl Node {
    fn write(&self, kind: u8, frame: &[u8]) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let written = output.write_all(&wire::head(kind, frame.len())).and_then(|()| output.write_all(frame));
        if written.is_err() {
            // Nobody reads: the Dask worker is gone.
            process::exit(0);
        }
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_parcel(&self, number: u64, parcel: &[u8]) {
        let mut replies = Put::default();
        replies.u64(number);
        let letters = letter::open(parcel).unwrap_or_default();
        let mut begun: Vec<_> = letters.iter().map(|letter| Running::begin(self, number, letter)).collect();
        replies.u32(begun.len() as u32);
        for running in &mut begun {
            running.finish().put(&mut replies);
        }
        self.letters().parcels.remove(&number);
        self.write(to_node::RUN, &replies.0);
    }

    /// Nobody wants the reply to a parcel.
    fn drop_parcel(&self, number: u64) {
        let mut letters = self.letters();
        let Some(parcel) = letters.parcels.get_mut(&number) else { return };
        parcel.dropped = true;
        let messages: Vec<SentPiece> = parcel.messages.values().flatten().cloned().collect();
        drop(letters);
        messages.iter().for_each(|piece| _ = piece.engine.kill_task(&piece.ticket));
    }

    /// Answers a question, for each letter.
    fn answer(&self, frame: &[u8]) -> Vec<u8> {
        let mut frame = Take(frame);
        let (Some(kind), Some(count)) = (frame.u8(), frame.u32()) else { return Vec::new() };
        let ids = (0..count).map_while(|_| frame.u64());
        let answer = |id| match kind {
            question::CANCEL | question::KILL => self.end_letter(id, kind == question::KILL),
            question::RUNNING => self.letters().messages(id).any(|piece| piece.engine.is_running(&piece.ticket)),
            question::ALLOW => {
                self.letters().refused.remove(id);
                true
            }
            _ => false,
        };
        ids.map(|id| answer(id).into()).collect()
    }

    /// Keeps a letter from being begun; or ends it, if it is to be killed. Whether it has not been begun, or was killed.
    fn end_letter(&self, id: u64, kill: bool) -> bool {
        let mut letters = self.letters();
        if letters.ended.has(id) {
            return false;
        }
        letters.refused.add(id);
        let messages: Vec<SentPiece> = letters.messages(id).cloned().collect();
        drop(letters);
        let mut all = true;
        for SentPiece { engine, ticket } in messages {
            let ended = if kill { engine.kill_task(&ticket) } else { engine.cancel(&ticket) };
            // Nothing of it has begun, or all of it is ended.
            all &= ended || (kill && ticket.is_finished());
        }
        all
    }

    fn rate(&self, entry: u64) -> Option<f64> {
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).get(&entry).copied()
    }

    fn saw(&self, entry: u64, items: u32, nanoseconds: u64) {
        if items > 0 {
            let each = (nanoseconds as f64 / f64::from(items)).max(1.0);
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            rates.entry(entry).and_modify(|rate| *rate = 0.5 * (*rate + each)).or_insert(each);
        }
    }
}

/// Some items of a letter, which are one message to the workers.
struct Piece {
    first: u32,
    count: u32,
    ticket: Result<Arc<Ticket>, TaskError>,
    /// How often its first item may still be tried again.
    tries: u32,
}

/// A letter that runs.
struct Running<'n, 'p> {
    node: &'n Node,
    /// The number of its parcel.
    parcel: u64,
    letter: &'n Arrived<'p>,
    engine: Result<Arc<process::Engine>, TaskError>,
    pieces: VecDeque<Piece>,
    reply: Reply,
}

impl<'n, 'p> Running<'n, 'p> {
    fn begin(node: &'n Node, parcel: u64, letter: &'n Arrived<'p>) -> Self {
        let engine = match default::pool(Mode::Process, node.workers, letter.workers) {
            Target::Remote(Carrier::Process(engine)) => Ok(engine),
            _ => Err(TaskError::PoolClosed),
        };
        let mut running = Self {
            node,
            parcel,
            letter,
            engine,
            pieces: VecDeque::new(),
            reply: Reply { id: letter.id, ..Reply::default() },
        };
        if letter.takes_back {
            running.reply.arguments = Some(letter.body.to_vec());
        }
        let size = match node.rate(letter.entry) {
            _ if letter.takes_back => letter.items,
            Some(rate) => ((PIECE / rate) as u32).clamp(1, MOST_ITEMS),
            None => 1,
        };
        let mut first = 0;
        // The first one is short where nothing is known: the others are cut when it has told how long an item takes.
        while first < letter.items {
            let mut count = size.min(letter.items - first);
            while first + count < letter.items && !letter.can_begin_at(first + count) {
                count += 1;
            }
            if node.rate(letter.entry).is_none() && first > 0 {
                count = letter.items - first;
            }
            running.send(first, count, letter.retries, false);
            first += count;
        }
        running
    }

    /// Sends some items to the workers.
    fn send(&mut self, first: u32, count: u32, tries: u32, at_front: bool) {
        let ticket = self.submit(first, count);
        let piece = Piece { first, count, ticket, tries };
        if at_front {
            self.pieces.push_front(piece);
        } else {
            self.pieces.push_back(piece);
        }
    }

    fn submit(&self, first: u32, count: u32) -> Result<Arc<Ticket>, TaskError> {
        let letter = self.letter;
        let engine = match &self.engine {
            Ok(engine) => engine,
            Err(_) => return Err(TaskError::PoolClosed),
        };
        let arena = engine.arena().map_err(PoolError::into_task_error)?;
        let bytes = &letter.body[letter.start(first)..letter.start(first + count)];
        let body = if bytes.len() <= INLINE_ARGUMENTS && letter.alignment <= INLINE_ALIGNMENT && !letter.takes_back {
            Body::Inline(bytes)
        } else {
            let mut block = arena.take(bytes.len().max(1) as u64)?;
            // SAFETY: no worker knows of this block: it was just taken.
            let memory = unsafe { block.bytes_mut(bytes.len()) };
            memory.copy_from_slice(as_uninit(bytes));
            // Where the slices are, the program knows; here it only matters that there are some.
            let marks = if letter.takes_back { vec![0] } else { Vec::new() };
            Body::Block(Arguments { block, len: bytes.len(), marks })
        };
        let message = Message {
            entry: letter.entry,
            items: count,
            seen: None,
            timed: true,
            is_async: letter.is_async,
            limit: letter.limit,
            retry: None,
            body,
            loan: None,
        };
        // Whoever wants to cancel it either has said so before, or finds the ticket.
        let mut letters = self.node.letters();
        let refused = letters.refused.has(letter.id);
        let Some(parcel) = letters.parcels.get_mut(&self.parcel).filter(|parcel| !(refused || parcel.dropped)) else {
            return Err(TaskError::Cancelled);
        };
        let about = About { function: letter.function, shared: 0 };
        let ticket = engine.submit(message, about, None)?;
        let sent = SentPiece { engine: Arc::clone(engine), ticket: Arc::clone(&ticket) };
        parcel.messages.entry(letter.id).or_default().push(sent);
        Ok(ticket)
    }

    /// Waits for all of it.
    fn finish(&mut self) -> Reply {
        while let Some(piece) = self.pieces.pop_front() {
            if !self.land(piece) {
                break;
            }
        }
        // If it has ended early, what is left is not begun any more.
        if let Ok(engine) = &self.engine {
            for ticket in self.pieces.drain(..).filter_map(|piece| piece.ticket.ok()) {
                if !engine.cancel(&ticket) {
                    engine.wait(&ticket, None);
                }
            }
        }
        let mut letters = self.node.letters();
        let parcel = letters.parcels.get_mut(&self.parcel);
        let dropped = parcel.is_none_or(|parcel| {
            parcel.messages.remove(&self.letter.id);
            parcel.dropped
        });
        if !dropped {
            letters.ended.add(self.letter.id);
        }
        drop(letters);
        self.node.saw(self.letter.entry, self.reply.done, self.reply.nanoseconds);
        std::mem::take(&mut self.reply)
    }

    /// Waits for a piece and takes what came of it. False if the letter ends with it.
    fn land(&mut self, piece: Piece) -> bool {
        let Piece { first, count, ticket, tries } = piece;
        let outcome = match (ticket, &self.engine) {
            (Ok(ticket), Ok(engine)) => engine.wait(&ticket, None).unwrap_or_default(),
            (Err(error), _) => Outcome::error(error),
            (_, Err(error)) => Outcome::error(repeated(error)),
        };
        let Outcome { done, failed, results, nanoseconds, mut rare } = outcome;
        let granted = rare.as_mut().and_then(|rare| rare.granted.take());
        self.reply.nanoseconds += nanoseconds;
        self.reply.done += done;
        self.reply.failed |= failed;
        self.reply.results.extend_from_slice(results.as_slice());
        if let Some((block, len)) = granted {
            let at = self.reply.results.len();
            // SAFETY: the block is mapped as long as it is here, `len` was checked against it, and the worker has handed it over.
            let bytes = unsafe { std::slice::from_raw_parts(block.start().as_ptr(), len) };
            self.reply.results.extend_from_slice(bytes);
            // Alone in its block, it has no need to say how long it is.
            let size = u32::try_from(len.saturating_sub(code::HEADER)).unwrap_or(u32::MAX);
            if let Some(header) = self.reply.results.get_mut(at + 1..at + code::HEADER) {
                header.copy_from_slice(&size.to_ne_bytes());
            }
        }
        if let Some(Left::Block(arguments)) = rare.as_mut().and_then(|rare| rare.arguments.take())
            && let Some(all) = &mut self.reply.arguments
        {
            let start = self.letter.start(first);
            // SAFETY: the block is mapped as long as it is here, `len` bytes of it were written, and no worker uses it any more.
            let bytes = unsafe { std::slice::from_raw_parts(arguments.block.start().as_ptr(), arguments.len) };
            if let Some(room) = all.get_mut(start..start + bytes.len()) {
                room.copy_from_slice(bytes);
            }
        }
        let error = rare.as_mut().and_then(|rare| rare.error.take()).map(located);
        let next = first + done;
        let left = count - done.min(count);
        match error {
            _ if self.letter.takes_back => {
                self.reply.error = error;
                false
            }
            None if self.reply.failed && self.letter.stops => {
                if left > 0 || !self.pieces.is_empty() {
                    self.reply.error = Some(TaskError::Cancelled);
                }
                false
            }
            None if left == 0 => true,
            // It has come back early.
            None => self.send_rest(next, left, if done == 0 { tries } else { self.letter.retries }),
            Some(error) if error.may_be_retried() && (if done == 0 { tries } else { self.letter.retries }) > 0 => {
                let tries = if done == 0 { tries } else { self.letter.retries };
                if left > 1 && self.letter.can_begin_at(next + 1) {
                    self.send(next + 1, left - 1, self.letter.retries, true);
                    self.send_rest(next, 1, tries - 1)
                } else {
                    self.send_rest(next, left, tries - 1)
                }
            }
            Some(error) if error.may_be_retried() || matches!(error, TaskError::OutOfSharedMemory { .. }) => {
                self.fail(&error);
                if self.letter.stops && (left > 1 || !self.pieces.is_empty()) {
                    self.reply.error = Some(TaskError::Cancelled);
                    return false;
                }
                left <= 1 || self.send_rest(next + 1, left - 1, self.letter.retries)
            }
            // It answers for all that is left.
            Some(error) => {
                self.reply.error = Some(error);
                false
            }
        }
    }

    /// Sends what is left of a piece, if that can be done by itself; if not, the program sends it. Whether it goes on.
    fn send_rest(&mut self, first: u32, count: u32, tries: u32) -> bool {
        let can = self.letter.can_begin_at(first);
        if can {
            self.send(first, count, tries, true);
        }
        can
    }

    /// The next item has no result but this error.
    fn fail(&mut self, error: &TaskError) {
        let bytes = failure::encode(error);
        self.reply.results.push(code::ENDED);
        self.reply.results.extend_from_slice(&(bytes.len() as u32).to_ne_bytes());
        self.reply.results.extend_from_slice(&bytes);
        self.reply.done += 1;
        self.reply.failed = true;
    }
}

/// The error once more.
fn repeated(error: &TaskError) -> TaskError {
    failure::decode(&failure::encode(error))
}

/// The error of a worker, with the machine that it was on.
fn located(mut error: TaskError) -> TaskError {
    static HOST: LazyLock<String> = LazyLock::new(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    if let TaskError::WorkerDied { reason, .. } = &mut error {
        reason.push_str(" (on host ");
        reason.push_str(&HOST);
        reason.push(')');
    }
    error
}

/// Whether this process is a node.
pub(crate) fn is_node() -> bool {
    NODE_WORKERS.load(Ordering::Relaxed) > 0
}

/// How many workers this node may have; 0 in other processes.
static NODE_WORKERS: AtomicUsize = AtomicUsize::new(0);

/// This process is a node.
pub(crate) fn set_workers(workers: usize) {
    NODE_WORKERS.store(workers.max(1), Ordering::Relaxed);
}
