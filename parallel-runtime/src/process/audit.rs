//! What the program does about a board that a worker may have written over.
//!
//! A worker can write anything anywhere on the board: because a bug in a C library runs wild before it crashes, or because
//! untrusted input has taken the process over. The program keeps its own records of what is on the board, and compares:
//! after each death, and whenever a thread has waited for a second.
//!
//! * A slot whose word is none that the protocol allows ends its task as damaged. Some worker may be running that task all the same,
//!   and write its results there: so the slot, and the memory of the arguments, are put into *quarantine* until all workers of
//!   that moment are gone.
//! * A slot that says it is claimed by a worker which says, for a second or longer, that it runs something else, or that it
//!   sleeps: that worker is ended, and with it the task. If it was innocent, it was idle. Not so the future of an `async fn` of which it
//!   says that it has deferred it: of these it has many.
//! * A slot that says it is done is collected, whatever the list of completed slots says.
//! * What the program alone writes is set right: the ring, who is terminating.
//! * A worker that claims nothing for seconds, while tasks wait and none ends, is ended.
//! * All workers are woken, so that a task which waits to be claimed is claimed.
//!
//! So a dead worker holds nothing up. One that lives and writes on can still delay tasks, or change their arguments and results:
//! see `parallel-runtime/guide/security.md`.
//!
//! # What the program reads that a worker can write
//!
//! A worker can write any word of the arena at any time, so what counts is what any value of it can cause.
//!
//! | word | right writer | any value of it can cause |
//! | --- | --- | --- |
//! | a slot's `word` | program, claimer | its own task ends as damaged, or is run by another worker; the slot is quarantined. Compared with private generation and place |
//! | `progress` | claimer | fewer or more items count as done: bounded by the private number of items; results are then missing, or refused by their framing |
//! | `result_offset`, `result_len` | claimer | damaged: they must lie in that worker's region, or in the slot; copied before they are read |
//! | `granted_offset`, `granted_len`, `granted_item` | claimer | damaged: they must name a block that the program has granted to that worker |
//! | `failed` | claimer | the first item is read as a failure, or a failure as a result: both are refused by their framing |
//! | `nanoseconds`, `began` | claimer | wrong times in statistics, clamped to what is possible; a limit counts from when the program saw the item first |
//! | `waiter`, `wanted`, `function`, `items`, `limited`, `arguments_*` | program | the worker that claims the slot does something else, or wakes no thread: threads look for themselves each second |
//! | bits of a packed message | program, claimer | its tasks: one runs although it was taken back, or its result is refused as one of a task that was |
//! | `head`, `tail`, ring entries | program, workers | tasks are not found, or found twice: a claim is one exchange; [`mend`](crate::ipc::board::ring::Ring::mend) sets the ring right |
//! | `sleepers`, `searching`, `wake`, `done_waiters`, `done_count` | both | a wake-up too many, or one too few until the next look (a second) |
//! | `completed_tail`, `completed` | worker | hints: all slots are looked at when they seem to have been overwritten |
//! | `running` | worker | the worker is accused of a false claim, and ended |
//! | `terminating`, `retiring`, `dismissals`, `answers`, `answer` | program | set right by each audit; the worker waits meanwhile |
//! | `pid`, `deferred`, `busy`, `busy_since` | worker | wrong statistics, clamped; a process id is only told if it is a child's |
//! | `fault_*` | worker | a wrong word in the text of an error |
//! | `region_*` | program | read by the worker alone |
//! | a region's `released` | program | the worker's own loss |
//! | an object's `nonce`, `offset`, `len`, `orphan` | program | read by workers alone |
//! | an object's `kind` | program, its owner | a handle is refused; a `Vec` is a `Slice` from then on, if the program's record says `Vec` |
//! | bits of which process has what | worker | an object is kept as long as that worker lives |
//! | `living` | program | locks seem held or free that are not: wrong values in shared objects, or poison |
//! | `withdrawn` | worker | a container is looked through once more, or not until the worker ends |
//! | a lock's `word` | its holder | held as long as the process lives that it names, if that holds it; else poisoned |
//! | a lock's `user`, `poisoned` | its holder | poison, or none where there should be |
//! | headers and nodes of containers | holder of the lock | a panic in the process that uses the container: offsets are checked against what it was granted, loops against its length |
//! | results, events on stderr | worker | decoded with a budget, or taken as lines |
//!
//! The program `hostile` of the tests writes random words over all of it, and chosen values over the words of slots in use.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::collect::damaged;
use super::engine::Engine;
use super::state::quarantine::Quarantined;
use super::state::{State, Tasks};
use super::supervisor::Supervisor;
use super::worker::END_LIMIT;
use super::worker_slot::{Occupant, Worker, WorkerSlot};
use crate::ipc::board::ring::entry;
use crate::ipc::board::slot::DEFERRED;
use crate::ipc::board::terminate;
use crate::ipc::board::word::{State as SlotState, Word};
use crate::remote::outcome::Outcome;
use crate::sys::child::Signal;
use crate::sys::futex;
use crate::sys::processes::{Halt, halt_of};
use crate::sys::streams::Standard;

/// How long a claim may look false: between its claim and what it says about it a worker may be held up.
const DOUBT: Duration = Duration::from_secs(1);

/// For how long no task may end while some wait, and workers have nothing to do.
const STALLED: Duration = Duration::from_secs(2);

impl Engine {
    /// Compares the board with the program's records.
    pub(super) fn audit(&self, state: &mut State) {
        let board = self.board();
        self.release_from_quarantine(state);
        let exiting = state.workers.exiting;
        for (index, worker_slot) in state.workers.worker_slots.iter().enumerate() {
            let terminating = &board.record(index as u32).terminating;
            let has_hung_up = worker_slot.worker().is_some_and(|worker| worker.hung_up.is_some() || worker.idle);
            board.record(index as u32).retiring.store((has_hung_up || exiting).into(), Ordering::Relaxed);
            if worker_slot.worker().is_some_and(|worker| worker.terminating.is_none() && !worker.unwilling)
                && terminating.swap(0, Ordering::SeqCst) != 0
            {
                futex::wake_all(terminating);
            }
            worker_slot.answer.publish(board.record(index as u32));
        }
        let before = std::mem::take(&mut state.quarantine.suspects);
        let now = Instant::now();
        let mut ready = Vec::new();
        for index in 0..state.slots.in_flight.len() as u32 {
            let generation = state.slots.generations[index as usize];
            // Looked at once: a worker may change it at any moment.
            let Some(word) = self.possible_word(state, index, generation) else { continue };
            match word.state() {
                SlotState::Ready => ready.push((index, generation)),
                SlotState::Claimed => {
                    let worker = word.worker();
                    let runs = board.record(worker).running.load(Ordering::Relaxed);
                    let says = entry(index, generation);
                    if runs == says && !board.sleepers().is_asleep(worker) {
                        continue;
                    }
                    // It has many of these, and sleeps while all of them wait.
                    let is_async = state.slots.in_flight[index as usize].as_ref().is_some_and(|task| task.is_async);
                    if is_async && board.slot(index).began.load(Ordering::Relaxed) & DEFERRED != 0 {
                        continue;
                    }
                    let known = before.iter().find(|(slot, same, _)| (*slot, *same) == (index, word));
                    let since = known.map_or(now, |(_, _, since)| *since);
                    if now - since < DOUBT {
                        state.quarantine.suspects.push((index, word, since));
                    } else if let Some(worker) = state.workers.worker_slots[worker as usize].worker_mut() {
                        worker.accused = true;
                        worker.signal(Signal::Kill);
                    }
                }
                // Its note of it may have been written over.
                SlotState::Done => {
                    self.collect_slot(state, index);
                }
                SlotState::Free => {}
            }
        }
        self.renew_workers_in_doubt(state);
        board.ring().mend(&mut state.slots.place, &ready, |slot| board.word(slot));
    }

    /// The word of a task's slot. If it is none that the protocol allows, the task ends, and there is none; nor if there is no
    /// such task.
    fn possible_word(&self, state: &mut State, index: u32, generation: u64) -> Option<Word> {
        let position = index as usize;
        if state.slots.in_flight[position].is_none() || state.slots.generations[position] != generation {
            return None;
        }
        let word = self.board().slot(index).load();
        let possible = word.generation() == Word::ready(generation).generation()
            && match word.state() {
                SlotState::Free => false,
                SlotState::Ready => word == Word::ready(generation),
                SlotState::Claimed | SlotState::Done => {
                    state.workers.worker_slots.get(word.worker() as usize).is_some_and(|worker_slot| {
                        word.state() == SlotState::Done || !matches!(worker_slot.occupant, Occupant::Vacant)
                    })
                }
            };
        if possible {
            return Some(word);
        }
        self.end_in_quarantine(state, index, damaged);
        None
    }

    /// Ends a task that an unknown worker may still run: its slot and its arguments are not used again before all
    /// workers of now are gone.
    pub(super) fn end_in_quarantine(&self, state: &mut State, index: u32, outcome: impl Fn() -> Outcome) {
        let Some(mut task) = state.slots.in_flight[index as usize].take() else { return };
        state.slots.boarded -= usize::from(!task.is_async);
        let workers: Vec<u64> = state
            .workers
            .worker_slots
            .iter()
            .filter_map(|worker_slot| worker_slot.worker().map(|worker| worker.key))
            .collect();
        let generation = state.slots.generations[index as usize];
        self.board().slot(index).word.store(Word::free(generation).0, Ordering::SeqCst);
        let task_state = match task.tasks {
            Tasks::One(task_state) => task_state,
            Tasks::Pack(_) => {
                let (arguments, loan) = (task.arguments.take(), task.loan.take());
                for task_state in task.into_tasks() {
                    state.end(&task_state, outcome(), None, None, None);
                }
                self.wake_waiter(index);
                let (slot, ending) = (index, None);
                let held = Quarantined { slot, workers, _arguments: arguments, _loan: loan, ending };
                state.quarantine.held.push(held);
                return;
            }
        };
        let mut outcome = outcome();
        outcome.record(task.recording.take());
        let mut ending = Some((task_state, outcome));
        let mut seen = task.seen;
        if task.loan.as_ref().is_some_and(|loan| loan.is_exclusive()) && !workers.is_empty() {
            // No process may write when the caller goes on: so all that may have the task end.
            for worker in state.workers.worker_slots.iter_mut().filter_map(WorkerSlot::worker_mut) {
                worker.accused = true;
                worker.signal(Signal::Kill);
            }
        } else if let Some((task_state, outcome)) = ending.take_if(|_| !task.is_over) {
            state.end(&task_state, outcome, seen.take(), None, None);
            self.wake_waiter(index);
        }
        if let Some((task_state, _)) = &ending {
            // It is in no slot any more.
            task_state.requeue();
            self.wake_waiter(index);
        }
        state.quarantine.held.push(Quarantined {
            slot: index,
            workers,
            _arguments: task.arguments,
            _loan: task.loan,
            ending,
        });
    }

    /// Workers for which slots are in quarantine are replaced as soon as they are idle, which costs no task.
    fn renew_workers_in_doubt(&self, state: &mut State) {
        if state.quarantine.held.is_empty() {
            return;
        }
        let busy = self.busy_worker_slots(state);
        let (worker_slots, quarantine) = (&mut state.workers.worker_slots, &mut state.quarantine.held);
        let idle = worker_slots.iter_mut().enumerate().filter(|(worker_slot, _)| !busy.contains(worker_slot));
        for place in idle.map(|(_, place)| place) {
            if let Some(worker) = place.worker_mut()
                && quarantine.iter().any(|quarantine| quarantine.workers.contains(&worker.key))
            {
                worker.accused = true;
                worker.signal(Signal::Kill);
            }
        }
    }

    /// The places whose workers hold a task.
    pub(super) fn busy_worker_slots(&self, state: &State) -> Vec<usize> {
        let board = self.board();
        let boarded = (0..state.slots.in_flight.len()).filter(|index| state.slots.in_flight[*index].is_some());
        let words = boarded.map(|index| board.slot(index as u32).load());
        words.filter(|word| word.state() == SlotState::Claimed).map(|word| word.worker() as usize).collect()
    }

    /// Ends a task whose slot says what it cannot say. True if it did.
    pub(super) fn end_if_impossible(&self, state: &mut State, index: u32, generation: u64) -> bool {
        let there = |state: &State| state.slots.in_flight[index as usize].is_some();
        let before = there(state);
        self.possible_word(state, index, generation).is_none() && before && !there(state)
    }

    /// Ends workers that are stopped (SIGSTOP) and idle while tasks wait: nothing is lost by it, and others take their places. One that
    /// is stopped in a task is like one that never ends: that is what a time limit is for.
    fn end_stopped(&self, state: &mut State) {
        if !self.has_waiting(state) {
            return;
        }
        let busy = self.busy_worker_slots(state);
        for (worker_slot, place) in state.workers.worker_slots.iter_mut().enumerate() {
            let Some(worker) = place.worker_mut().filter(|worker| worker.ready) else { continue };
            if busy.contains(&worker_slot) || halt_of(worker.pid()) != Some(Halt::Signal) {
                worker.stopped = None;
            } else if worker.stopped.get_or_insert_with(Instant::now).elapsed() >= DOUBT {
                worker.signal(Signal::Kill);
            }
        }
    }

    /// Ends workers that claim nothing, although tasks wait and none has ended for long: something keeps their threads from coming back for
    /// work. What they claim meanwhile they do not begin, so it costs no task, even if one of them was only slow.
    fn end_unwilling(&self, state: &mut State) {
        // What is not on the board no worker can claim. A worker that comes to rest writes out what tasks have printed, and waits as long as
        // the program's own output is not read.
        if !self.has_ready(state) || Standard::Output.is_full() {
            state.quarantine.stalled = None;
            return;
        }
        let finished = state.metrics.finished;
        match state.quarantine.stalled {
            Some((since, count)) if count == finished => {
                if since.elapsed() < STALLED {
                    return;
                }
            }
            _ => {
                state.quarantine.stalled = Some((Instant::now(), finished));
                return;
            }
        }
        let board = self.board();
        for (index, place) in state.workers.worker_slots.iter_mut().enumerate() {
            // Not one that has just come, nor one that a debugger looks into.
            let is_idle = |worker: &&mut Worker| {
                // One that has said that it ends may take its time for that.
                let is_ending = worker.retired && worker.last_seen.1.elapsed() < END_LIMIT;
                let is_free = worker.ready && worker.terminating.is_none() && !worker.unwilling && !is_ending;
                is_free && worker.since.elapsed() > STALLED && halt_of(worker.pid()) != Some(Halt::Debugger)
            };
            let Some(worker) = place.worker_mut().filter(is_idle) else { continue };
            let terminating = &board.record(index as u32).terminating;
            let holds_nothing = || {
                let words = state.slots.in_flight.iter().enumerate().filter(|(_, task)| task.is_some());
                let mut words = words.map(|(slot, _)| Word(board.slot(slot as u32).word.load(Ordering::SeqCst)));
                !words.any(|word| word.state() == SlotState::Claimed && word.worker() as usize == index)
            };
            if terminate::terminate(terminating, holds_nothing, || futex::wake_all(terminating)) {
                worker.unwilling = true;
                worker.signal(Signal::Kill);
            }
        }
        // The others, and those that come, have as long again.
        state.quarantine.stalled = None;
    }

    /// Whether tasks on the board wait to be claimed.
    fn has_ready(&self, state: &State) -> bool {
        let is_ready = |index: usize| self.board().slot(index as u32).load().state() == SlotState::Ready;
        (0..state.slots.in_flight.len()).any(|index| state.slots.in_flight[index].is_some() && is_ready(index))
    }

    /// Whether tasks wait for a worker.
    pub(super) fn has_waiting(&self, state: &State) -> bool {
        !state.queue.is_empty() || self.has_ready(state)
    }

    /// Slots whose possible users are gone are free.
    fn release_from_quarantine(&self, state: &mut State) {
        // One that is just starting may have claimed a task already, and has no key yet.
        if state.workers.worker_slots.iter().any(|worker_slot| matches!(worker_slot.occupant, Occupant::Starting)) {
            return;
        }
        let alive: Vec<u64> = state
            .workers
            .worker_slots
            .iter()
            .filter_map(|worker_slot| worker_slot.worker().map(|worker| worker.key))
            .collect();
        let (quarantine, free) = (&mut state.quarantine.held, &mut state.slots.free);
        let (mut freed, mut endings) = (Vec::new(), Vec::new());
        quarantine.retain_mut(|quarantine| {
            let held = quarantine.workers.iter().any(|worker| alive.contains(worker));
            if !held {
                free.push(quarantine.slot);
                freed.push(quarantine.slot);
                endings.extend(quarantine.ending.take());
            }
            held
        });
        for (task_state, outcome) in endings {
            state.end(&task_state, outcome, None, None, None);
        }
        for slot in freed {
            self.wake_waiter(slot);
        }
    }

    /// No worker is left that could hold a slot.
    pub(super) fn end_quarantine(&self, state: &mut State) {
        for quarantine in std::mem::take(&mut state.quarantine.held) {
            if let Some((task_state, outcome)) = quarantine.ending {
                state.end(&task_state, outcome, None, None, None);
            }
        }
    }

    /// What a thread does that has waited for long: something may have gone wrong that nothing else notices.
    pub(super) fn look_after(&self) {
        if !self.is_sound() {
            return;
        }
        let mut state = self.lock();
        self.collect(&mut state);
        // Threads that poll, or wait in short steps, come here often.
        if state.quarantine.looked.is_none_or(|looked| looked.elapsed() >= DOUBT / 2) {
            state.quarantine.looked = Some(Instant::now());
            self.audit(&mut state);
            self.end_stopped(&mut state);
            self.end_unwilling(&mut state);
        }
        self.refill(&mut state);
        drop(state);
        self.board().wake_all();
        self.notify_waiters();
    }

    /// Whether the runtime's descriptors are still its own. If not, all pools have been given up when this returns.
    pub(super) fn is_sound(&self) -> bool {
        let Some(supervisor) = Supervisor::running() else { return true };
        let whole = || {
            let state = self.lock();
            state
                .workers
                .worker_slots
                .iter()
                .filter_map(|worker_slot| worker_slot.worker())
                .all(|worker| supervisor.still_watches(worker))
        };
        if supervisor.is_sound() && whole() {
            return true;
        }
        supervisor.give_everything_up();
        false
    }
}
