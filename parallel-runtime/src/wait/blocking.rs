//! Waiting for a task on a thread that may be one of a pool's own.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::condvar::Condvar;

/// Runs what it is given, during which this thread runs no task.
type Hook = fn(&mut dyn FnMut());

/// Of the engine whose threads hold something that others may use while they wait.
static HOOK: OnceLock<Hook> = OnceLock::new();

/// From now on threads wait inside `hook`.
pub(crate) fn set_hook(hook: Hook) {
    let _ = HOOK.set(hook);
}

/// Runs `wait`, during which this thread runs no task: what it holds for that, others may use meanwhile.
pub(crate) fn released<R>(wait: impl FnOnce() -> R) -> R {
    let Some(hook) = HOOK.get() else { return wait() };
    let (mut wait, mut result) = (Some(wait), None);
    hook(&mut || result = wait.take().map(|wait| wait()));
    result.expect("the hook runs what it is given")
}

/// Waits while `condition` holds, at most until `deadline`.
///
/// What is waited for may need the permit of this thread's task: so that is given back meanwhile, and taken again when the lock
/// is free, since the thread that has it then may need the lock.
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
        released(|| {
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
