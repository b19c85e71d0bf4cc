//! Messages that wait for a slot.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::remote::message::Message;
use crate::remote::task_state::TaskState;

type Entry = (Arc<TaskState>, Message<'static>);

/// Those of one kind, in order.
///
/// Each task knows its number, so that one is taken out of the middle without a search: its place stays, and is passed over.
pub(in crate::process) struct Waiting {
    entries: VecDeque<Option<Entry>>,
    /// The number of the first place.
    first: u64,
    /// Places with a task.
    len: usize,
}

impl Default for Waiting {
    fn default() -> Self {
        // Some come back to the front. No slot is used so often that its generation is such a number.
        Self { entries: VecDeque::new(), first: 1 << 46, len: 0 }
    }
}

impl Waiting {
    pub(in crate::process) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(in crate::process) fn push_back(&mut self, entry: Entry) {
        entry.0.queue(self.first + self.entries.len() as u64);
        self.entries.push_back(Some(entry));
        self.len += 1;
    }

    pub(in crate::process) fn push_front(&mut self, entry: Entry) {
        self.first -= 1;
        entry.0.queue(self.first);
        self.entries.push_front(Some(entry));
        self.len += 1;
    }

    pub(in crate::process) fn pop_front(&mut self) -> Option<Entry> {
        while let Some(entry) = self.entries.pop_front() {
            self.first += 1;
            if entry.is_some() {
                self.len -= 1;
                return entry;
            }
        }
        None
    }

    /// Takes a task out, if it is here.
    pub(in crate::process) fn remove(&mut self, task_state: &TaskState) -> Option<Entry> {
        let position = usize::try_from(task_state.queued_at().checked_sub(self.first)?).ok()?;
        let place = self.entries.get_mut(position)?;
        // Its number may be one of another queue, or of an earlier time.
        let entry = place.take_if(|(queued, _)| std::ptr::eq(&**queued, task_state))?;
        self.len -= 1;
        if self.len == 0 {
            self.first += self.entries.len() as u64;
            self.entries = VecDeque::new();
        }
        Some(entry)
    }

    pub(in crate::process) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    pub(in crate::process) fn into_entries(self) -> impl Iterator<Item = Entry> {
        self.entries.into_iter().flatten()
    }
}

/// What found no slot.
#[derive(Default)]
pub(in crate::process) struct Queue {
    pub(in crate::process) calls: Waiting,
    /// Those of `async fn`s: they do not wait for those that keep their worker, nor the other way round.
    pub(in crate::process) futures: Waiting,
    /// A thread empties it.
    pub(in crate::process) feeder: bool,
}

impl Queue {
    pub(in crate::process) fn of(&mut self, is_async: bool) -> &mut Waiting {
        if is_async { &mut self.futures } else { &mut self.calls }
    }

    /// Takes a task out, if it is here.
    pub(in crate::process) fn remove(&mut self, task_state: &TaskState) -> Option<Entry> {
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

    fn entry() -> Entry {
        let body = Body::Kept(Box::default());
        let message = Message {
            entry: 0,
            items: 1,
            seen: None,
            timed: false,
            is_async: false,
            limit: None,
            retry: None,
            body,
            loan: None,
        };
        (Arc::new(TaskState::new(None)), message)
    }

    #[test]
    fn what_is_taken_out_of_the_middle_is_passed_over_and_the_order_stays() {
        let mut waiting = Waiting::default();
        let mut other = Waiting::default();
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let entry = entry();
                let task_state = Arc::clone(&entry.0);
                waiting.push_back(entry);
                task_state
            })
            .collect();
        for task_state in [&tasks[3], &tasks[7], &tasks[0]] {
            assert!(other.remove(task_state).is_none());
            assert!(waiting.remove(task_state).is_some_and(|(taken, _)| Arc::ptr_eq(&taken, task_state)));
            assert!(waiting.remove(task_state).is_none(), "once");
        }
        let (first, message) = waiting.pop_front().unwrap();
        assert!(Arc::ptr_eq(&first, &tasks[1]));
        waiting.push_front((first, message));
        let (again, message) = waiting.pop_front().unwrap();
        assert!(Arc::ptr_eq(&again, &tasks[1]));
        other.push_back((again, message));
        assert!(waiting.remove(&tasks[1]).is_none() && other.remove(&tasks[1]).is_some());
        let rest: Vec<_> = std::iter::from_fn(|| waiting.pop_front()).collect();
        let expected = [2, 4, 5, 6, 8, 9].map(|index| &tasks[index]);
        assert!(rest.iter().zip(expected).all(|((task_state, _), expected)| Arc::ptr_eq(task_state, expected)));
        assert!(rest.len() == 6 && waiting.is_empty());
    }
}
