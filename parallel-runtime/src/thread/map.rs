//! A map on rayon: results in order, one allocation for all of them, stopped early by the first panic.
//!
//! This splits like rayon's own `collect`, and uses rayon's producers and `join`; what it adds is that a panic is known by
//! its item, that a permit is held while a piece runs, and that what has not started is then left alone.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::iter::plumbing::{Producer, ProducerCallback};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator};

use crate::error::TaskError;
use crate::observe::{self, CallSpan, Fate};
use crate::panics::{self, Caught};
use crate::sys::clock;

/// Why there are no results.
pub(crate) enum Failed {
    /// The first item, in order, that panicked.
    Panicked(Caught),
    /// Somebody set the `stop` flag before all items had run.
    Stopped,
    /// A thread could not be prepared.
    Unprepared(TaskError),
}

/// Records a piece: when it began, how many items it ran, and how it ended.
pub(super) type Piece<'p> = &'p (dyn Fn(u64, usize, Fate) + Sync);

/// What ends a map early.
#[derive(Clone, Copy)]
pub(super) struct Stops<'j> {
    pub(super) stop: &'j AtomicBool,
    /// The pool was killed.
    pub(super) killed: Option<&'j AtomicBool>,
}

impl Stops<'_> {
    /// Nothing more is to start.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_on(self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.killed.is_some_and(|killed| killed.load(Ordering::Relaxed))
    }
}

/// Runs `run` on each item: on the threads of the rayon pool that this thread is of, if it is.
pub(super) fn map<A: Send, R: Send, P>(
    enter: &(impl Fn() -> Result<P, TaskError> + Sync),
    items: Vec<A>,
    smallest_piece: usize,
    stops: Stops<'_>,
    (piece, span): (Piece<'_>, &CallSpan),
    run: &(impl Fn(A) -> R + Sync),
) -> Result<Vec<R>, Failed> {
    let len = items.len();
    let mut results: Vec<R> = Vec::with_capacity(len);
    let job = Job {
        enter,
        run,
        smallest_piece: smallest_piece.max(1),
        stops,
        piece,
        span,
        failed: Mutex::new(None),
        filled: Mutex::new(Vec::new()),
    };
    items.into_par_iter().with_producer(Start { job: &job, target: &mut results.spare_capacity_mut()[..len] });

    let Job { failed, filled, .. } = job;
    let filled = filled.into_inner().unwrap_or_else(PoisonError::into_inner);
    let complete = filled.iter().map(|(_, count)| count).sum::<usize>() == len;
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if complete {
        // SAFETY: the pieces that ended well wrote all of their elements, they do not overlap, and together they are `len`
        // elements long; all have ended (`with_producer` returned).
        unsafe { results.set_len(len) };
        return Ok(results);
    }
    for (start, count) in filled {
        for target in &mut results.spare_capacity_mut()[start..start + count] {
            // SAFETY: a piece that ended well wrote all of its elements, and recorded them once.
            unsafe { target.assume_init_drop() };
        }
    }
    Err(failed.map_or(Failed::Stopped, |(_, failed)| failed))
}

/// Runs `run` on each item, one after the other, right here.
pub(crate) fn in_place<A, R>(items: Vec<A>, stop: &AtomicBool, run: &impl Fn(A) -> R) -> Result<Vec<R>, Failed> {
    let mut results = Vec::with_capacity(items.len());
    let all = panics::catch(|| {
        for item in items {
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            results.push(run(item));
        }
        true
    });
    match all {
        Ok(true) => Ok(results),
        Ok(false) => Err(Failed::Stopped),
        Err(caught) => Err(Failed::Panicked(caught)),
    }
}

struct Job<'j, E, F> {
    /// Called for each piece: gives what is to be kept as long as it runs.
    enter: &'j E,
    run: &'j F,
    smallest_piece: usize,
    stops: Stops<'j>,
    piece: Piece<'j>,
    span: &'j CallSpan,
    failed: Mutex<Option<(usize, Failed)>>,
    /// Start and length of the pieces that ended well.
    filled: Mutex<Vec<(usize, usize)>>,
}

struct Start<'j, 't, E, F, R> {
    job: &'j Job<'j, E, F>,
    target: &'t mut [MaybeUninit<R>],
}

impl<A: Send, R: Send, P, E, F> ProducerCallback<A> for Start<'_, '_, E, F, R>
where
    E: Fn() -> Result<P, TaskError> + Sync,
    F: Fn(A) -> R + Sync,
{
    type Output = ();
    fn callback<I: Producer<Item = A>>(self, producer: I) {
        // Outside of rayon, on its caller's thread, it is one piece.
        let splits = if rayon::current_thread_index().is_some() { rayon::current_num_threads() } else { 0 };
        self.job.split(producer, self.target, 0, splits, false);
    }
}

impl<P, E: Fn() -> Result<P, TaskError> + Sync, F> Job<'_, E, F> {
    /// The same rule as rayon's: as many halvings as give each thread a piece, and more wherever a piece was stolen.
    fn split<A: Send, R: Send, I: Producer<Item = A>>(
        &self,
        producer: I,
        target: &mut [MaybeUninit<R>],
        start: usize,
        splits: usize,
        stolen: bool,
    ) where
        F: Fn(A) -> R + Sync,
    {
        let len = target.len();
        if len / 2 < self.smallest_piece || (splits == 0 && !stolen) {
            self.run_piece(producer, target, start);
            return;
        }
        let splits = if stolen { rayon::current_num_threads().max(splits / 2) } else { splits / 2 };
        let middle = len / 2;
        let (left, right) = producer.split_at(middle);
        let (left_target, right_target) = target.split_at_mut(middle);
        rayon::join_context(
            |context| self.split(left, left_target, start, splits, context.migrated()),
            |context| self.split(right, right_target, start + middle, splits, context.migrated()),
        );
    }

    fn run_piece<A: Send, R: Send, I: Producer<Item = A>>(
        &self,
        producer: I,
        target: &mut [MaybeUninit<R>],
        start: usize,
    ) where
        F: Fn(A) -> R + Sync,
    {
        /// Drops what a piece has written if it does not get to its end.
        struct Written<'t, R> {
            target: &'t mut [MaybeUninit<R>],
            count: usize,
        }
        impl<R> Drop for Written<'_, R> {
            fn drop(&mut self) {
                for target in &mut self.target[..self.count] {
                    // SAFETY: the first `count` elements were written, and are dropped only here.
                    unsafe { target.assume_init_drop() };
                }
            }
        }

        let _entered = match (self.enter)() {
            Ok(entered) => entered,
            Err(error) => return self.fail(start, Failed::Unprepared(error)),
        };
        let began = observe::is_on().then(clock::now);
        let mut written = Written { target, count: 0 };
        let each = || {
            for item in producer.into_iter() {
                if self.stops.is_on() {
                    return false;
                }
                let value = (self.run)(item);
                written.target[written.count].write(value);
                written.count += 1;
            }
            true
        };
        let result = panics::catch(|| self.span.inside(each));
        if let Some(began) = began {
            let fate = match &result {
                Ok(true) => Fate::Done,
                Ok(false) => Fate::Cancelled,
                Err(_) => Fate::Failed,
            };
            (self.piece)(began, written.count, fate);
        }
        match result {
            Ok(true) => {
                let count = written.count;
                std::mem::forget(written);
                self.filled.lock().unwrap_or_else(PoisonError::into_inner).push((start, count));
            }
            Ok(false) => {}
            Err(caught) => self.fail(start + written.count, Failed::Panicked(caught)),
        }
    }

    /// Notes a failure, and keeps what has not started from starting.
    fn fail(&self, index: usize, why: Failed) {
        self.stops.stop();
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.as_ref().is_none_or(|(first, _)| index < *first) {
            *failed = Some((index, why));
        }
    }
}
