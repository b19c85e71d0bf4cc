//! A map on rayon: results in order, one allocation for all of them, stopped early by the first panic.
//!
//! This splits like rayon's own `collect`, and uses rayon's `join`; what it adds is that a panic is known by its item, that a permit is
//! held while a piece runs, and that what has not started is then left alone. It knows nothing of the types of items and
//! outputs, so it is compiled once.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::counted::Entered;
use crate::backend::{Failed, Results};
use crate::error::TaskError;
use crate::function::erased::ErasedVec;
use crate::function::table::{FunctionTable, Piece, Stops};
use crate::observe::{self, CallSpan, Fate};
use crate::panics;

/// A map: what its pieces have in common.
pub(super) struct MapJob<'j> {
    pub(super) function: &'static FunctionTable,
    /// Called for each piece: gives what is to be kept as long as it runs.
    pub(super) enter: &'j (dyn Fn() -> Result<Entered<'j>, TaskError> + Sync),
    pub(super) stops: Stops<'j>,
    /// All items are run, also if others fail.
    pub(super) goes_on: bool,
    /// How long an item may take. It is not ended then, since it may borrow; its output is dropped.
    pub(super) limit: Option<Duration>,
    /// Notes that a piece begins, and gives when.
    pub(super) begin: &'j (dyn Fn() -> u64 + Sync),
    /// Records a piece: when it began, how many items it ran, and how it ended.
    pub(super) record: &'j (dyn Fn(u64, usize, Fate) + Sync),
    pub(super) span: &'j CallSpan,
    /// Told of each item that has ended, if anything counts them.
    pub(super) ended: Option<&'j (dyn Fn(usize) + Sync)>,
    /// Told of each item that has failed.
    pub(super) failed: &'j (dyn Fn() + Sync),
    pub(super) done: Mutex<Done>,
}

/// What has become of pieces.
#[derive(Default)]
pub(super) struct Done {
    /// Start and length of the runs of items whose outputs are there.
    written: Vec<(usize, usize)>,
    /// Where a map ends with its first failure: that, by its item.
    failed: Option<(usize, Failed)>,
    /// Where it goes on: all of them.
    failures: Vec<(usize, TaskError)>,
}

/// Where the items of a map lie, and where their outputs go. Each index belongs to one piece.
#[derive(Clone, Copy)]
struct Places {
    items: *mut u8,
    outputs: *mut u8,
}

// SAFETY: the items are `Send`, and each is touched by the thread of its piece alone; so is the room for its output.
unsafe impl Send for Places {}

impl<'j> MapJob<'j> {
    /// Runs all items by `split`, which is given the number of the items and a function that runs those of a range: each index is to be in one
    /// range that it is called with.
    pub(super) fn run<'a>(
        self,
        mut items: ErasedVec<'a>,
        split: impl FnOnce(usize, &(dyn Fn(usize, usize) + Sync)),
    ) -> Result<Results<'a>, Failed> {
        let len = items.len();
        let mut outputs = ErasedVec::with_capacity(self.function.output, len);
        /// The same places for all threads.
        struct Shared(Places);
        // SAFETY: as for `Places`: each thread touches the places of its own pieces.
        unsafe impl Sync for Shared {}
        let places = Shared(Places { items: items.at(0), outputs: outputs.at(0) });
        // SAFETY: from here on the items are those of the pieces, each of which drops what it does not run.
        unsafe { items.set_len(0) };
        split(len, &|start, count| {
            let places = &places;
            self.run_piece(places.0, start, count);
        });
        let Done { mut written, failed, mut failures } = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        let complete = written.iter().map(|(_, count)| count).sum::<usize>() + failures.len() == len;
        let size = self.function.output.size();
        if !complete || failed.is_some() {
            for (start, count) in written {
                // SAFETY: these outputs were written by pieces that have handed them over, and are dropped once.
                panics::discard(|| unsafe { self.function.output.drop_values(outputs.at(start), count) });
            }
            return Err(failed.map_or(Failed::Error(TaskError::Cancelled), |(_, failed)| failed));
        }
        if !failures.is_empty() {
            // What is between the failures moves together.
            written.sort_unstable();
            let mut len = 0;
            for (start, count) in &written {
                // SAFETY: the outputs lie there, and are moved to room that has been left before them, or that is theirs.
                unsafe { std::ptr::copy(outputs.at(*start), outputs.at(len), count * size) };
                len += count;
            }
        }
        // SAFETY: the outputs of all items but those that failed were written, and lie one after the other by now.
        unsafe { outputs.set_len(len - failures.len()) };
        failures.sort_unstable_by_key(|(index, _)| *index);
        let mut results = Results::of(outputs);
        results.set_failures(failures);
        Ok(results)
    }

    /// Runs a piece on this thread.
    fn run_piece(&self, places: Places, start: usize, count: usize) {
        let (item, output) = (self.function.item.size(), self.function.output.size());
        let items = places.items.wrapping_add(start * item);
        let outputs = places.outputs.wrapping_add(start * output);
        // SAFETY: `count` items lie there, which are this piece's alone, and so is the room for their outputs; both outlive the map's `run`,
        // which waits for all pieces.
        let piece = unsafe { Piece::new(self.function, items, outputs, count) };
        let mut piece = piece.stopped_by(self.stops).telling(self.ended);
        // What is not to run needs no permit.
        let _entered = match if self.stops.is_on() { Ok(None) } else { (self.enter)().map(Some) } {
            Ok(entered) => entered,
            Err(error) => {
                drop_rest(piece);
                return self.fail(start, Failed::Error(error));
            }
        };
        let began = observe::is_on().then(|| (self.begin)());
        let mut fate = Fate::Done;
        let mut first = start;
        loop {
            let begun = self.limit.map(|_| Instant::now());
            let run = || if self.limit.is_some() { piece.run_next() } else { piece.run() };
            let caught = panics::catch(|| self.span.inside(run)).err();
            let (taken, written) = piece.progress();
            let failed = match (caught, self.limit, begun) {
                (Some(caught), ..) => Some(Failed::Panicked(caught)),
                (None, Some(after), Some(begun)) if written > 0 && begun.elapsed() > after => {
                    panics::discard(|| piece.drop_output());
                    Some(Failed::Error(TaskError::timed_out(after).of(piece.table().name)))
                }
                _ => None,
            };
            let written = piece.hand_over();
            if written > 0 {
                self.done().written.push((first, written));
            }
            // A failure is that of the item that was taken last.
            first = start + taken;
            match failed {
                Some(failed) if self.goes_on => {
                    fate = Fate::Failed;
                    (self.failed)();
                    let error = failed.into_error(self.function.name);
                    if let Some(ended) = self.ended
                        && matches!(error, TaskError::Panicked { .. })
                    {
                        ended(1);
                    }
                    self.done().failures.push((first - 1, error));
                    piece.skip_output();
                }
                Some(failed) => {
                    fate = Fate::Failed;
                    self.fail(first - 1, failed);
                    break;
                }
                None if taken == count => break,
                None if self.stops.is_on() => {
                    fate = Fate::Cancelled;
                    if self.goes_on {
                        // Those that have not run are cancelled, and those that have keep their results.
                        let cancelled = (first..start + count).map(|index| (index, TaskError::Cancelled));
                        self.done().failures.extend(cancelled);
                    }
                    break;
                }
                None => {}
            }
        }
        if let Some(began) = began {
            (self.record)(began, piece.progress().0, fate);
        }
        drop_rest(piece);
    }

    fn done(&self) -> std::sync::MutexGuard<'_, Done> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a failure, and keeps what has not started from starting.
    fn fail(&self, index: usize, why: Failed) {
        self.stops.stop.store(true, Ordering::Relaxed);
        let mut done = self.done();
        if done.failed.as_ref().is_none_or(|(first, _)| index < *first) {
            let later = done.failed.replace((index, why));
            drop(done);
            panics::discard(|| drop(later));
        }
    }
}

/// Drops what has not run, also if destructors panic.
fn drop_rest(piece: Piece<'_>) {
    panics::discard(|| drop(piece));
}

/// Splits so many items among the threads of the rayon pool that this thread is of, if it is, and runs the pieces. The same rule as rayon's: as many
/// halvings as give each thread a piece, and more wherever a piece was stolen.
pub(super) fn split_on_rayon(len: usize, smallest_piece: usize, run: &(dyn Fn(usize, usize) + Sync)) {
    // Outside of rayon, on its caller's thread, it is one piece.
    let splits = if rayon::current_thread_index().is_some() { rayon::current_num_threads() } else { 0 };
    split(0, len, smallest_piece.max(1), splits, false, run);
}

fn split(
    start: usize,
    len: usize,
    smallest_piece: usize,
    splits: usize,
    stolen: bool,
    run: &(dyn Fn(usize, usize) + Sync),
) {
    if len / 2 < smallest_piece || (splits == 0 && !stolen) {
        run(start, len);
        return;
    }
    let splits = if stolen { rayon::current_num_threads().max(splits / 2) } else { splits / 2 };
    let middle = len / 2;
    rayon::join_context(
        |context| split(start, middle, smallest_piece, splits, context.migrated(), run),
        |context| split(start + middle, len - middle, smallest_piece, splits, context.migrated(), run),
    );
}
