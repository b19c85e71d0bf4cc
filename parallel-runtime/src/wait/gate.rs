//! How many submitted tasks a pool may have at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::blocking::wait_while;
use super::condvar::Condvar;

/// Lets so many in at a time.
#[derive(Debug)]
pub(crate) struct Gate {
    most: usize,
    inside: Mutex<usize>,
    left: Condvar,
}

impl Gate {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, inside: Mutex::default(), left: Condvar::new() }
    }

    /// Waits until there is room, and takes it. A task of a pool of threads that waits here gives its permit back meanwhile.
    pub(crate) fn enter(&self) {
        while !self.try_enter() {
            drop(wait_while(&self.inside, &self.left, None, |inside| *inside >= self.most));
        }
    }

    /// Takes room, if there is some.
    pub(crate) fn try_enter(&self) -> bool {
        let mut inside = self.inside();
        let has_room = *inside < self.most;
        *inside += usize::from(has_room);
        has_room
    }

    /// The room of a task that may not come about.
    pub(crate) fn room(self: &Arc<Self>) -> Room {
        Room(Some(Arc::clone(self)))
    }

    /// A task has ended.
    pub(super) fn leave(&self) {
        *self.inside() -= 1;
        self.left.notify_one();
    }

    fn inside(&self) -> MutexGuard<'_, usize> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room that was taken: given back when this is dropped, unless a task has it.
#[must_use]
pub(crate) struct Room(Option<Arc<Gate>>);

impl Room {
    /// The task has it, and gives it back at its end.
    pub(crate) fn take(mut self) -> Option<Arc<Gate>> {
        self.0.take()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(gate) = &self.0 {
            gate.leave();
        }
    }
}
