//! The counts of a pool, and which of its tasks are looked at more closely.

use super::histogram::Histogram;
use super::seen::Seen;
use super::spans::CallSpan;
use super::task::{Fate, Run, is_on};
use crate::sys::clock;

/// What has become of the tasks of a pool.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) done: u64,
    pub(crate) failed: u64,
    pub(crate) cancelled: u64,
    /// Bytes of arguments and results that were copied to workers and back.
    pub(crate) bytes_copied: u64,
    /// Bytes of shared memory that tasks were given, or gave, as they lie.
    pub(crate) bytes_shared: u64,
    pub(crate) waited: Histogram,
    pub(crate) ran: Histogram,
    pub(crate) sampler: Sampler,
}

impl Counters {
    /// A task is submitted. `Some` if it is one that is looked at.
    #[inline(always)]
    pub(crate) fn submit(&mut self, function: &'static str, items: u32, span: CallSpan) -> Option<Box<Seen>> {
        let weight = self.sampler.next(span.is_some() || is_on(), clock::now)?;
        Some(Seen::new(function, items, weight, span))
    }

    /// A task has ended.
    #[inline(always)]
    pub(crate) fn end(&mut self, fate: Fate, seen: Option<&Seen>, run: Option<Run>) {
        match fate {
            Fate::Done => self.done += 1,
            Fate::Failed | Fate::TimedOut | Fate::Died => self.failed += 1,
            Fate::Cancelled => self.cancelled += 1,
        }
        if let (Some(seen), Some(run)) = (seen, run) {
            self.time(seen, run);
        }
    }

    /// How long it waited, and ran.
    pub(crate) fn time(&mut self, seen: &Seen, run: Run) {
        self.waited.add(run.began.saturating_sub(seen.submitted), seen.weight);
        self.ran.add(run.ended.saturating_sub(run.began), seen.weight);
    }
}

/// Chooses tasks to be timed: all of them while they are few, and so many each time that the clock is read some ten thousand times a second
/// at most.
#[derive(Debug)]
pub(crate) struct Sampler {
    /// Every so many.
    stride: u32,
    /// How many there were since the last that was chosen.
    passed: u32,
    /// How many were chosen since `since`.
    chosen: u32,
    since: u64,
}

/// So many are chosen before the stride is looked at again.
const ROUND: u32 = 32;

/// A round shall take so long, in nanoseconds.
const SHORTEST: u64 = 2_000_000;
const LONGEST: u64 = 16_000_000;

/// After so many that were not chosen it is looked whether they still come as fast.
const LOOK: u32 = 64;

impl Default for Sampler {
    fn default() -> Self {
        Self { stride: 1, passed: 0, chosen: 0, since: 0 }
    }
}

impl Sampler {
    /// One more task. `Some` if it is chosen, as it is if it is `wanted`: for how many it stands. The clock is read for few.
    #[inline(always)]
    fn next(&mut self, wanted: bool, clock: impl FnOnce() -> u64) -> Option<u32> {
        self.passed += 1;
        if self.passed >= self.stride || self.passed.is_multiple_of(LOOK) || wanted {
            self.choose(wanted, clock())
        } else {
            None
        }
    }

    #[cold]
    fn choose(&mut self, wanted: bool, now: u64) -> Option<u32> {
        if self.passed < self.stride && !wanted {
            if now.saturating_sub(self.since) < LONGEST {
                return None;
            }
            self.stride = 1;
        }
        let weight = std::mem::take(&mut self.passed);
        self.chosen += 1;
        if self.chosen >= ROUND {
            match now.saturating_sub(self.since) {
                ..SHORTEST => self.stride = (self.stride * 2).min(4096),
                LONGEST.. => self.stride = (self.stride / 2).max(1),
                _ => {}
            }
            self.chosen = 0;
            self.since = now;
        }
        Some(weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tasks that come so many nanoseconds apart, by a clock of their own.
    struct Arrivals {
        sampler: Sampler,
        now: u64,
    }

    /// How many tasks came, how many of them were chosen, and for how many these stand.
    #[derive(Debug)]
    struct Counts {
        tasks: u64,
        chosen: u64,
        stands_for: u64,
    }

    impl Arrivals {
        fn of(&mut self, tasks: u64, apart: u64) -> Counts {
            let mut counts = Counts { tasks, chosen: 0, stands_for: 0 };
            for _ in 0..tasks {
                self.now += apart;
                if let Some(weight) = self.sampler.next(false, || self.now) {
                    counts.chosen += 1;
                    counts.stands_for += u64::from(weight);
                }
            }
            counts
        }
    }

    #[test]
    fn few_tasks_are_all_timed_and_many_are_sampled() {
        let mut arrivals = Arrivals { sampler: Sampler::default(), now: 1 << 40 };
        let few = arrivals.of(1000, 1_000_000);
        assert!(few.chosen == 1000 && few.stands_for == 1000, "{few:?}");

        let many = arrivals.of(10_000_000, 100);
        assert!(many.stands_for <= many.tasks && many.tasks - many.stands_for <= 4096, "{many:?}");
        // Some ten thousand of a second.
        assert!((2_000..40_000).contains(&many.chosen), "{many:?}");

        // They come slowly again: after a few the rate is seen to be low.
        let seen = arrivals.of(u64::from(2 * LOOK), 1_000_000);
        assert!(seen.chosen > 0, "{seen:?}");
        let few = arrivals.of(1000, 1_000_000);
        assert!(few.chosen == 1000 && few.stands_for == 1000, "{few:?}");
    }

    #[test]
    fn a_task_that_is_wanted_is_chosen_however_many_there_are() {
        let mut arrivals = Arrivals { sampler: Sampler::default(), now: 1 << 40 };
        arrivals.of(1_000_000, 100);
        assert!((0..100).all(|_| arrivals.sampler.next(true, || arrivals.now).is_some()));
    }
}
