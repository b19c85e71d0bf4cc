//! Messages that wait for a slot.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::pack::{Pack, PackKind};
use crate::observe::Seen;
use crate::remote::message::Message;
use crate::remote::task_state::{TaskGroup, TaskRef};
use crate::sys::clock;

/// What will take a slot.
pub(in crate::process) enum Entry {
    One(TaskRef, Message<'static>),
    Pack(Box<Pack>),
}

/// A task that was taken out of the queue.
pub(in crate::process) struct Removed {
    pub(in crate::process) task: TaskRef,
    pub(in crate::process) seen: Option<Box<Seen>>,
}

impl Entry {
    fn is_queued(&self, number: u64) {
        match self {
            Self::One(task, _) => task.queue(number),
            Self::Pack(pack) => pack.queue(number),
        }
    }
}

/// Those of one kind, in order.
///
/// Each task knows the number of its place, so that one is taken out of the middle without a search: its place stays, and is passed over.
pub(in crate::process) struct Waiting {
    places: VecDeque<Option<Entry>>,
    /// The number of the first place.
    first: u64,
    /// Places that are not empty.
    len: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        // Some come back to the front. No slot is used so often that its generation is such a number.
        Self { places: VecDeque::new(), first: 1 << 46, len: 0 }
    }
}

impl Waiting {
    pub(in crate::process) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(in crate::process) fn push_back(&mut self, entry: Entry) {
        entry.is_queued(self.first + self.places.len() as u64);
        self.places.push_back(Some(entry));
        self.len += 1;
    }

    pub(in crate::process) fn push_front(&mut self, entry: Entry) {
        self.first -= 1;
        entry.is_queued(self.first);
        self.places.push_front(Some(entry));
        self.len += 1;
    }

    /// Adds a task to the last pack, or begins one, with a group that `begin` makes. Gives the task, and whether the pack is full.
    #[inline(always)]
    pub(in crate::process) fn pack(
        &mut self,
        kind: &PackKind,
        arguments: &[u8],
        begin: impl FnOnce() -> Arc<TaskGroup>,
    ) -> (TaskRef, bool) {
        let number = self.first + self.places.len() as u64;
        if let Some(Some(Entry::Pack(pack))) = self.places.back_mut()
            && pack.takes(kind)
        {
            let task = pack.add(arguments);
            task.queue(number - 1);
            return (task, pack.is_full());
        }
        let mut pack = Box::new(Pack::new(*kind, begin()));
        let task = pack.add(arguments);
        self.push_back(Entry::Pack(pack));
        (task, false)
    }

    /// Whether what comes next is a pack, if anything does.
    pub(in crate::process) fn front_is_pack(&self) -> Option<bool> {
        self.iter().next().map(|entry| matches!(entry, Entry::Pack(_)))
    }

    pub(in crate::process) fn pop_front(&mut self) -> Option<Entry> {
        while let Some(entry) = self.places.pop_front() {
            self.first += 1;
            if entry.is_some() {
                self.len -= 1;
                return entry;
            }
        }
        None
    }

    /// Takes a task out, if it is here.
    pub(in crate::process) fn remove(&mut self, task_state: &TaskRef) -> Option<Removed> {
        let position = usize::try_from(task_state.queued_at().checked_sub(self.first)?).ok()?;
        let place = self.places.get_mut(position)?;
        // Its number may be one of another queue, or of an earlier time.
        let removed = match place {
            Some(Entry::Pack(pack)) => {
                let task = pack.position(task_state).and_then(|item| pack.take(item))?;
                if !pack.is_over() {
                    return Some(Removed { task, seen: None });
                }
                *place = None;
                Removed { task, seen: None }
            }
            Some(Entry::One(queued, _)) if queued == task_state => {
                let Some(Entry::One(task, message)) = place.take() else { return None };
                Removed { task, seen: message.seen }
            }
            _ => return None,
        };
        self.len -= 1;
        if self.len == 0 {
            self.first += self.places.len() as u64;
            self.places = VecDeque::new();
        }
        Some(removed)
    }

    pub(in crate::process) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().flatten()
    }

    pub(in crate::process) fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.places.into_iter().flatten()
    }
}

/// Whether tasks are submitted in quick succession, by threads that do not wait for each.
#[derive(Default)]
pub(in crate::process) struct Burst {
    /// Tasks since the last wait, without those that were packed.
    count: u64,
    /// When that was looked at last, and how many tasks had been submitted by then.
    looked: u64,
    submitted: u64,
}

impl Burst {
    /// So much time between two tasks is no quick succession, in nanoseconds.
    const APART: u64 = 20_000;

    /// One more is submitted, as which of all. Whether so many have come in a burst, and this is another one of it.
    #[inline(always)]
    pub(in crate::process) fn goes_on(&mut self, enough: u64, submitted: u64) -> bool {
        self.count += 1;
        self.count > enough && self.look(clock::now(), submitted)
    }

    #[cold]
    fn look(&mut self, now: u64, submitted: u64) -> bool {
        let time = now.saturating_sub(std::mem::replace(&mut self.looked, now));
        let tasks = submitted.saturating_sub(std::mem::replace(&mut self.submitted, submitted));
        let is_quick = time < tasks.saturating_mul(Self::APART);
        if !is_quick {
            self.count = 0;
        }
        is_quick
    }

    /// A thread waits.
    pub(in crate::process) fn end(&mut self) {
        self.count = 0;
    }
}

/// What found no slot.
#[derive(Default)]
pub(in crate::process) struct Queue {
    pub(in crate::process) burst: Burst,
    pub(in crate::process) calls: Waiting,
    /// Those of `async fn`s: they do not wait for those that keep their worker, nor the other way round.
    pub(in crate::process) futures: Waiting,
    /// The supervisor looks after it.
    pub(in crate::process) attended: bool,
    /// When it does so next.
    pub(in crate::process) next_look: Option<Instant>,
    /// How often it has found nothing, one time after the other.
    pub(in crate::process) idle_looks: u32,
}

impl Queue {
    pub(in crate::process) fn of(&mut self, is_async: bool) -> &mut Waiting {
        if is_async { &mut self.futures } else { &mut self.calls }
    }

    /// Takes a task out, if it is here.
    pub(in crate::process) fn remove(&mut self, task_state: &TaskRef) -> Option<Removed> {
        self.calls.remove(task_state).or_else(|| self.futures.remove(task_state))
    }

    pub(in crate::process) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.calls.iter().chain(self.futures.iter())
    }

    pub(in crate::process) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.futures.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::message::Body;

    fn message() -> Message<'static> {
        Message {
            entry: 64,
            items: 1,
            seen: None,
            timed: false,
            is_async: false,
            limit: None,
            retry: None,
            recording: None,
            body: Body::Kept(Box::default()),
            loan: None,
        }
    }

    fn first_of(entry: Entry) -> TaskRef {
        match entry {
            Entry::One(task, _) => task,
            Entry::Pack(pack) => pack.tasks().next().expect("it is not over"),
        }
    }

    #[test]
    fn what_is_taken_out_of_the_middle_is_passed_over_and_the_order_stays() {
        let mut waiting = Waiting::default();
        let mut other = Waiting::default();
        let tasks: Vec<_> = (0..10).map(|_| TaskRef::new(None)).collect();
        tasks.iter().for_each(|task| waiting.push_back(Entry::One(task.clone(), message())));
        for task_state in [&tasks[3], &tasks[7], &tasks[0]] {
            assert!(other.remove(task_state).is_none());
            assert!(waiting.remove(task_state).is_some_and(|removed| removed.task == *task_state));
            assert!(waiting.remove(task_state).is_none(), "once");
        }
        let first = waiting.pop_front().unwrap();
        assert!(matches!(&first, Entry::One(task, _) if *task == tasks[1]));
        waiting.push_front(first);
        let again = waiting.pop_front().unwrap();
        assert!(matches!(&again, Entry::One(task, _) if *task == tasks[1]));
        other.push_back(again);
        assert!(waiting.remove(&tasks[1]).is_none() && other.remove(&tasks[1]).is_some());
        let rest: Vec<_> = std::iter::from_fn(|| waiting.pop_front()).map(first_of).collect();
        let expected = [2, 4, 5, 6, 8, 9].map(|index| &tasks[index]);
        assert!(rest.iter().zip(expected).all(|(task_state, expected)| task_state == expected));
        assert!(rest.len() == 6 && waiting.is_empty());
    }

    #[test]
    fn only_tasks_in_quick_succession_are_a_burst() {
        let mut burst = Burst { count: 8, ..Burst::default() };
        assert!(!burst.look(1_000_000_000, 100), "nothing is known of the time before");
        assert!(burst.look(1_000_100_000, 108), "8 in 100 µs");
        assert!(!burst.look(1_010_100_000, 110), "2 in 10 ms");
        for _ in 0..3 {
            assert!((1..=4).all(|_| !burst.goes_on(4, 0)));
            burst.end();
        }
    }

    #[test]
    fn tasks_of_a_kind_are_packed_in_order_and_each_can_be_taken_out() {
        let mut waiting = Waiting::default();
        let kind = PackKind { entry: 64, limit: None, table: 0 };
        let other = PackKind { limit: Some(std::time::Duration::from_secs(1)), ..kind };
        let group = || TaskGroup::new(None, 3);
        let (mut tasks, full): (Vec<_>, Vec<_>) = (0..7).map(|_| waiting.pack(&kind, &[], group)).unzip();
        assert_eq!(full, [false, false, true, false, false, true, false]);
        tasks.push(TaskRef::new(None));
        waiting.push_back(Entry::One(tasks[7].clone(), message()));
        tasks.push(waiting.pack(&kind, &[], group).0);
        tasks.push(waiting.pack(&other, &[], group).0);
        for task in [&tasks[1], &tasks[6], &tasks[7]] {
            assert!(waiting.remove(task).is_some_and(|removed| removed.task == *task));
            assert!(waiting.remove(task).is_none(), "once");
        }
        let left = std::iter::from_fn(|| waiting.pop_front()).map(|entry| match entry {
            Entry::Pack(pack) => pack.tasks().map(|task| tasks.iter().position(|one| *one == task)).collect(),
            Entry::One(..) => Vec::new(),
        });
        assert_eq!(
            left.collect::<Vec<_>>(),
            [vec![Some(0), Some(2)], vec![3, 4, 5].into_iter().map(Some).collect(), vec![Some(8)], vec![Some(9)]]
        );
        assert!(waiting.is_empty());
    }
}
