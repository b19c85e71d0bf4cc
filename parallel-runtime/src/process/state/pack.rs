//! Small tasks that travel together.
//!
//! A task that takes a microsecond costs more on its way than in its worker. Where more of them are outstanding than the workers can begin at once,
//! those of one function wait in the program until a message of them is full, or a thread looks for what waits. They remain tasks of their own: the
//! worker claims the message, and then each of its items by a bit of the slot ([`Slot::begin`](crate::ipc::board::Slot::begin)), which the program sets
//! to take an item back, be it for its cancellation or because the worker is held up by another.
//!
//! In the message's block the places of the items come first, then the items:
//!
//! ```text
//!   start, end | start, end | …   (u32 each, from the first item on)   padding   item | padding | item …
//! ```
//!
//! The items stay in private memory until they have ended: a worker may write over the block before it dies.

use std::sync::Arc;
use std::time::Duration;

use crate::error::TaskError;
use crate::ipc::board::slot::INLINE_ALIGNMENT;
use crate::remote::message::{Arguments, Body, Message, as_uninit};
use crate::remote::task_state::{TaskGroup, TaskRef};
use crate::shared::Arena;

/// The most items of a message: a slot has so many bits.
pub(in crate::process) const MOST_PACKED: usize = u64::BITS as usize;

/// Bytes of an item's place.
const PLACE: usize = 2 * size_of::<u32>();

/// What tasks have in common that travel together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::process) struct PackKind {
    pub(in crate::process) entry: u64,
    pub(in crate::process) limit: Option<Duration>,
    /// The table by which their results are read; 0 for tasks without handles.
    pub(in crate::process) table: usize,
}

/// Tasks of one function, and their encoded arguments.
pub(in crate::process) struct Pack {
    kind: PackKind,
    group: Arc<TaskGroup>,
    bytes: Vec<u8>,
    items: Vec<Packed>,
    /// Those whose tasks are here.
    left: usize,
    /// How many of the group have been added.
    added: u32,
}

#[derive(Clone, Copy)]
struct Packed {
    /// Which of the group.
    index: u32,
    /// Whether it has not ended, and is not elsewhere.
    is_here: bool,
    start: u32,
    end: u32,
}

/// Where the items begin behind the places of so many.
fn items_at(count: usize) -> usize {
    (count * PLACE).next_multiple_of(INLINE_ALIGNMENT)
}

impl Pack {
    /// A group of its own belongs to it, as large as it will be.
    pub(super) fn new(kind: PackKind, group: Arc<TaskGroup>) -> Self {
        let items = Vec::with_capacity(group.len() as usize);
        Self { kind, group, bytes: Vec::new(), items, left: 0, added: 0 }
    }

    /// Whether one more task of this kind belongs to it.
    #[inline(always)]
    pub(super) fn takes(&self, kind: &PackKind) -> bool {
        !self.is_full() && self.kind == *kind
    }

    #[inline(always)]
    pub(super) fn is_full(&self) -> bool {
        self.added == self.group.len()
    }

    /// Adds the next task of the group.
    #[inline(always)]
    pub(super) fn add(&mut self, arguments: &[u8]) -> TaskRef {
        let index = self.added;
        self.added += 1;
        self.push(index, arguments);
        self.group.task(index)
    }

    #[inline(always)]
    fn push(&mut self, index: u32, arguments: &[u8]) {
        let start = self.bytes.len().next_multiple_of(INLINE_ALIGNMENT);
        self.bytes.resize(start, 0);
        self.bytes.extend_from_slice(arguments);
        self.items.push(Packed { index, is_here: true, start: start as u32, end: self.bytes.len() as u32 });
        self.left += 1;
    }

    /// All items, those that have ended among them.
    pub(in crate::process) fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether all tasks have ended.
    pub(in crate::process) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// The tasks that have not ended.
    pub(in crate::process) fn tasks(&self) -> impl Iterator<Item = TaskRef> {
        self.items.iter().filter(|item| item.is_here).map(|item| self.group.task(item.index))
    }

    /// Its tasks are in a slot.
    pub(in crate::process) fn board(&self, slot: u32, generation: u64) {
        self.group.board(slot, generation);
    }

    /// Its tasks wait once more.
    pub(in crate::process) fn requeue(&self) {
        self.group.requeue();
    }

    /// Its tasks wait in a queue, under this number.
    pub(in crate::process) fn queue(&self, number: u64) {
        self.tasks().for_each(|task| task.queue(number));
    }

    /// Whether the task of an item is here.
    pub(in crate::process) fn has(&self, item: usize) -> bool {
        self.items.get(item).is_some_and(|item| item.is_here)
    }

    /// Which item a task is.
    pub(in crate::process) fn position(&self, task: &TaskRef) -> Option<usize> {
        self.items.iter().position(|item| item.is_here && task.is(&self.group, item.index))
    }

    /// Takes the task of an item out.
    pub(in crate::process) fn take(&mut self, item: usize) -> Option<TaskRef> {
        let item = self.items.get_mut(item).filter(|item| item.is_here)?;
        item.is_here = false;
        self.left -= 1;
        Some(self.group.task(item.index))
    }

    /// Takes a task out, with a message of its own.
    pub(in crate::process) fn take_alone(&mut self, item: usize) -> Option<(TaskRef, Message<'static>)> {
        let task = self.take(item)?;
        let Packed { start, end, .. } = self.items[item];
        let body = Body::Kept(self.bytes[start as usize..end as usize].into());
        let message = self.message(1, body);
        Some((task, message))
    }

    fn message(&self, items: u32, body: Body<'static>) -> Message<'static> {
        let PackKind { entry, limit, .. } = self.kind;
        let (seen, retry, recording, loan) = (None, None, None, None);
        Message { entry, items, seen, timed: true, is_async: false, limit, retry, recording, body, loan }
    }

    /// Forgets items that have ended.
    pub(in crate::process) fn compact(&mut self) {
        if self.left == self.items.len() {
            return;
        }
        let mut compact = Self::new(self.kind, Arc::clone(&self.group));
        for Packed { index, start, end, .. } in self.items.iter().filter(|item| item.is_here) {
            compact.push(*index, &self.bytes[*start as usize..*end as usize]);
        }
        *self = Self { added: self.added, ..compact };
    }

    /// The message of all items.
    ///
    /// # Errors
    ///
    /// If there is no shared memory for it.
    pub(in crate::process) fn to_message(&self, arena: &Arc<Arena>) -> Result<Message<'static>, TaskError> {
        let at = items_at(self.items.len());
        let len = at + self.bytes.len();
        let mut block = arena.take(len as u64)?;
        // SAFETY: no worker knows of this block: it was just taken.
        let memory = unsafe { block.bytes_mut(len) };
        let (places, items) = memory.split_at_mut(at);
        for (place, item) in places.chunks_exact_mut(PLACE).zip(&self.items) {
            let [start, end] = [item.start, item.end].map(|offset| (at as u32 + offset).to_ne_bytes());
            place[..4].copy_from_slice(as_uninit(&start));
            place[4..].copy_from_slice(as_uninit(&end));
        }
        items.copy_from_slice(as_uninit(&self.bytes));
        let body = Body::Block(Arguments { block, len, marks: Vec::new() });
        Ok(self.message(self.items.len() as u32, body))
    }
}

/// Worker: where an item lies in the arguments of a message of so many bytes. `place` reads four bytes of them.
pub(in crate::process) fn place_of(
    item: usize,
    len: usize,
    place: impl Fn(usize) -> [u8; 4],
) -> Option<(usize, usize)> {
    let at = item * PLACE;
    if at + PLACE > len {
        return None;
    }
    let [start, end] = [at, at + 4].map(|at| u32::from_ne_bytes(place(at)) as usize);
    (start <= end && end <= len && start.is_multiple_of(INLINE_ALIGNMENT)).then_some((start, end - start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_found_in_the_message_and_those_that_have_ended_are_forgotten() {
        let kind = PackKind { entry: 64, limit: None, table: 0 };
        let other = PackKind { entry: 128, ..kind };
        let mut pack = Pack::new(kind, TaskGroup::new(None, MOST_PACKED as u32));
        let arguments = |item: usize| vec![item as u8; item % 40];
        let tasks: Vec<_> = (0..MOST_PACKED)
            .map(|item| {
                assert!(pack.takes(&kind) && !pack.takes(&other));
                pack.add(&arguments(item))
            })
            .collect();
        assert!(pack.is_full() && !pack.takes(&kind));
        for item in (0..MOST_PACKED).filter(|item| item % 3 == 0) {
            let (task, message) = pack.take_alone(item).expect("it is there");
            assert!(task == tasks[item] && pack.take(item).is_none());
            assert!(matches!(message.body, Body::Kept(bytes) if *bytes == *arguments(item)));
        }
        pack.compact();
        let arena = Arena::get().expect("there is memory");
        let Ok(Message { items, body: Body::Block(message), .. }) = pack.to_message(&arena) else {
            panic!("there is memory")
        };
        let left: Vec<usize> = (0..MOST_PACKED).filter(|item| item % 3 != 0).collect();
        assert_eq!(items as usize, left.len());
        // SAFETY: no other process knows of the block, and so many bytes of it were written.
        let bytes = unsafe { std::slice::from_raw_parts(message.block.start().as_ptr(), message.len) };
        let word = |at: usize| bytes[at..at + 4].try_into().expect("four bytes");
        for (item, before) in left.iter().enumerate() {
            let (start, len) = place_of(item, bytes.len(), word).expect("it lies inside");
            assert_eq!(bytes[start..start + len], arguments(*before));
            assert_eq!(pack.position(&tasks[*before]), Some(item));
        }
        assert_eq!(place_of(0, bytes.len(), |_| [0xff; 4]), None);
        assert_eq!(place_of(bytes.len() / PLACE, bytes.len(), word), None);
    }
}
