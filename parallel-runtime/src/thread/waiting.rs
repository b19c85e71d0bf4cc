//! Waiting for a task on a thread that may be one of a pool's own.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::permits;

/// How often a rayon thread that waits looks for other work.
const LOOK: Duration = Duration::from_millis(1);

/// Waits while `condition` holds, at most until `deadline`.
///
/// What is waited for may need the permit of this thread's task, or this very thread: so the permit is given back meanwhile,
/// and a rayon thread does other work of its pool.
pub(crate) fn wait_while<'m, T>(
    mutex: &'m Mutex<T>,
    condvar: &Condvar,
    deadline: Option<Instant>,
    condition: impl Fn(&T) -> bool,
) -> MutexGuard<'m, T> {
    let lock = || mutex.lock().unwrap_or_else(PoisonError::into_inner);
    let guard = lock();
    if !condition(&guard) {
        return guard;
    }
    drop(guard);
    permits::released(|| {
        let mut guard = lock();
        while condition(&guard) {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                break;
            }
            let limit = if rayon::current_thread_index().is_some() {
                drop(guard);
                let found = rayon::yield_now();
                guard = lock();
                if found == Some(rayon::Yield::Executed) {
                    continue;
                }
                Some(left.map_or(LOOK, |left| left.min(LOOK)))
            } else {
                left
            };
            if condition(&guard) {
                guard = match limit {
                    Some(limit) => condvar.wait_timeout(guard, limit).unwrap_or_else(PoisonError::into_inner).0,
                    None => condvar.wait(guard).unwrap_or_else(PoisonError::into_inner),
                };
            }
        }
        guard
    })
}
