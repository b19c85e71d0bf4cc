//! How many submitted tasks a pool may have at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};

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

    /// A task has ended.
    pub(super) fn leave(&self) {
        *self.inside() -= 1;
        self.left.notify_one();
    }

    fn inside(&self) -> MutexGuard<'_, usize> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
