//! The worker's side: from the hook to the end of the process.
//!
//! The thread of the hook only waits for the end of the control socket, which is the end of the program or of the pool; then it
//! ends the process, whatever its tasks do. Tasks run on a second thread, which the standard library has set up like any
//! other. A worker always ends by `_exit`: it must never fall through into the program's `main`.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::board::layout::COMPLETED;
use super::board::ring::Claim;
use super::board::slot::INLINE_RESULT;
use super::board::word::Word;
use super::board::{Board, Layout, Record, Slot, meeting, sleep};
use super::handshake::{Request, Welcome};
use super::region::{Part, Region};
use super::waiting::spin;
use super::{futex, image};
use crate::codec::{CodecError, Reader, Writer};
use crate::function::{Encode, Outlet, Overflow, Placed, ServeError, code};
use crate::panics::{self, Caught};
use crate::shared::segment::Segment;

/// The stack of the thread that runs tasks, in bytes: that of a main thread, unless `RUST_MIN_STACK` says otherwise.
const STACK: usize = 8 << 20;

/// Results of a batch lie together in a part of the region of this size; when it is full the batch ends early.
const BATCH_RESULTS: u64 = 64 << 10;

/// The largest result that goes into the region.
const REGION_RESULT: u64 = 256 << 10;

/// Exit code of a worker that could not start.
const CANNOT_START: i32 = 70;

/// Everything that a worker process does.
pub(super) fn main() -> ! {
    let error = match start() {
        Ok(socket) => {
            // Nothing is ever sent here: the call returns at the end of the socket.
            let mut nothing = [0_u8; 8];
            loop {
                match rustix::net::recv(&socket, &mut nothing, rustix::net::RecvFlags::empty()) {
                    Err(rustix::io::Errno::INTR) => {}
                    _ => exit(0),
                }
            }
        }
        Err(error) => error,
    };
    let _ = writeln!(io::stderr(), "parallel-runtime: a worker process could not start: {error}");
    exit(CANNOT_START)
}

fn exit(code: i32) -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { libc::_exit(code) }
}

/// Sets the process up and starts the thread of the tasks.
fn start() -> io::Result<OwnedFd> {
    // A program decides what Ctrl-C means; its workers end when it does. Writing to a closed pipe is an error, not a death.
    for signal in [libc::SIGINT, libc::SIGPIPE] {
        // SAFETY: `SIG_IGN` is a valid handler for both signals.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let (welcome, arena) = Welcome::receive(rustix::stdio::stdin())?;
    // The socket moves out of the way of the standard streams; tasks that read their input find nothing there.
    let socket = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = std::fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    let _ = rustix::thread::set_name(c"parallel-worker");

    let segment: &'static Segment = Box::leak(Box::new(Segment::open(arena, welcome.arena_len)?));
    let layout = Layout { workers: welcome.workers, slots: welcome.slots };
    // SAFETY: the program made a board of this layout at this offset of this segment, which is never unmapped.
    let board = unsafe { Board::new(segment.at(welcome.board_offset), layout) };
    let for_requests = rustix::io::fcntl_dupfd_cloexec(&socket, 3)?;

    let mut thread = std::thread::Builder::new().name("parallel-worker".to_owned());
    if std::env::var_os("RUST_MIN_STACK").is_none() {
        thread = thread.stack_size(STACK);
    }
    thread.spawn(move || {
        struct NeverReturn;
        impl Drop for NeverReturn {
            fn drop(&mut self) {
                exit(101);
            }
        }
        let _never_return = NeverReturn;
        Worker::new(board, segment, welcome, for_requests).run();
    })?;
    Ok(socket)
}

struct Worker {
    board: Board,
    segment: &'static Segment,
    index: u32,
    one_shot: bool,
    socket: OwnedFd,
    region: Region,
    completed: u64,
}

impl Worker {
    fn new(board: Board, segment: &'static Segment, welcome: Welcome, socket: OwnedFd) -> Self {
        let record = board.record(welcome.worker);
        let region_start = segment.at(record.region_offset.load(Ordering::Relaxed));
        // SAFETY: the program gave this region to this worker, and only releases parts of it.
        let region = unsafe { Region::new(region_start, record.region_len.load(Ordering::Relaxed)) };
        let completed = record.completed_tail.0.load(Ordering::Relaxed);
        Self { board, segment, index: welcome.worker, one_shot: welcome.one_shot != 0, socket, region, completed }
    }

    fn run(&mut self) {
        if Request::Hello.send(self.socket.as_fd()).is_err() {
            return;
        }
        let board = self.board;
        let mut rested = true;
        loop {
            match board.ring().claim(self.index, |slot| board.word(slot)) {
                Claim::Slot(slot, generation) => {
                    if std::mem::take(&mut rested) && board.ring().may_have_work() {
                        // Publishers may have relied on us while we were searching.
                        board.wake_one();
                    }
                    self.run_message(board.slot(slot), slot, generation);
                    if self.one_shot {
                        let _ = io::stdout().flush();
                        exit(0);
                    }
                }
                Claim::Empty => {
                    self.rest();
                    rested = true;
                }
            }
        }
    }

    /// Waits until there may be work.
    fn rest(&self) {
        let ring = self.board.ring();
        let record = self.board.record(self.index);
        record.searching.store(1, Ordering::Relaxed);
        if spin(|| ring.may_have_work()) {
            record.searching.store(0, Ordering::Relaxed);
            sleep::settle();
            return;
        }
        // From here on nobody relies on us: the next step may take long.
        record.searching.store(0, Ordering::Relaxed);
        // What a task printed without a line's end must not wait for the next task.
        let _ = io::stdout().flush();
        let sleepers = self.board.sleepers();
        sleepers.announce(self.index);
        sleep::settle();
        if ring.may_have_work() && sleepers.withdraw(self.index) {
            return;
        }
        // Our bit is set, or whoever cleared it is about to wake us.
        while record.wake.load(Ordering::Acquire) == 0 {
            futex::wait(&record.wake, 0, None);
        }
        record.wake.store(0, Ordering::Relaxed);
        // The supervisor wakes without clearing bits, and a wake-up may have been meant for a worker that was here before.
        sleepers.withdraw(self.index);
    }

    fn run_message(&mut self, slot: &Slot, index: u32, generation: u64) {
        let items = slot.items.load(Ordering::Relaxed);
        let begun = (slot.timed.load(Ordering::Relaxed) != 0).then(Instant::now);

        // SAFETY: the program put the entry there with `image::offset_of`, and runs the same executable.
        let serve = unsafe { image::function_at(slot.entry.load(Ordering::Relaxed)) };
        let start = match slot.arguments_offset.load(Ordering::Relaxed) {
            0 => slot.arguments.0.get().cast::<u8>().cast_const(),
            offset => self.segment.at(offset).as_ptr().cast_const(),
        };
        let len = slot.arguments_len.load(Ordering::Relaxed) as usize;
        // SAFETY: the program wrote `len` bytes of arguments there, at an address aligned as they need; the message is ours
        // until it is completed, so nobody else touches them, and we may change them in place.
        let mut reader = unsafe { Reader::from_raw(start, len) };

        let mut delivery = Delivery::new(self, slot, items);
        let memory = delivery.memory();
        // SAFETY: the room is the message's alone: in its slot, or in its part of the region. `delivery` does not touch it until
        // the outlet is gone.
        let memory = unsafe { std::slice::from_raw_parts_mut(memory.0, memory.1) };
        let mut outlet = Outlet::new(Writer::new(memory), slot, generation, &mut delivery);
        let result = panics::catch(|| serve(&mut reader, &mut outlet, items));
        // Where the next item starts is not known after a failure, so the message ends; the program sends the rest again.
        match result {
            Ok(Ok(())) => {}
            // A destructor panicked after the result was out.
            _ if outlet.has_delivered() => {}
            Ok(Err(error)) => fail(&mut outlet, slot, &error),
            Err(caught) => fail_by_panic(&mut outlet, slot, &caught),
        }
        let len = outlet.len();
        drop(outlet);
        delivery.close(len);
        if let Some(begun) = begun {
            slot.nanoseconds.store(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
        self.complete(slot, index, generation);
    }

    /// The task is done: says so, notes it, and wakes who waits for it.
    fn complete(&mut self, slot: &Slot, index: u32, generation: u64) {
        let (claimed, done) = (Word::claimed(self.index, generation), Word::done(self.index, generation));
        let wake = meeting::complete(&slot.word, claimed, done, &slot.waiter);
        let record: &Record = self.board.record(self.index);
        record.completed[self.completed as usize % COMPLETED]
            .store((generation & 0xffff_ffff_ffff) << 16 | u64::from(index), Ordering::Relaxed);
        self.completed = self.completed.wrapping_add(1);
        record.completed_tail.0.store(self.completed, Ordering::SeqCst);
        if wake {
            futex::wake_all(slot.futex());
        }
        let header = self.board.header();
        if header.done_waiters.0.load(Ordering::SeqCst) != 0 {
            header.done_count.0.fetch_add(1, Ordering::SeqCst);
            futex::wake_all(&header.done_count.0);
        }
    }

    /// Asks the program for a block.
    fn grant(&self, len: u64) -> Result<(u64, *mut u8), ServeError> {
        let record = self.board.record(self.index);
        let seen = record.grants.load(Ordering::Acquire);
        if Request::Grant(len).send(self.socket.as_fd()).is_err() {
            exit(0);
        }
        while record.grants.load(Ordering::Acquire) == seen {
            futex::wait(&record.grants, seen, None);
        }
        match record.grant_offset.load(Ordering::Relaxed) {
            0 => Err(ServeError::OutOfSharedMemory {
                requested: len,
                available: record.grant_available.load(Ordering::Relaxed),
            }),
            offset => Ok((offset, self.segment.at(offset).as_ptr())),
        }
    }
}

/// Where the results of one message go.
///
/// They lie one after the other in the slot (a single item), or in a part of the region (a batch). A result that does not fit
/// there goes into a part of its own or, if it is large or one of several, into a block of its own, and ends the message.
struct Delivery<'w, 's> {
    worker: &'w mut Worker,
    slot: &'s Slot,
    batch: bool,
    /// Where the results lie, if not in the slot.
    part: Option<Part>,
}

impl<'w, 's> Delivery<'w, 's> {
    fn new(worker: &'w mut Worker, slot: &'s Slot, items: u32) -> Self {
        // What an earlier use of the slot left is not valid any more once `done_items` is set for this generation.
        slot.failed.store(0, Ordering::Relaxed);
        slot.result_offset.store(0, Ordering::Relaxed);
        slot.granted_len.store(0, Ordering::Relaxed);
        slot.nanoseconds.store(0, Ordering::Relaxed);
        let batch = items > 1;
        let mut delivery = Self { worker, slot, batch, part: None };
        if batch {
            // Without room in the region the first result that does not fit into the slot ends the message.
            delivery.take_part(BATCH_RESULTS);
        }
        delivery
    }

    fn take_part(&mut self, len: u64) -> bool {
        let Some(part) = self.worker.region.take(len) else { return false };
        self.part = Some(part);
        let region = self.worker.board.record(self.worker.index).region_offset.load(Ordering::Relaxed);
        self.slot.result_offset.store(region + part.offset, Ordering::Relaxed);
        true
    }

    /// The room for results: in the slot, or in the part.
    fn memory(&self) -> (*mut MaybeUninit<u8>, usize) {
        match self.part {
            Some(part) => (self.worker.region.memory(part).as_ptr().cast(), part.len as usize),
            None => (self.slot.result.0.get().cast(), INLINE_RESULT),
        }
    }

    /// Encodes a result that was measured into memory of exactly its size.
    fn encode_at(start: *mut u8, needed: usize, encode: Encode<'_>) -> Result<(), ServeError> {
        // SAFETY: whoever calls this has just been given `needed` bytes there: a part of the region, or a granted block.
        let memory = unsafe { std::slice::from_raw_parts_mut(start.cast::<MaybeUninit<u8>>(), needed) };
        let mut writer = Writer::new(memory);
        encode(&mut writer).map_err(ServeError::Encode)?;
        if writer.len() == needed {
            return Ok(());
        }
        Err(ServeError::Encode(CodecError::new("its `Serialize` wrote different amounts of data for the same value")))
    }

    /// Gives back the room that was not needed.
    fn close(&mut self, len: usize) {
        if self.part.is_some() {
            self.worker.region.shrink_newest(len as u64);
            if len == 0 {
                self.slot.result_offset.store(0, Ordering::Relaxed);
            }
        }
    }
}

impl Overflow for Delivery<'_, '_> {
    fn overflow(&mut self, done: u32, needed: usize, encode: Encode<'_>) -> Result<Placed, ServeError> {
        if !self.batch && needed as u64 <= REGION_RESULT && self.take_part(needed as u64) {
            let (start, _) = self.memory();
            if let Err(error) = Self::encode_at(start.cast(), needed, encode) {
                self.worker.region.shrink_newest(0);
                self.part = None;
                self.slot.result_offset.store(0, Ordering::Relaxed);
                return Err(error);
            }
            return Ok(Placed::Moved(needed));
        }
        let (offset, start) = self.worker.grant(needed as u64)?;
        Self::encode_at(start, needed, encode)?;
        // This becomes valid when the item is published; a death in between costs this item alone.
        self.slot.granted_item.store(done + 1, Ordering::Relaxed);
        self.slot.granted_offset.store(offset, Ordering::Relaxed);
        self.slot.granted_len.store(needed as u64, Ordering::Relaxed);
        Ok(Placed::Apart)
    }
}

fn fail(outlet: &mut Outlet<'_>, slot: &Slot, error: &ServeError) {
    let told = match error {
        ServeError::Decode(error) => tell(outlet, slot, code::NOT_DECODED, &error.to_string()),
        ServeError::Encode(error) => tell(outlet, slot, code::NOT_ENCODED, &error.to_string()),
        ServeError::OutOfSharedMemory { requested, available } => {
            tell(outlet, slot, code::NO_MEMORY, &(*requested, *available))
        }
    };
    // Not even that could be told, for want of memory: a short message always fits.
    if told.is_err() {
        let _ = tell(outlet, slot, code::NO_MEMORY, &(0_u64, 0_u64));
    }
}

fn fail_by_panic(outlet: &mut Outlet<'_>, slot: &Slot, caught: &Caught) {
    let message = panics::message(&*caught.payload);
    if tell(outlet, slot, code::PANICKED, &(&message, &caught.location, &caught.backtrace)).is_err() {
        let _ = tell(outlet, slot, code::PANICKED, &("", None::<String>, None::<String>));
    }
}

/// Delivers a failure in place of a result.
fn tell(outlet: &mut Outlet<'_>, slot: &Slot, code: u8, value: &impl serde::Serialize) -> Result<(), ServeError> {
    slot.failed.store(1, Ordering::Relaxed);
    outlet.deliver_as(code, &mut |writer| crate::codec::encode(value, writer))
}
