//! The workers of a pool: when they are started, what happens if they cannot be, and how they end.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::engine::{Engine, Life, State};
use super::handshake::Welcome;
use super::seat::{Occupant, Seat, Worker};
use super::supervisor::Supervisor;
use super::ticket::Outcome;
use super::{hook, spawn};
use crate::error::{PoolError, TaskError};

/// Bytes of a worker's result region. Its pages come when they are touched.
const REGION: u64 = 4 << 20;

/// After so many points for workers in a row that died before they were ready, the pool gives up what is outstanding.
const MOST_FAILED_STARTS: u32 = 300;

/// Points for a worker that ended by itself: a program whose workers cannot start shows it three times.
const FAILED_START: u32 = 100;

/// Points for a worker that was killed from outside, which says little about the next one.
const KILLED_START: u32 = 1;

/// How long a new worker may take until it is ready.
pub(super) const START_LIMIT: Duration = Duration::from_secs(20);

impl Engine {
    /// A place to fill, if there is more work than workers. It is marked as being filled.
    pub(super) fn wanted(&self, state: &mut State) -> Option<usize> {
        let filled = state.seats.iter().filter(|seat| !seat.is_free()).count();
        if filled >= self.workers || state.outstanding() <= filled {
            return None;
        }
        self.reserve(state)
    }

    fn reserve(&self, state: &mut State) -> Option<usize> {
        let free = state.seats.iter().position(Seat::is_free)?;
        state.seats[free].occupant = Occupant::Starting;
        Some(free)
    }

    /// Starts a worker for a place that was reserved.
    pub(super) fn fill(self: &Arc<Self>, seat: usize) -> io::Result<()> {
        let filled = self.try_fill(seat);
        if let Err(error) = &filled {
            let mut state = self.lock();
            state.seats[seat].occupant = Occupant::Nobody;
            self.give_up(&mut state, error);
        }
        self.changed.notify_all();
        filled
    }

    fn try_fill(self: &Arc<Self>, seat: usize) -> io::Result<()> {
        let memory = self.memory.get().expect("there is a board before there are workers");
        let supervisor = Supervisor::get()?;
        {
            let mut state = self.lock();
            if state.seats[seat].region.is_none() {
                state.seats[seat].region = Some(memory.arena.take(REGION).map_err(io::Error::other)?);
            }
            let region = state.seats[seat].region.as_ref().expect("it was just made");
            let record = memory.board.record(seat as u32);
            record.region_offset.store(region.offset(), Ordering::Relaxed);
            record.region_len.store(REGION, Ordering::Relaxed);
            record.wake.store(0, Ordering::Relaxed);
            record.searching.store(0, Ordering::Relaxed);
        }
        let welcome = Welcome::new(
            memory.arena.segment().len(),
            memory.block.offset(),
            memory.board.layout().workers,
            memory.board.layout().slots,
            seat as u32,
            self.one_shot,
        );
        let started = spawn::spawn(&memory.arena, &welcome)?;
        let key = supervisor.new_key();
        let mut worker = Box::new(Worker { started, key, since: Instant::now(), ready: false, late: false });
        let mut state = self.lock();
        if state.life == Life::Stopped {
            drop(state);
            worker.kill();
            return Err(io::Error::other("the pool was stopped"));
        }
        if let Err(error) = supervisor.watch(self, seat, &worker) {
            // Nobody would see its death, so it must not live; it may have claimed a task already.
            let pid = worker.pid();
            worker.kill();
            self.bury(&mut state, seat as u32, || TaskError::WorkerDied {
                function: "",
                pid,
                signal: Some(libc::SIGKILL),
                exit_code: None,
            });
            return Err(error);
        }
        state.last_pid = Some(worker.pid());
        state.seats[seat].occupant = Occupant::Worker(worker);
        Ok(())
    }

    /// Ends all that is outstanding, because no worker can be had.
    pub(super) fn give_up(&self, state: &mut State, error: &io::Error) {
        state.failed_starts = 0;
        state.given_up += 1;
        if !state.seats.iter().all(Seat::is_free) {
            // The workers that there are go on with what there is.
            return;
        }
        self.end_all(state, || {
            TaskError::Spawn(match error.raw_os_error() {
                Some(code) => io::Error::from_raw_os_error(code),
                None => io::Error::new(error.kind(), error.to_string()),
            })
        });
    }

    /// Counts a worker that died before it was ready. True if there have been too many in a row.
    pub(super) fn count_failed_start(state: &mut State, killed: bool) -> bool {
        state.failed_starts += if killed { KILLED_START } else { FAILED_START };
        state.failed_starts >= MOST_FAILED_STARTS
    }

    /// Ends all that is outstanding. No worker may be running any of it.
    fn end_all(&self, state: &mut State, error: impl Fn() -> TaskError) {
        for (ticket, _) in std::mem::take(&mut state.queue) {
            ticket.finish(Outcome::error(error()));
            state.finished += 1;
        }
        for index in 0..state.in_flight.len() {
            if state.in_flight[index].is_some() {
                self.finish_with(state, index as u32, |_, _| Outcome::error(error()));
            }
        }
        self.notify_waiters();
    }

    /// Starts all workers and waits until they are ready.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), PoolError> {
        self.arena()?;
        if hook::in_worker() {
            return Ok(());
        }
        let mut state = self.lock();
        if state.life != Life::Open {
            return Err(PoolError::Closed);
        }
        let given_up = state.given_up;
        let mut seats = Vec::new();
        while let Some(seat) = self.reserve(&mut state) {
            seats.push(seat);
        }
        drop(state);
        // All are started before any is waited for.
        let mut failure = None;
        for seat in seats {
            if let Err(error) = self.fill(seat) {
                failure = Some(error);
            }
        }
        if let Some(error) = failure {
            return Err(PoolError::Spawn(error));
        }
        let mut state = self.lock();
        while !state.seats.iter().all(|seat| seat.worker().is_some_and(|worker| worker.ready)) {
            if state.life != Life::Open {
                return Err(PoolError::Closed);
            }
            if state.given_up != given_up || state.seats.iter().any(Seat::is_free) {
                return Err(PoolError::Spawn(io::Error::other("workers end before they are ready")));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Takes no more tasks, waits until those it has are done, and ends the workers.
    pub(crate) fn shutdown(&self) {
        {
            let mut state = self.lock();
            if state.life == Life::Open {
                state.life = Life::Draining;
            }
        }
        if self.has_board() {
            self.wait_until(|| {
                let mut state = self.lock();
                self.harvest(&mut state);
                self.refill(&mut state);
                state.outstanding() == 0
            });
        }
        let mut workers = self.stop();
        for worker in &mut workers {
            // The end of its control socket is the worker's end.
            let _ = rustix::net::shutdown(&worker.started.socket, rustix::net::Shutdown::Both);
        }
        for worker in &mut workers {
            let _ = worker.started.child.wait();
        }
        self.release_memory();
    }

    /// Takes no more tasks, and ends workers and tasks at once.
    pub(crate) fn kill(&self) {
        let mut workers = self.stop();
        for worker in &mut workers {
            let _ = worker.started.child.kill();
        }
        for worker in &mut workers {
            // After this nobody writes into the tasks' memory.
            let _ = worker.started.child.wait();
        }
        if self.has_board() {
            let mut state = self.lock();
            self.harvest(&mut state);
            self.end_all(&mut state, || TaskError::Cancelled);
        }
        drop(workers);
        self.release_memory();
    }

    /// Marks the pool as stopped and empties its places.
    #[expect(clippy::vec_box, reason = "they come out of their places as they are")]
    fn stop(&self) -> Vec<Box<Worker>> {
        let mut state = self.lock();
        state.life = Life::Stopped;
        // Whoever is just starting a worker will find the pool stopped, and end it again.
        while state.seats.iter().any(|seat| matches!(seat.occupant, Occupant::Starting)) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let workers: Vec<_> = state.seats.iter_mut().filter_map(Seat::take).collect();
        drop(state);
        if let Some(supervisor) = Supervisor::running() {
            for worker in &workers {
                supervisor.forget(worker);
            }
        }
        self.changed.notify_all();
        workers
    }

    /// Gives back the result regions. No worker is left to write them.
    fn release_memory(&self) {
        for seat in &mut self.lock().seats {
            seat.region = None;
            seat.grants.clear();
        }
    }
}
