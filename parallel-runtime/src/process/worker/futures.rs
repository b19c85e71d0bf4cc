//! The worker's side of its [`LocalExecutor`]: begins futures, polls those that are woken, drops those that are over their limits.

use std::cmp::Reverse;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::core::{Worker, fail, fail_by_panic};
use super::delivery::Delivery;
use super::local_executor::{LocalExecutor, Task};
use crate::codec::Writer;
use crate::function::{Delivered, ResultWriter};
use crate::ipc::board::Slot;
use crate::ipc::board::ring::entry;
use crate::ipc::board::slot::{DEFERRED, DISMISSED, DROPPED, LATE, TIMED};
use crate::panics;
use crate::sys::clock;
use crate::wait::executor;

impl Worker {
    /// Whether futures are to be polled.
    #[inline(always)]
    pub(super) fn has_woken(&self) -> bool {
        self.futures.as_ref().is_some_and(|futures| futures.woken.any.load(Ordering::Acquire))
    }

    /// Whether there are futures that have not ended.
    #[inline(always)]
    pub(super) fn has_futures(&self) -> bool {
        self.futures.as_ref().is_some_and(|futures| !futures.is_empty())
    }

    /// Lets a worker that sleeps, and has fewer bodies, have what there is to claim. True if that is all that there is: so each
    /// worker gets its part, although one alone could begin them all.
    pub(super) fn leaves_it_to_another(&self) -> bool {
        let (board, record) = (self.board, self.record());
        let ring = board.ring();
        if !ring.may_have_work() {
            return false;
        }
        let count = |worker: u32| board.record(worker).deferred.load(Ordering::Relaxed);
        let sleepers = (0..board.layout().workers).filter(|worker| board.sleepers().is_asleep(*worker));
        let least = sleepers.min_by_key(|worker| count(*worker));
        match least.filter(|worker| count(*worker) < record.deferred.load(Ordering::Relaxed)) {
            // It looks for work as the thread that was woken for it does.
            Some(other) => board.wake_sleeper(other) && ring.len() <= 1,
            None => false,
        }
    }

    /// When it has to look after them at the latest.
    pub(super) fn next_limit(&mut self) -> Option<Instant> {
        self.futures.as_mut().and_then(|futures| futures.next_limit())
    }

    /// Begins the future of a message that was claimed.
    pub(super) fn begin(&mut self, slot: u32, generation: u64, future: Delivered) {
        let (board, record) = (self.board, self.record());
        let here = board.slot(slot);
        here.began.store(clock::now() | DEFERRED, Ordering::Release);
        let futures = self.futures.get_or_insert_with(|| Box::new(LocalExecutor::new(record)));
        let number = futures.add(slot, generation, future);
        let limit = here.limited.load(Ordering::Relaxed);
        if limit != 0 {
            let at = Instant::now() + Duration::from_millis(limit.into());
            futures.limits.push(Reverse((at, number, entry(slot, generation))));
            if futures.limits.len() > 2 * futures.tasks.len() + 64 {
                futures.forget_old_limits();
            }
        }
        self.poll_one(number);
    }

    /// Polls those that have been woken, and drops those that are over their limits.
    pub(super) fn poll_futures(&mut self) {
        let Some(futures) = &mut self.futures else { return };
        if futures.woken.any.swap(false, Ordering::AcqRel) {
            let numbers = std::mem::take(&mut *futures.woken.numbers.lock().unwrap_or_else(PoisonError::into_inner));
            self.record().begin_busy();
            for number in numbers {
                self.poll_one(number);
            }
            self.record().end_busy();
        }
        while let Some(futures) = &mut self.futures
            && futures.next_limit().is_some_and(|at| at <= Instant::now())
            && let Some(Reverse((_, number, _))) = futures.limits.pop()
        {
            if let Some(task) = futures.take(number) {
                self.drop_task(task, LATE);
            }
        }
        if let Some(futures) = &mut self.futures
            && futures.dismissals != self.record().dismissals.load(Ordering::Acquire)
        {
            self.drop_dismissed();
        }
    }

    /// Drops those that the program does not want any more.
    #[cold]
    fn drop_dismissed(&mut self) {
        let (board, record) = (self.board, self.record());
        let Some(futures) = &mut self.futures else { return };
        futures.dismissals = record.dismissals.load(Ordering::Acquire);
        let is_dismissed = |task: &Option<Task>| {
            task.as_ref().is_some_and(|task| board.slot(task.slot).wanted.load(Ordering::Acquire) & DISMISSED != 0)
        };
        let numbers: Vec<usize> =
            (0..futures.tasks.len()).filter(|number| is_dismissed(&futures.tasks[*number])).collect();
        for number in numbers {
            if let Some(task) = self.futures.as_mut().and_then(|futures| futures.take(number)) {
                self.drop_task(task, DROPPED);
            }
        }
    }

    fn poll_one(&mut self, number: usize) {
        let Some(futures) = &mut self.futures else { return };
        let Some(task) = futures.tasks[number].as_mut() else { return };
        // Before it is polled: what wakes it from now on is heard.
        task.alarm.rings.swap(false, Ordering::AcqRel);
        let waker = Waker::from(Arc::clone(&task.alarm));
        let record = self.board.record(self.index);
        record.running.store(entry(task.slot, task.generation), Ordering::Relaxed);
        let result = match panics::catch(|| executor::poll(&mut task.future, &waker)) {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(deliver)) => Ok(deliver),
            Err(caught) => Err(caught),
        };
        let Some(Task { slot: index, generation, future, .. }) = futures.take(number) else { return };
        panics::discard(|| executor::inside(|| drop(future)));
        let board = self.board;
        let slot = board.slot(index);
        let mut delivery = Delivery::new(self, slot, 1);
        let memory = delivery.memory();
        // SAFETY: the room is the message's alone: in its slot. `delivery` does not touch it until the results is gone.
        let memory = unsafe { std::slice::from_raw_parts_mut(memory.0, memory.1) };
        let mut results = ResultWriter::new(Writer::new(memory), slot, generation, &mut delivery, None, None);
        results.begin();
        match result.map(|deliver| panics::catch(|| deliver(&mut results))) {
            Ok(Ok(Ok(()))) => {}
            // A destructor panicked after the result was out.
            _ if results.has_delivered() => {}
            Ok(Ok(Err(error))) => fail(&mut results, slot, &error),
            Ok(Err(caught)) | Err(caught) => fail_by_panic(&mut results, slot, caught),
        }
        let len = results.len();
        drop(results);
        delivery.close(len);
        note_time(slot);
        self.complete(slot, index, generation);
    }

    /// Drops a task that is not to be run to its end.
    fn drop_task(&mut self, task: Task, why: u32) {
        let Task { slot: index, generation, future, .. } = task;
        let record = self.board.record(self.index);
        record.running.store(entry(index, generation), Ordering::Relaxed);
        panics::discard(|| executor::inside(|| drop(future)));
        let board = self.board;
        let slot = board.slot(index);
        Delivery::new(self, slot, 1).close(0);
        slot.result_len.store(0, Ordering::Relaxed);
        slot.failed.store(why, Ordering::Relaxed);
        slot.set_done_items(generation, 1);
        note_time(slot);
        self.complete(slot, index, generation);
    }
}

/// Notes how long it took, if that is wanted.
fn note_time(slot: &Slot) {
    if slot.wanted.load(Ordering::Relaxed) & TIMED != 0 {
        let began = slot.began.load(Ordering::Relaxed) & !DEFERRED;
        slot.nanoseconds.store(clock::now().saturating_sub(began), Ordering::Relaxed);
    }
}
