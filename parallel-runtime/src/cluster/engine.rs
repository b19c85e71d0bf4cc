//! The program's side of a cluster: which letters wait, and which are under way.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use super::away::Away;
use super::bridge::{Bridge, Frame};
use super::letter::{Letter, Terms};
use super::wire::{Put, to_bridge};
use crate::error::{PoolError, TaskError};
use crate::observe::tally::Tally;
use crate::options::{CallOptions, WorkerOptions};
use crate::panics;
use crate::pool::PoolStats;
use crate::process::fork;
use crate::remote::ticket::{Outcome, Ticket};
use crate::shared::far;
use crate::shared::held::Held;
use crate::task::watch::{Watcher, Watchers};

/// How long the letters of a parcel should take together, if there are enough of them.
const TARGET: Duration = Duration::from_millis(100);

/// The most bytes of a parcel of several letters.
const MOST_BYTES: usize = 1 << 20;

/// The most letters of `async fn`s in a parcel: they come back together.
const MOST_FUTURES: usize = 256;

/// The most letters of other functions.
const MOST_LETTERS: usize = 4096;

/// How many parcels are under way for each thread of the cluster, so that none waits for the way here and back.
const EACH: usize = 4;

/// What is said again if the cluster is wanted so soon after it could not be reached.
const REMEMBERED: Duration = Duration::from_secs(1);

/// Where a cluster's scheduler is.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    Given(Cow<'static, str>),
    /// In the environment.
    Environment,
}

impl Address {
    pub(crate) fn resolve(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Given(address) => Some(address.clone()),
            Self::Environment => crate::environment::dask().map(Cow::Owned),
        }
    }
}

/// A cluster: what [`DaskPool`](crate::DaskPool) stands for once it has been used.
pub(crate) struct Engine {
    /// Which of the clusters' pools of this program.
    pub(crate) id: u64,
    address: Address,
    pub(super) connect_timeout: Duration,
    options: WorkerOptions,
    defaults: CallOptions,
    state: Mutex<State>,
    /// The life of the pool has changed, or an answer has come.
    pub(super) changed: Condvar,
    /// Counts letters that have ended, for those who wait for some.
    ended: Mutex<u64>,
    more_ended: Condvar,
    /// Threads of the cluster.
    pub(super) threads: AtomicUsize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    Open,
    /// What there is runs out.
    Draining,
    Stopped,
}

pub(super) struct State {
    pub(super) life: Life,
    pub(super) bridge: Option<Bridge>,
    /// Somebody is connecting.
    connecting: bool,
    /// When it could not connect, and why.
    failed: Option<(Instant, String)>,
    /// When bridges have died.
    pub(super) deaths: VecDeque<Instant>,
    pub(super) waiting: VecDeque<Waiting>,
    /// Parcels under way, by their numbers.
    pub(super) sent: BTreeMap<u64, Sent>,
    /// In which parcel a letter is.
    pub(super) parcel_of: HashMap<u64, u64>,
    next: u64,
    admitted: usize,
    pub(super) questions: HashMap<u64, super::asking::Question>,
    /// How long an item of a function takes, in nanoseconds.
    pub(super) rates: HashMap<u64, f64>,
    /// What is on the machines of the cluster, and who has it here.
    blobs: HashMap<String, Weak<Held>>,
    pub(super) workers: usize,
    pub(super) tally: Tally,
    pub(super) submitted: u64,
    pub(super) finished: u64,
    pub(super) retried: u64,
    pub(super) timed_out: u64,
    pub(super) died: u64,
}

/// A letter that waits for its parcel, or is in it.
pub(super) struct Waiting {
    pub(super) id: u64,
    pub(super) ticket: Arc<Ticket>,
    pub(super) letter: Letter,
    pub(super) terms: Terms,
    /// It travels alone: its parcel has failed with it before.
    pub(super) alone: bool,
}

/// A parcel under way.
pub(super) struct Sent {
    pub(super) letters: Vec<Waiting>,
    /// Its reply has stayed on the cluster.
    pub(super) away: Option<Weak<Away>>,
}

/// Something of several letters that is not cut short by a shutdown.
pub(crate) struct Admission(Arc<Engine>);

impl Drop for Admission {
    fn drop(&mut self) {
        if fork::check().is_ok() {
            self.0.lock().admitted -= 1;
            self.0.changed.notify_all();
        }
    }
}

/// Who is to be told, without a lock; and what must not be dropped under it.
#[derive(Default)]
pub(super) struct Told(pub(super) Vec<Watchers>, pub(super) Vec<Arc<Away>>, pub(super) Vec<Waker>);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Engine {
    pub(crate) fn new(
        address: Address,
        connect_timeout: Duration,
        options: WorkerOptions,
        defaults: CallOptions,
    ) -> Arc<Self> {
        // Letters of several programs meet on a node: so their numbers begin anywhere.
        let next = RandomState::new().hash_one(std::process::id()) & !0xffff_ffff;
        let state = State {
            life: Life::Open,
            bridge: None,
            connecting: false,
            failed: None,
            deaths: VecDeque::new(),
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
            parcel_of: HashMap::new(),
            next,
            admitted: 0,
            questions: HashMap::new(),
            rates: HashMap::new(),
            blobs: HashMap::new(),
            workers: 0,
            tally: Tally::default(),
            submitted: 0,
            finished: 0,
            retried: 0,
            timed_out: 0,
            died: 0,
        };
        static ID: AtomicU64 = AtomicU64::new(1);
        Arc::new(Self {
            id: ID.fetch_add(1, Ordering::Relaxed),
            address,
            connect_timeout,
            options,
            defaults,
            state: Mutex::new(state),
            changed: Condvar::new(),
            ended: Mutex::new(0),
            more_ended: Condvar::new(),
            threads: AtomicUsize::new(0),
        })
    }

    pub(crate) fn worker_options(&self) -> WorkerOptions {
        self.options
    }

    pub(crate) fn defaults(&self) -> CallOptions {
        self.defaults
    }

    /// Threads of the cluster, as far as is known.
    pub(crate) fn workers(&self) -> usize {
        self.threads.load(Ordering::Relaxed).max(1)
    }

    pub(super) fn set_cluster_workers(&self, workers: usize) {
        self.lock().workers = workers;
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is called so in messages.
    pub(super) fn place(&self) -> String {
        self.address.resolve().map_or_else(|| "an address that is not given".to_owned(), Cow::into_owned)
    }

    pub(super) fn lost(&self, reason: &str) -> TaskError {
        TaskError::Cluster { address: self.place(), reason: reason.to_owned() }
    }

    /// Connects, if it is not connected.
    ///
    /// # Errors
    ///
    /// If the cluster cannot be reached or used, or if the pool is shut down.
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), PoolError> {
        fork::check().map_err(PoolError::Spawn)?;
        let mut state = self.lock();
        loop {
            if state.life == Life::Stopped {
                return Err(PoolError::Closed);
            }
            if state.bridge.is_some() {
                return Ok(());
            }
            if !state.connecting {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some((when, reason)) = &state.failed
            && when.elapsed() < REMEMBERED
        {
            return Err(PoolError::Cluster { address: self.place(), reason: reason.clone() });
        }
        state.connecting = true;
        drop(state);
        let connected = match self.address.resolve() {
            Some(address) => Bridge::start(self, &address),
            None => {
                Err("no address is given: pass one to `DaskPool::connect`, or set PARALLEL_DASK=tcp://host:8786 (or \
                         DASK_SCHEDULER_ADDRESS); PARALLEL_MODE=process runs the same functions on this machine"
                    .to_owned())
            }
        };
        let mut state = self.lock();
        state.connecting = false;
        if state.life == Life::Stopped {
            drop(state);
            self.changed.notify_all();
            connected.into_iter().for_each(Bridge::leave);
            return Err(PoolError::Closed);
        }
        let result = match connected {
            Ok(bridge) if bridge.is_dead() => {
                let reason = "the connection was lost as soon as it was made".to_owned();
                Err(PoolError::Cluster { address: self.place(), reason })
            }
            Ok(bridge) => {
                state.failed = None;
                state.bridge = Some(bridge);
                // What a bridge that died had taken along.
                self.send_again(&mut state);
                self.pump(&mut state);
                Ok(())
            }
            Err(reason) => {
                state.failed = Some((Instant::now(), reason.clone()));
                Err(PoolError::Cluster { address: self.place(), reason })
            }
        };
        drop(state);
        self.changed.notify_all();
        result
    }

    /// The same, for a task.
    pub(crate) fn prepare(self: &Arc<Self>) -> Result<(), TaskError> {
        self.start().map_err(PoolError::into_task_error)
    }

    /// Accepts something of several letters. `again`: it is part of something that was accepted before.
    pub(crate) fn admit(self: &Arc<Self>, again: bool) -> Result<Admission, TaskError> {
        self.prepare()?;
        let mut state = self.lock();
        state.check_open(again)?;
        state.admitted += 1;
        Ok(Admission(Arc::clone(self)))
    }

    /// Hands a letter to the cluster. `admitted`: it is part of something that was accepted before.
    pub(crate) fn submit(
        self: &Arc<Self>,
        terms: Terms,
        letter: Letter,
        admitted: bool,
    ) -> Result<Arc<Ticket>, TaskError> {
        self.prepare()?;
        let ticket = Arc::new(Ticket::new());
        let mut state = self.lock();
        state.check_open(admitted)?;
        while state.bridge.is_none() {
            // It has died since. If nothing was under way, nobody has started another one.
            drop(state);
            self.prepare()?;
            state = self.lock();
            state.check_open(admitted)?;
        }
        state.submitted += 1;
        state.tally.bytes_copied += letter.len() as u64;
        state.tally.bytes_shared += letter.shared;
        let id = state.number();
        ticket.set_letter(id);
        state.waiting.push_back(Waiting { id, ticket: Arc::clone(&ticket), letter, terms, alone: false });
        self.pump(&mut state);
        Ok(ticket)
    }

    /// Sends what waits, as far as there is room for it on the cluster.
    pub(super) fn pump(&self, state: &mut State) {
        if state.bridge.is_none() {
            return;
        }
        let window = EACH * self.workers() + 2;
        loop {
            let under_way = state.sent.values().filter(|sent| sent.away.is_none()).count();
            if under_way >= window || state.waiting.is_empty() {
                return;
            }
            let share = state.waiting.len().div_ceil(window - under_way);
            let letters = state.pack(share);
            let parcel = state.number();
            for letter in &letters {
                state.parcel_of.insert(letter.id, parcel);
            }
            let sent = Sent { letters, away: None };
            self.send(state, parcel, &sent);
            state.sent.insert(parcel, sent);
        }
    }

    /// Sends a parcel to the bridge.
    fn send(&self, state: &mut State, parcel: u64, sent: &Sent) {
        let mut head = Put::default();
        let may_stay = matches!(&*sent.letters, [one] if one.letter.items == 1 && !one.terms.eager);
        head.u64(parcel).u8(may_stay.into());
        let blobs = sent.letters.iter().flat_map(|letter| &letter.letter.blobs);
        let mut names = Vec::new();
        for held in blobs {
            let name = far::name_of(held, self.id);
            if !names.contains(&name) {
                self.send_blob(state, &name, held);
                names.push(name);
            }
        }
        head.u32(names.len() as u32);
        names.iter().for_each(|name| _ = head.text(name));
        let mut body = Put::default();
        body.u32(sent.letters.len() as u32);
        for Waiting { id, letter, terms, .. } in &sent.letters {
            letter.put(&mut body, *id, terms, &self.options);
        }
        if let Some(bridge) = &state.bridge {
            bridge.send(Frame { kind: to_bridge::SUBMIT, head: head.0, body: body.0 });
        }
    }

    /// Tells the bridge of a blob, if it does not know it.
    fn send_blob(&self, state: &mut State, name: &str, held: &Arc<Held>) {
        let known = state.blobs.insert(name.to_owned(), Arc::downgrade(held));
        if known.is_some_and(|held| held.strong_count() > 0) {
            return;
        }
        let Some((path, offset)) = crate::shared::arena::place_of(held) else { return };
        let mut head = Put::default();
        head.text(name).text(&path).u64(offset).u64(held.reference().len);
        if let Some(bridge) = &state.bridge {
            bridge.send(Frame { kind: to_bridge::BLOB, head: head.0, body: Vec::new() });
        }
    }

    /// Has blobs removed whose last handle here is gone.
    pub(super) fn free_blobs(&self, state: &mut State) {
        let gone: Vec<String> =
            state.blobs.extract_if(|_, held| held.strong_count() == 0).map(|(name, _)| name).collect();
        for name in gone {
            let mut head = Put::default();
            head.text(&name);
            if let Some(bridge) = &state.bridge {
                bridge.send(Frame { kind: to_bridge::FREE, head: head.0, body: Vec::new() });
            }
        }
    }

    /// Sends all parcels once more, to a new bridge.
    fn send_again(&self, state: &mut State) {
        let known = std::mem::take(&mut state.blobs);
        let sent = std::mem::take(&mut state.sent);
        state.parcel_of.clear();
        for (parcel, mut sent) in sent {
            match &sent.away {
                // Nobody wants it any more.
                Some(away) if away.strong_count() == 0 => continue,
                Some(_) => {}
                None => {
                    // Those that were cancelled are not sent again. And the others get new numbers: nodes may have been told not to begin
                    // the old ones, by a question whose answer was lost.
                    sent.letters.retain(|letter| !letter.ticket.is_finished());
                    for letter in &mut sent.letters {
                        letter.id = state.number();
                        letter.ticket.set_letter(letter.id);
                        state.parcel_of.insert(letter.id, parcel);
                    }
                }
            }
            if !sent.letters.is_empty() {
                self.send(state, parcel, &sent);
                state.sent.insert(parcel, sent);
            }
        }
        // What the old bridge has put on the machines, and nobody needs.
        for name in known.into_keys() {
            state.blobs.entry(name).or_default();
        }
        self.free_blobs(state);
    }

    /// A letter has ended.
    pub(super) fn finish(&self, state: &mut State, ticket: &Ticket, outcome: Outcome, told: &mut Told) {
        if ticket.is_finished() {
            return;
        }
        state.finished += 1;
        state.tally.bytes_copied += outcome.results.as_slice().len() as u64;
        state.tally.end(outcome.fate(), None, None);
        match outcome.rare.as_ref().and_then(|rare| rare.error.as_ref()) {
            Some(TaskError::TimedOut { .. }) => state.timed_out += 1,
            Some(TaskError::WorkerDied { .. }) => state.died += 1,
            _ => {}
        }
        told.0.push(ticket.finish(outcome));
    }

    /// Tells those who are to be told.
    pub(super) fn tell(&self, told: Told) {
        let Told(watchers, away, wakers) = told;
        drop(away);
        wakers.into_iter().for_each(|waker| panics::discard(|| waker.wake()));
        if watchers.is_empty() {
            return;
        }
        watchers.into_iter().for_each(Watchers::fire);
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.more_ended.notify_all();
        self.changed.notify_all();
    }

    /// Has somebody told of the end of a task.
    ///
    /// # Errors
    ///
    /// The watcher, if it has ended.
    pub(crate) fn watch(&self, ticket: &Ticket, watcher: Watcher) -> Result<(), Watcher> {
        if fork::check().is_err() {
            return Err(watcher);
        }
        let state = self.lock();
        if ticket.is_finished() {
            return Err(watcher);
        }
        let (_, unwanted) = ticket.watch(watcher);
        drop(state);
        drop(unwanted);
        Ok(())
    }

    /// Waits for a task, at most until `deadline`, and takes its outcome.
    pub(crate) fn wait(&self, ticket: &Ticket, deadline: Option<Instant>) -> Option<Outcome> {
        loop {
            if let Err(error) = fork::check() {
                return Some(Outcome::error(TaskError::Spawn(error)));
            }
            if ticket.is_finished() {
                return match ticket.away() {
                    Some(away) if !away.wait(self, deadline) => None,
                    Some(away) => ticket.take_outcome().map(|_| away.take()),
                    None => ticket.take_outcome(),
                };
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            ticket.sleep_while_queued(deadline);
        }
    }

    pub(crate) fn wait_until_deadline(&self, deadline: Option<Instant>, done: &mut dyn FnMut() -> bool) -> bool {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if done() || fork::check().is_err() {
                return true;
            }
            ended = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return false,
                Some(left) => self.more_ended.wait_timeout(ended, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.more_ended.wait(ended).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// Has threads that wait look again.
    pub(crate) fn wake_waiters(&self) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.more_ended.notify_all();
    }

    pub(crate) fn count_retry(&self) {
        let mut state = self.lock();
        state.retried += 1;
        // The try that failed was no task of its own.
        state.submitted = state.submitted.saturating_sub(1);
        state.finished = state.finished.saturating_sub(1);
        state.tally.failed = state.tally.failed.saturating_sub(1);
    }

    pub(crate) fn stats(&self) -> PoolStats {
        let state = self.lock();
        PoolStats {
            workers_alive: state.workers,
            submitted: state.submitted,
            finished: state.finished,
            done: state.tally.done,
            failed: state.tally.failed,
            cancelled: state.tally.cancelled,
            running: 0,
            queued: state.submitted.saturating_sub(state.finished),
            worker_deaths: state.died,
            timed_out: state.timed_out,
            retried: state.retried,
            bytes_copied: state.tally.bytes_copied,
            bytes_shared: state.tally.bytes_shared,
            ..PoolStats::empty(self.threads.load(Ordering::Relaxed))
        }
    }

    /// Takes no more tasks, waits until those it has are done, and leaves the cluster.
    pub(crate) fn shutdown(&self) {
        if fork::check().is_err() {
            return;
        }
        let mut state = self.lock();
        if state.life == Life::Open {
            state.life = Life::Draining;
        }
        while state.life == Life::Draining
            && (state.admitted > 0 || !state.waiting.is_empty() || state.sent.values().any(|sent| sent.away.is_none()))
        {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.stop(&|| TaskError::PoolClosed);
    }

    /// Takes no more tasks, ends those it has, and leaves the cluster.
    pub(crate) fn kill(&self) {
        if fork::check().is_ok() {
            self.stop(&|| TaskError::Cancelled);
        }
    }

    fn stop(&self, error: &dyn Fn() -> TaskError) {
        let mut state = self.lock();
        state.life = Life::Stopped;
        let bridge = state.bridge.take();
        let told = self.end_all(&mut state, error);
        drop(state);
        self.changed.notify_all();
        self.tell(told);
        if let Some(bridge) = bridge {
            bridge.leave();
        }
    }

    /// Ends all that waits or is under way.
    pub(super) fn end_all(&self, state: &mut State, error: &dyn Fn() -> TaskError) -> Told {
        let mut told = Told::default();
        let sent = std::mem::take(&mut state.sent);
        state.parcel_of.clear();
        let waiting = std::mem::take(&mut state.waiting);
        for Sent { letters, away } in sent.into_values() {
            // Its task has ended before.
            let is_away = away.is_some();
            if let Some(away) = away.and_then(|away| away.upgrade()) {
                told.2.extend(away.arrive(Outcome::error(error())));
                told.1.push(away);
            } else if !is_away {
                letters
                    .iter()
                    .for_each(|letter| self.finish(state, &letter.ticket, Outcome::error(error()), &mut told));
            }
        }
        waiting.iter().for_each(|letter| self.finish(state, &letter.ticket, Outcome::error(error()), &mut told));
        state.nobody_answers();
        told
    }
}

impl State {
    fn check_open(&self, admitted: bool) -> Result<(), TaskError> {
        match self.life {
            Life::Open => Ok(()),
            Life::Draining if admitted => Ok(()),
            _ => Err(TaskError::PoolClosed),
        }
    }

    /// A number that nothing else of this program has.
    pub(super) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// The letters of the next parcel: the first that waits, and as many of those that follow as take a fair time together, but no more
    /// than `share`.
    fn pack(&mut self, share: usize) -> Vec<Waiting> {
        let mut letters: Vec<Waiting> = Vec::new();
        let (mut bytes, mut time) = (0, 0.0);
        while let Some(next) = self.waiting.front() {
            let rate = self.rates.get(&next.letter.entry);
            bytes += next.letter.len();
            time += rate.map_or(f64::INFINITY, |rate| rate * f64::from(next.letter.items));
            if let Some(first) = letters.first() {
                let fits = letters.len() < share
                    && first.letter.is_async == next.letter.is_async
                    && !(first.alone || next.alone)
                    && bytes <= MOST_BYTES
                    && if next.letter.is_async {
                        // They run at the same time.
                        letters.len() < MOST_FUTURES
                    } else {
                        letters.len() < MOST_LETTERS && time <= TARGET.as_nanos() as f64
                    };
                if !fits {
                    break;
                }
            }
            letters.extend(self.waiting.pop_front());
        }
        letters
    }
}
