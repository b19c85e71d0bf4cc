//! The thread of the tasks: claims, runs, rests.

use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::core::{Worker, fail, fail_by_panic};
use super::delivery::Delivery;
use super::end;
use super::usage::Usage;
use crate::codec::{CodecError, Reader, Writer};
use crate::function::kept;
use crate::function::remote::Serve;
use crate::function::shared_referent;
use crate::function::{ResultWriter, ServeError};
use crate::ipc::board::ring::{Claim, entry};
use crate::ipc::board::slot::{LEVEL, PACKED, TIMED};
use crate::ipc::board::{Slot, sleep, wait_while_terminating};
use crate::ipc::control::ControlRequest;
use crate::observe::worker_events;
use crate::panics;
use crate::process::state::pack::place_of;
use crate::sandbox;
use crate::shared::handle_table;
use crate::sys::spin::spin;
use crate::sys::{clock, exit, futex};

/// How long another worker may take to wake and claim what was left to it.
const WAKING: Duration = Duration::from_micros(200);

/// How long a worker that is to be replaced claims nothing, for futures that have not ended.
const PATIENCE: Duration = Duration::from_secs(1);

impl Worker {
    pub(super) fn run(&mut self) {
        if ControlRequest::Ready.send(self.channel).is_err() {
            return;
        }
        let board = self.board;
        let mut rested = true;
        loop {
            if self.has_futures() {
                self.poll_futures();
                if self.is_worn_out() && self.finish_futures() {
                    self.retire();
                }
                if self.leaves_it_to_another() {
                    // As long as it takes to wake. The thread that publishes meanwhile relies on none, and this worker looks again.
                    self.sleep(Some(Instant::now() + WAKING));
                    if self.has_woken() {
                        continue;
                    }
                }
            }
            match board.ring().claim(self.index, |slot| board.word(slot)) {
                Claim::Slot(slot, generation) => {
                    self.record().running.store(entry(slot, generation), Ordering::Relaxed);
                    // It may have taken too long to claim something, and is to be replaced: then it does not begin.
                    wait_while_terminating(self.record());
                    if std::mem::take(&mut rested) && board.ring().may_have_work() {
                        // Publishers may have relied on us while we were searching.
                        board.wake_one();
                    }
                    self.run_message(board.slot(slot), slot, generation);
                    if self.one_shot {
                        while !self.finish_futures() {}
                        end::end();
                    }
                    wait_while_terminating(self.record());
                    if self.is_worn_out() {
                        if self.finish_futures() {
                            self.retire();
                        }
                        // One of them may never end: so it goes on for as many tasks again, with the rights that it has.
                        self.tasks_left = self.max_tasks;
                        kept::forget_spoilt();
                    }
                }
                Claim::Empty => {
                    if end::is_asked_for() {
                        end::end();
                    }
                    if self.is_retiring() && self.finish_futures() {
                        self.retire();
                    }
                    self.rest();
                    rested = true;
                }
            }
        }
    }

    /// Whether a fresh worker is to take this one's place.
    fn is_worn_out(&self) -> bool {
        self.tasks_left == 0 || self.is_retiring() || self.usage.is_some_and(Usage::is_high) || needs_rights()
    }

    /// Whether the program has asked this process to end.
    fn is_retiring(&self) -> bool {
        self.record().retiring.load(Ordering::Relaxed) != 0
    }

    /// Ends the process between two tasks, so that a fresh one takes its place.
    fn retire(&self) -> ! {
        let _ = ControlRequest::Retire.send(self.channel);
        // Another thread may have relied on this worker to look for work.
        if self.board.ring().may_have_work() {
            self.board.wake_one();
        }
        end::end()
    }

    /// Waits until what was deferred has ended, and claims nothing meanwhile. False if that takes too long.
    fn finish_futures(&mut self) -> bool {
        let end = Instant::now() + PATIENCE;
        while self.has_futures() {
            // A thread may have relied on this worker to look for work.
            if self.board.ring().may_have_work() {
                self.board.wake_one();
            }
            let deadline = self.next_limit().map_or(end, |limit| limit.min(end));
            self.sleep(Some(deadline));
            self.poll_futures();
            if Instant::now() >= end {
                return !self.has_futures();
            }
        }
        true
    }

    /// Sleeps until it is woken.
    pub(super) fn sleep(&self, deadline: Option<Instant>) {
        let record = self.record();
        while record.wake.load(Ordering::Acquire) == 0 {
            futex::wait(&record.wake, 0, deadline);
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
        }
        record.wake.store(0, Ordering::Relaxed);
    }

    /// Waits until there may be work.
    fn rest(&mut self) {
        let deadline = self.next_limit();
        let ring = self.board.ring();
        let record = self.record();
        record.searching.store(1, Ordering::Relaxed);
        if spin(|| ring.may_have_work() || self.has_woken()) {
            record.searching.store(0, Ordering::Relaxed);
            sleep::settle();
            return;
        }
        // From here on no thread relies on us: the next step may take long.
        record.searching.store(0, Ordering::Relaxed);
        let deadline = match (deadline, shared_referent::rest()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        // What a task printed without a line's end must not wait for the next task.
        let _ = io::stdout().flush();
        exit::flush_c_output();
        let sleepers = self.board.sleepers();
        sleepers.announce(self.index);
        sleep::settle();
        if (ring.may_have_work() || self.has_woken()) && sleepers.withdraw(self.index) {
            return;
        }
        // Our bit is set, or the thread that cleared it is about to wake us.
        self.sleep(deadline);
        // The supervisor wakes without clearing bits, and a wake-up may have been meant for a worker that was here before.
        sleepers.withdraw(self.index);
    }

    fn run_message(&mut self, slot: &Slot, index: u32, generation: u64) {
        let items = slot.items.load(Ordering::Relaxed);
        let wanted = slot.wanted.load(Ordering::Relaxed);
        let begun = (wanted & TIMED != 0).then(clock::now);
        worker_events::worker::set_level(wanted >> LEVEL);
        let record = self.record();
        record.begin_busy();
        let watched = (slot.limited.load(Ordering::Relaxed) != 0).then_some(record);
        if let (Some(begun), None) = (begun, watched) {
            slot.began.store(begun, Ordering::Relaxed);
        }
        // What is over the number of tasks of this worker is left for the next.
        let most = u32::try_from(self.tasks_left).unwrap_or(u32::MAX).min(items);

        let serve = self.functions.get(slot.function.load(Ordering::Relaxed), self.channel);
        let start = match slot.arguments_offset.load(Ordering::Relaxed) {
            0 => slot.arguments.0.get().cast::<u8>().cast_const(),
            offset => self.segment.at(offset).as_ptr().cast_const(),
        };
        let len = slot.arguments_len.load(Ordering::Relaxed) as usize;
        // SAFETY: the program wrote `len` bytes of arguments there, at an address aligned as they need; the message is ours
        // until it is completed, so nothing else touches them, and we may change them in place.
        let reader = unsafe { Reader::from_raw(start, len) };
        let arguments = handle_table::Arguments::default();
        // SAFETY: as above; the program has written what is lent, and lends it until the message is completed.
        let mut reader = unsafe { reader.lending() }.receiving(&arguments);
        let usage = self.usage;
        let worn_out = || usage.is_some_and(Usage::is_high) || needs_rights();
        let mut delivery = Delivery::new(self, slot, items);
        let memory = delivery.memory();
        // SAFETY: the room is the message's alone: in its slot, or in its part of the region. `delivery` does not touch it until
        // the results is gone.
        let memory = unsafe { std::slice::from_raw_parts_mut(memory.0, memory.1) };
        let mut results =
            ResultWriter::new(Writer::new(memory), slot, generation, &mut delivery, Some(&arguments), watched);
        if usage.is_some() || sandbox::is_confined() {
            results.end_when(&worn_out);
        }
        let result = if wanted & PACKED != 0 {
            run_each(serve, slot, (start, len), &mut results, &arguments, most);
            Ok(Ok(()))
        } else {
            panics::catch(|| serve(&mut reader, &mut results, most))
        };
        match result {
            Ok(Ok(())) => shared_referent::end_message(),
            _ => shared_referent::forget(),
        }
        // Where the next item starts is not known after a failure, so the message ends; the program sends the rest again.
        match result {
            Ok(Ok(())) => {}
            // A destructor panicked after the result was out.
            _ if results.has_delivered() => {}
            Ok(Err(error)) => fail(&mut results, slot, &error),
            Err(caught) => fail_by_panic(&mut results, slot, caught),
        }
        let (len, delivered, deferred) = (results.len(), results.delivered(), results.take_deferred());
        drop(results);
        delivery.close(len);
        if let Some(future) = deferred {
            self.tasks_left = self.tasks_left.saturating_sub(1);
            self.begin(index, generation, future);
            record.end_busy();
            return;
        }
        self.tasks_left = self.tasks_left.saturating_sub(u64::from(delivered));
        if let Some(begun) = begun {
            // With a limit the end of the last item is noted, which the program goes back from.
            let ended = if watched.is_some() { slot.began.load(Ordering::Relaxed) } else { clock::now() };
            slot.nanoseconds.store(ended.saturating_sub(begun), Ordering::Relaxed);
        }
        record.end_busy();
        self.complete(slot, index, generation);
    }
}

/// Runs the items of a packed message: tasks of their own, each of which is claimed before it is run. Where each begins is known, so that one goes
/// on after another that failed.
fn run_each(
    serve: Serve,
    slot: &Slot,
    (start, len): (*const u8, usize),
    results: &mut ResultWriter<'_>,
    arguments: &handle_table::Arguments,
    most: u32,
) {
    let four_bytes = |at: usize| {
        // SAFETY: `at` is less than `len`.
        let place = unsafe { start.add(at) };
        // SAFETY: `at + 4` is at most `len`, and the program wrote so many bytes from `start` on.
        unsafe { place.cast::<[u8; 4]>().read() }
    };
    for item in 0..most as usize {
        if !slot.begin(item) {
            results.skip();
        } else if let Some((at, len)) = place_of(item, len, four_bytes) {
            // SAFETY: `at` is at most as long as the arguments.
            let start = unsafe { start.add(at) };
            // SAFETY: so many bytes lie there inside the arguments, aligned as they need; they are ours until the message is completed.
            let reader = unsafe { Reader::from_raw(start, len) };
            // SAFETY: as above.
            let mut reader = unsafe { reader.lending() }.receiving(arguments);
            match panics::catch(|| serve(&mut reader, results, 1)) {
                Ok(Ok(())) => {}
                // A destructor panicked after the result was out.
                _ if results.has_delivered() => {}
                Ok(Err(error)) => fail(results, slot, &error),
                Err(caught) => fail_by_panic(results, slot, caught),
            }
        } else {
            results.begin();
            let error = CodecError::new("a worker process had damaged the memory that it shares with the program");
            fail(results, slot, &ServeError::Decode(error));
        }
        if results.is_full() || needs_rights() {
            return;
        }
    }
}

/// Whether a value that this worker keeps has to be made anew, and its sandbox, which was open when the value was made, is closed. A fresh worker can
/// make it.
fn needs_rights() -> bool {
    kept::has_spoilt() && sandbox::is_confined()
}
