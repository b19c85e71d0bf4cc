//! One thread for all pools: it starts workers, serves their control channels, sees their deaths, and ends those that are over a
//! limit.
//!
//! Nothing that the healthy path does goes through it. It never waits for a task, nor for the reader of what tasks print.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::exit_status;
use super::stderr::{self, Program};
use super::worker_slot::Worker;
use crate::observe::timeline::memory;
use crate::remote::recording;
use crate::shared::{Arena, all_arenas};
use crate::sys::fork;
use crate::sys::poller::Poller;
use crate::sys::profile;
use crate::sys::role;

/// After such a time without use freed memory gives its pages back.
const TRIM: Duration = Duration::from_secs(1);

/// How long the end of the program is put off for idle workers that do not end.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long to wait before something is tried again.
const AGAIN: Duration = Duration::from_millis(1);

/// Tries until it works, but not after `deadline`.
pub(super) fn retry_until<R>(deadline: Instant, mut attempt: impl FnMut() -> Option<R>) -> Option<R> {
    loop {
        let result = attempt();
        if result.is_some() || Instant::now() >= deadline {
            return result;
        }
        std::thread::sleep(AGAIN);
    }
}

/// The process ids of all workers.
fn all_worker_pids() -> Vec<u32> {
    let Some(supervisor) = Supervisor::running() else { return Vec::new() };
    let engines: Vec<_> = lock(&supervisor.engines).iter().filter_map(Weak::upgrade).collect();
    engines.iter().flat_map(|engine| engine.worker_pids()).collect()
}

/// A pool, as the supervisor sees it.
pub(super) trait Supervised: Send + Sync {
    /// Starts a worker for a place that was reserved.
    fn fill(self: Arc<Self>, supervisor: &Supervisor, worker_slot: usize);

    /// Its start has panicked.
    fn give_start_up(&self, worker_slot: usize);

    /// A worker has something to say.
    fn on_channel(self: Arc<Self>, supervisor: &Supervisor, worker_slot: usize, key: u64);

    /// A worker is dead.
    fn on_death(self: Arc<Self>, supervisor: &Supervisor, worker_slot: usize, key: u64);

    /// Does what is due by now, and gives when the next thing will be.
    fn do_what_is_due(self: Arc<Self>) -> Option<Instant>;

    /// The program has closed the descriptors of the runtime.
    fn break_down(&self);

    /// The program ends: idle workers are asked to end first, if the lock for it is free before `deadline`. Gives their places.
    fn retire_idle(&self, deadline: Instant) -> Vec<usize>;

    /// Waits until workers have ended that were asked to, at most until `deadline`, or a little longer if they are about it.
    fn await_retired(&self, worker_slots: &[usize], deadline: Instant);

    /// The process ids of its workers.
    fn worker_pids(&self) -> Vec<u32>;
}

/// A place for a worker, and whose it is.
type Place = (Arc<dyn Supervised>, usize);

pub(super) struct Supervisor {
    poller: Poller,
    keys: AtomicU64,
    /// By key: whose worker it is, and in which place.
    watched: Mutex<HashMap<u64, Place>>,
    /// All pools that may have something due.
    engines: Mutex<Vec<Weak<dyn Supervised>>>,
    /// Places for which workers are to be started.
    starts: Mutex<VecDeque<Place>>,
    /// The program has closed our descriptors.
    broken: AtomicBool,
}

static SUPERVISOR: OnceLock<Supervisor> = OnceLock::new();

/// The keys of a worker's channel and of its death are the worker's key, doubled, and one more.
fn of_channel(worker: &Worker) -> u64 {
    worker.key * 2
}

fn of_death(worker: &Worker) -> u64 {
    worker.key * 2 + 1
}

fn is_sound() -> bool {
    Supervisor::running().is_none_or(Supervisor::is_sound)
}

fn give_up() {
    if let Some(supervisor) = Supervisor::running() {
        // On this thread: the supervisor's cannot be woken without its descriptors.
        supervisor.give_everything_up();
    }
}

fn before_exit() {
    if let Some(supervisor) = Supervisor::running() {
        supervisor.let_idle_workers_end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Supervisor {
    /// The supervisor; started at first use.
    pub(super) fn get() -> io::Result<&'static Self> {
        static STARTING: Mutex<()> = Mutex::new(());
        if let Some(supervisor) = SUPERVISOR.get() {
            return Ok(supervisor);
        }
        let _starting = lock(&STARTING);
        if SUPERVISOR.get().is_none() {
            fork::watch();
            exit_status::begin_to_count();
            memory::set_worker_pids(all_worker_pids);
            stderr::set_program(Program { is_sound, give_up, before_exit });
            let supervisor = Self {
                poller: Poller::new()?,
                keys: AtomicU64::new(0),
                watched: Mutex::default(),
                engines: Mutex::default(),
                starts: Mutex::default(),
                broken: AtomicBool::new(false),
            };
            // The thread waits for the value that is set right after it was started.
            std::thread::Builder::new().name("parallel-super".to_owned()).spawn(|| SUPERVISOR.wait().run())?;
            let _ = SUPERVISOR.set(supervisor);
            Arena::tell_when_warm(|| {
                if let Some(supervisor) = Self::running() {
                    supervisor.kick();
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

    /// Makes the thread look at what there is to do.
    pub(super) fn kick(&self) {
        if !self.broken.load(Ordering::Relaxed) && !self.poller.wake() {
            self.broken.store(true, Ordering::Relaxed);
        }
    }

    /// Whether our descriptors are still ours. A program that closes all descriptors closes ours with them, and may then open
    /// something of its own under the same numbers.
    pub(super) fn is_sound(&self) -> bool {
        let sound = !self.broken.load(Ordering::Relaxed) && self.poller.is_sound();
        if !sound {
            self.broken.store(true, Ordering::Relaxed);
        }
        sound
    }

    /// Whether a worker's descriptors are still those that we watch.
    pub(super) fn still_watches(&self, worker: &Worker) -> bool {
        let started = &worker.started;
        (started.unwatched || self.poller.still_watches(started.channel.descriptor(), of_channel(worker)))
            && self.poller.still_watches(started.child.death(), of_death(worker))
    }

    /// Ends all pools of a program that has closed our descriptors.
    pub(super) fn give_everything_up(&self) {
        self.broken.store(true, Ordering::Relaxed);
        for engine in lock(&self.engines).iter().filter_map(Weak::upgrade) {
            engine.break_down();
        }
        lock(&self.starts).clear();
        stderr::give_up();
    }

    /// The program ends: workers that do nothing end first, so that what their tasks have printed comes out. To be called when the
    /// program exits, where other threads may hold any lock and never release it.
    pub(super) fn let_idle_workers_end(&self) {
        // To write a profile takes its time.
        let deadline = Instant::now() + if profile::is_measured() { 4 * LAST_WORDS } else { LAST_WORDS };
        let known: Option<Vec<_>> = retry_until(deadline, || {
            let engines = self.engines.try_lock().ok()?;
            Some(engines.iter().filter_map(Weak::upgrade).collect())
        });
        let known = known.unwrap_or_default();
        let asked: Vec<_> = known.iter().map(|engine| engine.retire_idle(deadline)).collect();
        known.iter().zip(asked).for_each(|(engine, worker_slots)| engine.await_retired(&worker_slots, deadline));
        recording::wait_until_saved(LAST_WORDS);
    }

    /// Watches over a pool from now on.
    pub(super) fn know(&self, engine: &Arc<dyn Supervised>) {
        let mut engines = lock(&self.engines);
        engines.retain(|engine| engine.strong_count() > 0);
        engines.push(Arc::downgrade(engine));
    }

    /// Starts a worker for a place that was reserved; soon, and on the supervisor's thread.
    pub(super) fn start(&self, engine: Arc<dyn Supervised>, worker_slot: usize) {
        lock(&self.starts).push_back((engine, worker_slot));
        self.kick();
    }

    /// Watches a new worker.
    pub(super) fn watch(&self, engine: Arc<dyn Supervised>, worker_slot: usize, worker: &Worker) -> io::Result<()> {
        lock(&self.watched).insert(worker.key, (engine, worker_slot));
        let started = &worker.started;
        let added = self.poller.add(started.channel.descriptor(), of_channel(worker));
        let added = added.and_then(|()| self.poller.add(started.child.death(), of_death(worker)));
        added.inspect_err(|_| self.forget(worker))
    }

    /// Looks at a worker's channel no more.
    pub(super) fn forget_channel(&self, worker: &Worker) {
        self.poller.remove(worker.started.channel.descriptor());
    }

    /// Forgets a worker, whose descriptors are still open.
    pub(super) fn forget(&self, worker: &Worker) {
        self.forget_channel(worker);
        self.poller.remove(worker.started.child.death());
        // The engine may die with this, and its end must not find the table locked.
        let forgotten = lock(&self.watched).remove(&worker.key);
        drop(forgotten);
    }

    fn run(&self) {
        role::become_supervisor();
        // The end of this thread would be the end of all workers. Nothing here should panic; if something does, the rest goes on.
        while std::panic::catch_unwind(AssertUnwindSafe(|| self.watch_over())).is_err() {
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn watch_over(&self) {
        let mut last_trim = Instant::now();
        loop {
            while let Some((engine, worker_slot)) = self.next_start() {
                if std::panic::catch_unwind(AssertUnwindSafe(|| Arc::clone(&engine).fill(self, worker_slot))).is_err() {
                    engine.give_start_up(worker_slot);
                }
            }
            let mut next = self.do_what_is_due();
            let arenas = all_arenas();
            if last_trim.elapsed() >= TRIM {
                last_trim = Instant::now();
                arenas.iter().for_each(|arena| arena.trim_if_idle());
            }
            if arenas.iter().any(|arena| arena.is_warm()) {
                let trim = last_trim + TRIM;
                next = Some(next.map_or(trim, |next| next.min(trim)));
            }
            drop(arenas);
            if !lock(&self.starts).is_empty() {
                continue;
            }
            let left = next.map(|next| next.saturating_duration_since(Instant::now()));
            // Whether its descriptors are still ours the poller looks itself.
            let is_broken = self.broken.load(Ordering::Relaxed);
            let ready = if is_broken { Err(fork::closed_descriptors()) } else { self.poller.wait(left) };
            let Ok(ready) = ready else {
                self.give_everything_up();
                // Not its end: the kernel would end what was started on this thread.
                loop {
                    std::thread::park();
                }
            };
            for event in ready {
                self.serve(event);
            }
        }
    }

    fn serve(&self, event: u64) {
        let key = event / 2;
        let found = lock(&self.watched).get(&key).cloned();
        let Some((engine, worker_slot)) = found else { return };
        if event % 2 == 1 {
            engine.on_death(self, worker_slot, key);
        } else {
            engine.on_channel(self, worker_slot, key);
        }
    }

    fn next_start(&self) -> Option<(Arc<dyn Supervised>, usize)> {
        lock(&self.starts).pop_front()
    }

    fn do_what_is_due(&self) -> Option<Instant> {
        let engines: Vec<_> = lock(&self.engines).iter().filter_map(Weak::upgrade).collect();
        engines.into_iter().filter_map(Supervised::do_what_is_due).min()
    }
}
