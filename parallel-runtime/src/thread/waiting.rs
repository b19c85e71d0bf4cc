//! Waiting for a task on a thread that may be one of a pool's own.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::permits;

/// Waits while `condition` holds, at most until `deadline`.
///
/// What is waited for may need the permit of this thread's task: so that is given back meanwhile, and taken again when the lock
/// is free, since whoever has it then may need the lock.
pub(crate) fn wait_while<'m, T>(
    mutex: &'m Mutex<T>,
    condvar: &Condvar,
    deadline: Option<Instant>,
    condition: impl Fn(&T) -> bool,
) -> MutexGuard<'m, T> {
    let lock = || mutex.lock().unwrap_or_else(PoisonError::into_inner);
    let left = || deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    let is_over = || left().is_some_and(|left| left.is_zero());
    loop {
        let guard = lock();
        if !condition(&guard) || is_over() {
            return guard;
        }
        drop(guard);
        permits::released(|| {
            let mut guard = lock();
            while condition(&guard) && !is_over() {
                guard = match left() {
                    Some(left) => condvar.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0,
                    None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
                };
            }
        });
    }
}
