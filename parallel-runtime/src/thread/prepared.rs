//! Calls and maps of a pool that has an `init`: they run on the threads of its crew, which have been prepared, and nowhere else.

use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::crew::{Crew, Work};
use super::map::{Failed, Stops};
use crate::panics;
use crate::wait::blocking::wait_while;

/// How many jobs have not ended.
#[derive(Default)]
struct Left {
    count: Mutex<usize>,
    ended: Condvar,
}

/// A job that borrows, and whoever waits for it.
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

/// Runs jobs on threads of the crew, and waits for all of them.
///
/// # Errors
///
/// If there are no threads. Those that were given to some have been run.
pub(super) fn run<'j>(crew: &Arc<Crew>, jobs: Vec<Box<dyn FnOnce() + Send + 'j>>) -> std::io::Result<()> {
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
        crew.push(Arc::new(Lent { job: Mutex::new(Some(job)), left }))?;
    }
    Ok(())
}

/// What jobs of a map have in common.
struct Shared<A, R> {
    /// The items that are left, and the number of the first of them.
    items: (usize, std::vec::IntoIter<A>),
    /// Results, each with the number of its first item.
    results: Vec<(usize, Vec<R>)>,
    failed: Option<(usize, Failed)>,
}

/// Runs `run` on each item, on as many threads of the crew as there are workers. `enter` is called for each piece, and gives what is to be
/// kept as long as it runs.
pub(super) fn map<A: Send, R: Send, P>(
    (crew, workers): (&Arc<Crew>, usize),
    items: Vec<A>,
    smallest_piece: usize,
    stops: Stops<'_>,
    enter: &(impl Fn() -> Result<P, crate::error::TaskError> + Sync),
    run: &(impl Fn(A) -> R + Sync),
) -> std::io::Result<Result<Vec<R>, Failed>> {
    let len = items.len();
    let piece = smallest_piece.max(len / (8 * workers)).max(1);
    let shared = Mutex::new(Shared { items: (0, items.into_iter()), results: Vec::new(), failed: None });
    let lock = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    let fail = |index: usize, why: Failed| {
        stops.stop();
        let mut shared = lock();
        if shared.failed.as_ref().is_none_or(|(first, _)| index < *first) {
            shared.failed = Some((index, why));
        }
    };
    let work = || {
        while !stops.is_on() {
            let mut locked = lock();
            let start = locked.items.0;
            let items: Vec<A> = locked.items.1.by_ref().take(piece).collect();
            locked.items.0 += items.len();
            drop(locked);
            if items.is_empty() {
                return;
            }
            let _entered = match enter() {
                Ok(entered) => entered,
                Err(error) => return fail(start, Failed::Unprepared(error)),
            };
            let mut results = Vec::with_capacity(items.len());
            let ended = panics::catch(|| {
                for item in items {
                    if stops.is_on() {
                        return;
                    }
                    results.push(run(item));
                }
            });
            match ended {
                Ok(()) => lock().results.push((start, results)),
                Err(caught) => return fail(start + results.len(), Failed::Panicked(caught)),
            }
        }
    };
    let jobs = (0..workers.min(len)).map(|_| Box::new(work) as Box<dyn FnOnce() + Send + '_>).collect();
    self::run(crew, jobs)?;
    let Shared { mut results, failed, .. } = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    let complete = results.iter().map(|(_, results)| results.len()).sum::<usize>() == len;
    if !complete {
        return Ok(Err(failed.map_or(Failed::Stopped, |(_, failed)| failed)));
    }
    results.sort_unstable_by_key(|(start, _)| *start);
    Ok(Ok(results.into_iter().flat_map(|(_, results)| results).collect()))
}
