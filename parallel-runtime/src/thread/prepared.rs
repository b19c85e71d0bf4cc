//! Calls and maps of a pool that has an `init`: they run on the threads of its threads, which have been prepared, and nowhere else.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::threads::{Threads, Work};
use crate::panics;
use crate::wait::blocking::wait_while;
use crate::wait::condvar::Condvar;

/// How many jobs have not ended.
#[derive(Default)]
struct Left {
    count: Mutex<usize>,
    ended: Condvar,
}

/// A job that borrows, and the thread that waits for it.
struct Lent {
    job: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    left: Arc<Left>,
}

impl Work for Lent {
    fn work(self: Arc<Self>) {
        let job = self.job.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(job) = job {
            // The job says itself what came of it.
            panics::discard(job);
        }
    }
}

impl Drop for Lent {
    /// It has been run, or never will be.
    fn drop(&mut self) {
        let job = self.job.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        panics::discard(|| drop(job));
        *self.left.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.left.ended.notify_all();
    }
}

/// Runs jobs on threads of the threads, and waits for all of them.
///
/// # Errors
///
/// If there are no threads. Those that were given to some have been run.
pub(super) fn run<'j>(threads: &Arc<Threads>, jobs: Vec<Box<dyn FnOnce() + Send + 'j>>) -> std::io::Result<()> {
    /// Also if something here panics.
    struct Wait(Arc<Left>);
    impl Drop for Wait {
        fn drop(&mut self) {
            drop(wait_while(&self.0.count, &self.0.ended, None, |left| *left > 0));
        }
    }
    let waiting = Wait(Arc::default());
    for job in jobs {
        // SAFETY: only the lifetime changes. The job is run and dropped, or dropped, before its `Lent` counts itself out, and this
        // function does not return, nor unwind, before all of them have: `waiting` is dropped at its end.
        let job = unsafe { std::mem::transmute::<Box<dyn FnOnce() + Send + 'j>, Box<dyn FnOnce() + Send>>(job) };
        let left = Arc::clone(&waiting.0);
        *left.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        threads.push(Arc::new(Lent { job: Mutex::new(Some(job)), left }))?;
    }
    Ok(())
}

/// Shares so many items out to as many of the pool's threads as there are workers: each takes the next so many, until there are none left,
/// and runs them by `run`.
///
/// # Errors
///
/// If there are no threads. `run` is then called with what is left, on this thread, after `stop`.
pub(super) fn share_out(
    (threads, workers): (&Arc<Threads>, usize),
    len: usize,
    smallest_piece: usize,
    stop: &AtomicBool,
    run: &(dyn Fn(usize, usize) + Sync),
) -> std::io::Result<()> {
    let piece = smallest_piece.max(len / (8 * workers)).clamp(1, len.max(1));
    let next = AtomicUsize::new(0);
    // Never beyond `len`: each index is taken once, however large the pieces are.
    let take = |start: usize| (start < len).then(|| start.saturating_add(piece).min(len));
    let work = || {
        while let Ok(start) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            run(start, piece.min(len - start));
        }
    };
    let jobs = (0..workers.min(len)).map(|_| Box::new(work) as Box<dyn FnOnce() + Send + '_>).collect();
    let shared = self::run(threads, jobs);
    if shared.is_err() {
        stop.store(true, Ordering::Relaxed);
    }
    // Nothing is left, unless there are no threads: then what has not run is to be dropped.
    work();
    shared
}
