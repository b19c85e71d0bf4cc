//! One thread for all pools: it serves the control sockets of the workers and sees their deaths.
//!
//! Nothing that the healthy path does goes through it: it says hello to new workers, grants blocks for large results, and
//! fills the places of the dead.

use std::collections::HashMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;
use rustix::event::epoll::{self, EventData, EventFlags};

use super::engine::{Engine, Life};
use super::futex;
use super::handshake::{Received, Request};
use super::life::START_LIMIT;
use super::seat::Worker;
use crate::error::TaskError;
use crate::shared::Arena;

/// How often timers are looked at: freed memory gives its pages back after one such time without use.
const TICK: Duration = Duration::from_secs(1);

pub(super) struct Supervisor {
    epoll: OwnedFd,
    /// Written to make the thread look at its timers.
    kick: OwnedFd,
    keys: AtomicU64,
    /// By key: whose worker it is, and in which place.
    watched: Mutex<HashMap<u64, (Arc<Engine>, usize)>>,
}

static SUPERVISOR: OnceLock<Supervisor> = OnceLock::new();

/// What the kick is watched under.
const KICK: u64 = u64::MAX;

/// A worker's descriptors are watched under its key, doubled, plus one for the process descriptor.
fn data(key: u64, process: bool) -> EventData {
    EventData::new_u64(key * 2 + u64::from(process))
}

impl Supervisor {
    /// The supervisor; started at first use.
    pub(super) fn get() -> io::Result<&'static Self> {
        static STARTING: Mutex<()> = Mutex::new(());
        if let Some(supervisor) = SUPERVISOR.get() {
            return Ok(supervisor);
        }
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if SUPERVISOR.get().is_none() {
            let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
            let kick = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            epoll::add(&epoll, &kick, EventData::new_u64(KICK), EventFlags::IN)?;
            let supervisor = Self { epoll, kick, keys: AtomicU64::new(0), watched: Mutex::default() };
            // The thread waits for the value that is set right after it was started.
            std::thread::Builder::new().name("parallel-super".to_owned()).spawn(|| SUPERVISOR.wait().run())?;
            let _ = SUPERVISOR.set(supervisor);
            Arena::tell_when_warm(|| {
                if let Some(supervisor) = Self::running() {
                    supervisor.look_at_timers();
                }
            });
        }
        Ok(SUPERVISOR.get().expect("it was just set"))
    }

    pub(super) fn running() -> Option<&'static Self> {
        SUPERVISOR.get()
    }

    pub(super) fn new_key(&self) -> u64 {
        self.keys.fetch_add(1, Ordering::Relaxed)
    }

    /// Makes the thread look at its timers, because there is a new one.
    fn look_at_timers(&self) {
        let _ = rustix::io::write(&self.kick, &1_u64.to_ne_bytes());
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<u64, (Arc<Engine>, usize)>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches a new worker.
    pub(super) fn watch(&self, engine: &Arc<Engine>, seat: usize, worker: &Worker) -> io::Result<()> {
        self.watched().insert(worker.key, (Arc::clone(engine), seat));
        self.look_at_timers();
        let added =
            epoll::add(&self.epoll, &worker.started.socket, data(worker.key, false), EventFlags::IN).and_then(|()| {
                match &worker.started.process {
                    Some(process) => epoll::add(&self.epoll, process, data(worker.key, true), EventFlags::IN),
                    None => Ok(()),
                }
            });
        added.map_err(|error| {
            self.forget(worker);
            error.into()
        })
    }

    /// Forgets a worker, whose descriptors are still open.
    pub(super) fn forget(&self, worker: &Worker) {
        // Closing alone would not do: a program that forks shares the descriptors with its child.
        let _ = epoll::delete(&self.epoll, &worker.started.socket);
        if let Some(process) = &worker.started.process {
            let _ = epoll::delete(&self.epoll, process);
        }
        // The engine may die with this, and its end must not find the table locked.
        let forgotten = self.watched().remove(&worker.key);
        drop(forgotten);
    }

    fn run(&self) {
        let mut last_trim = Instant::now();
        let mut events = [MaybeUninit::uninit(); 32];
        loop {
            let timeout =
                self.has_timers().then(|| rustix::event::Timespec { tv_sec: TICK.as_secs().cast_signed(), tv_nsec: 0 });
            let ready: Vec<u64> = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
                Ok((ready, _)) => ready.iter().map(|event| event.data.u64()).collect(),
                Err(_) => Vec::new(),
            };
            for event in ready {
                if event == KICK {
                    let _ = rustix::io::read(&self.kick, &mut [0_u8; 8]);
                    continue;
                }
                let key = event / 2;
                let found = self.watched().get(&key).cloned();
                let Some((engine, seat)) = found else { continue };
                if event % 2 == 1 {
                    self.on_death(&engine, seat, key);
                } else {
                    self.on_socket(&engine, seat, key);
                }
            }
            self.end_late_starters();
            if last_trim.elapsed() >= TICK {
                last_trim = Instant::now();
                if let Ok(arena) = Arena::get() {
                    arena.trim_if_idle();
                }
            }
        }
    }

    fn has_timers(&self) -> bool {
        let starting = |(engine, seat): &(Arc<Engine>, usize)| {
            engine.lock().seats[*seat].worker().is_some_and(|worker| !worker.ready)
        };
        let watched: Vec<_> = self.watched().values().cloned().collect();
        Arena::get().is_ok_and(|arena| arena.is_warm()) || watched.iter().any(starting)
    }

    /// Ends workers that were started long ago and never became ready.
    fn end_late_starters(&self) {
        let watched: Vec<_> = self.watched().values().cloned().collect();
        for (engine, seat) in watched {
            let mut state = engine.lock();
            if let Some(worker) = state.seats[seat].worker_mut()
                && !worker.ready
                && worker.since.elapsed() > START_LIMIT
            {
                worker.late = true;
                let _ = worker.started.child.kill();
            }
        }
    }

    fn on_socket(&self, engine: &Arc<Engine>, seat: usize, key: u64) {
        let mut state = engine.lock();
        let Some(worker) = state.seats[seat].worker_mut().filter(|worker| worker.key == key) else {
            return;
        };
        match Request::receive(&worker.started.socket) {
            Received::Nothing => {}
            Received::Request(Request::Hello) => {
                worker.ready = true;
                state.failed_starts = 0;
                drop(state);
                engine.changed.notify_all();
            }
            Received::Request(Request::Grant(len)) => {
                // Whoever needs memory for results may need it because nobody collects them.
                engine.harvest(&mut state);
                let record = engine.board().record(seat as u32);
                let granted = Arena::get().map_err(TaskError::Spawn).and_then(|arena| arena.take(len));
                match granted {
                    Ok(block) => {
                        record.grant_offset.store(block.offset(), Ordering::Relaxed);
                        state.seats[seat].grants.push(block);
                    }
                    Err(error) => {
                        let available = match error {
                            TaskError::OutOfSharedMemory { available, .. } => available,
                            _ => 0,
                        };
                        record.grant_offset.store(0, Ordering::Relaxed);
                        record.grant_available.store(available, Ordering::Relaxed);
                    }
                }
                record.grants.fetch_add(1, Ordering::Release);
                futex::wake_all(&record.grants);
                engine.refill(&mut state);
                drop(state);
                engine.notify_waiters();
            }
            Received::End => {
                let _ = epoll::delete(&self.epoll, &worker.started.socket);
                let without_descriptor = worker.started.process.is_none();
                if !without_descriptor {
                    // It is dying, or it has closed what it should have kept; either way it is of no more use.
                    let _ = worker.started.child.kill();
                }
                drop(state);
                if without_descriptor {
                    self.on_death(engine, seat, key);
                }
            }
        }
    }

    fn on_death(&self, engine: &Arc<Engine>, seat: usize, key: u64) {
        let mut state = engine.lock();
        if state.seats[seat].worker().is_none_or(|worker| worker.key != key) {
            return;
        }
        let worker = state.seats[seat].worker_mut().expect("it was just seen");
        let pid = worker.pid();
        let (was_ready, was_late) = (worker.ready, worker.late);
        // Killing what is dead does nothing; what only closed its socket must be dead before its memory is used again.
        let status = worker.kill();
        let (signal, exit_code) = status.map_or((None, None), |status| (status.signal(), status.code()));

        // What it had completed is collected, what it had claimed is lost.
        engine.bury(&mut state, seat as u32, || TaskError::WorkerDied { function: "", pid, signal, exit_code });
        let gone = state.seats[seat].take();
        state.seats[seat].grants.clear();
        let board = engine.board();
        state.seats[seat].completed_head = board.record(seat as u32).completed_tail.0.load(Ordering::Relaxed);
        if !engine.is_one_shot() || !was_ready {
            state.worker_deaths += 1;
        }

        // A wake-up may have gone to it, or may not have been made because it was searching.
        board.sleepers().withdraw(seat as u32);
        board.record(seat as u32).searching.store(0, Ordering::Relaxed);
        let killed = signal == Some(libc::SIGKILL) && !was_late;
        let failed = !was_ready && Engine::count_failed_start(&mut state, killed);
        let how = || {
            let how = TaskError::WorkerDied { function: "(start)", pid, signal, exit_code };
            io::Error::other(format!("workers end before they are ready: {how}"))
        };
        if failed || (engine.is_one_shot() && state.outstanding() > 0) {
            engine.give_up(&mut state, &how());
        }
        engine.refill(&mut state);
        let replace = state.life != Life::Stopped && !engine.is_one_shot() && !failed;
        if replace {
            state.seats[seat].occupant = super::seat::Occupant::Starting;
        }
        drop(state);
        if let Some(gone) = gone {
            self.forget(&gone);
        }
        if replace {
            let _ = engine.fill(seat);
        }
        // Its bit was cleared, or it had cleared another's and not woken it yet: whoever sleeps looks again.
        engine.board().wake_all();
        engine.notify_waiters();
        engine.changed.notify_all();
    }
}
