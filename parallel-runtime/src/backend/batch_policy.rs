//! How many items the next batch of a map holds.
//!
//! A message should take a worker about as long as its [`Granularity`] says: long enough that what a message costs does not count, short enough that the
//! workers end at about the same time. The first messages hold one item each; from their times the size of the next follows.

use std::time::Duration;

/// How large messages should be: that depends on what they cost.
#[derive(Debug)]
pub(crate) struct Granularity {
    /// How long a message should take a worker.
    pub(crate) target: Duration,
    /// The most bytes of arguments in a message of several items.
    pub(crate) arguments: usize,
    /// The most bytes of results that a message of several items should have.
    pub(crate) results: usize,
    /// A message may hold so many times as many items as the one before.
    pub(crate) growth: usize,
    /// Towards the end of a map there are so many messages for each worker.
    pub(crate) last: usize,
    /// So many messages are in flight if they take less than the time that follows.
    pub(crate) many: usize,
    pub(crate) short: Duration,
    /// And otherwise so many for each worker.
    pub(crate) each: usize,
}

impl Granularity {
    /// Of a board in shared memory. The results are to fit into the room for them.
    pub(crate) const BOARD: Self = Self {
        target: Duration::from_micros(300),
        arguments: 1 << 20,
        results: 60 << 10,
        growth: 64,
        last: 2,
        many: 512,
        short: Duration::from_micros(50),
        each: 3,
    };
}

/// How many items of an `async fn` a stream sends ahead for each worker.
pub(crate) const FUTURES_AHEAD: usize = 128;

/// How many items of an `async fn` a map has under way.
pub(crate) const FUTURES_OF_A_MAP: usize = 1 << 14;

pub(crate) struct BatchPolicy {
    granularity: &'static Granularity,
    workers: usize,
    /// How many messages may be in flight, however long they take.
    window: Option<usize>,
    fixed: Option<usize>,
    /// Items that are still to come, if the iterator knows.
    left: Option<usize>,
    /// Of one item, and 0 until one has come back: nanoseconds.
    nanoseconds: f64,
    /// Of one item: bytes of arguments.
    argument_bytes: usize,
    /// Of one item: bytes of results.
    result_bytes: usize,
    last: usize,
}

impl BatchPolicy {
    /// Those of a function; of an `async fn` so many items may be under way.
    pub(crate) fn of(
        granularity: &'static Granularity,
        (is_async, futures): (bool, usize),
        workers: usize,
        fixed: Option<usize>,
        hint: (usize, Option<usize>),
    ) -> Self {
        if is_async { Self::of_futures(granularity, futures) } else { Self::new(granularity, workers, fixed, hint) }
    }

    /// `hint` is the size hint of the items.
    fn new(
        granularity: &'static Granularity,
        workers: usize,
        fixed: Option<usize>,
        hint: (usize, Option<usize>),
    ) -> Self {
        let left = (hint.1 == Some(hint.0)).then_some(hint.0);
        let (argument_bytes, result_bytes) = (0, 0);
        Self {
            granularity,
            workers,
            window: None,
            fixed,
            left,
            nanoseconds: 0.0,
            argument_bytes,
            result_bytes,
            last: 1,
        }
    }

    /// Each item of an `async fn` travels alone, and so many may be under way: most of them wait for something.
    fn of_futures(granularity: &'static Granularity, window: usize) -> Self {
        Self { window: Some(window), ..Self::new(granularity, 1, Some(1), (0, None)) }
    }

    /// The size of the next message, in items.
    pub(crate) fn next(&mut self) -> usize {
        if let Some(fixed) = self.fixed {
            // A message counts its items in 32 bits.
            return fixed.min(u32::MAX as usize);
        }
        if self.nanoseconds == 0.0 {
            return 1;
        }
        let Granularity { target, arguments, results, growth, last, .. } = *self.granularity;
        let by_time = (target.as_nanos() as f64 / self.nanoseconds) as usize;
        let by_arguments = arguments / self.argument_bytes.max(1);
        let by_results = results / self.result_bytes.max(1);
        // Towards the end the messages get smaller, so that the workers end together.
        let by_balance = self.left.map_or(usize::MAX, |left| left.div_ceil(last * self.workers));
        let count = by_time.min(by_arguments).min(by_results).min(by_balance).min(self.last.saturating_mul(growth));
        self.last = count.clamp(1, u32::MAX as usize);
        self.last
    }

    /// From now on each message holds one item.
    pub(crate) fn send_alone(&mut self) {
        self.fixed = Some(1);
    }

    /// So many items were taken.
    pub(crate) fn taken(&mut self, count: usize) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(count);
        }
    }

    /// The engine has so many workers by now.
    pub(crate) fn set_workers(&mut self, workers: usize) {
        self.workers = workers;
    }

    /// How many messages may be in flight.
    pub(crate) fn window(&self) -> usize {
        if let Some(window) = self.window {
            return window;
        }
        let message = self.nanoseconds * self.fixed.unwrap_or(self.last) as f64;
        // Many if they are short: then the way to the worker and back takes longer than the work.
        let Granularity { many, short, each, .. } = *self.granularity;
        if self.nanoseconds > 0.0 && message < short.as_nanos() as f64 { many } else { each * self.workers + 2 }
    }

    /// About how many bytes the arguments of so many items take: a little more than the last ones did.
    pub(crate) fn arguments(&self, count: usize) -> usize {
        (self.argument_bytes * (count + count / 8)).max(4096)
    }

    /// The arguments of so many items took so many bytes.
    pub(crate) fn saw_arguments(&mut self, count: usize, bytes: usize) {
        self.argument_bytes = bytes.div_ceil(count);
    }

    /// The results of so many items took so many bytes, and their work so many nanoseconds.
    pub(crate) fn saw_results(&mut self, count: usize, bytes: usize, nanoseconds: u64) {
        if count == 0 {
            return;
        }
        self.result_bytes = bytes.div_ceil(count);
        let each = (nanoseconds as f64 / count as f64).max(1.0);
        let first = self.nanoseconds == 0.0 || (self.last == 1 && count > 1);
        self.nanoseconds = if first { each } else { 0.5 * (self.nanoseconds + each) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(items: usize) -> BatchPolicy {
        BatchPolicy::new(&Granularity::BOARD, 2, None, (items, Some(items)))
    }

    #[test]
    fn the_first_messages_hold_one_item() {
        assert_eq!(policy(1000).next(), 1);
    }

    #[test]
    fn tiny_items_travel_in_bulk() {
        let mut policy = policy(1_000_000);
        policy.saw_results(1, 9, 30);
        assert_eq!(policy.next(), 64);
        policy.saw_results(64, 64 * 9, 64 * 30);
        assert_eq!(policy.next(), 4096);
        assert!(policy.next() > 4096);
    }

    #[test]
    fn long_items_travel_alone() {
        let mut policy = policy(1000);
        policy.saw_results(1, 9, 10_000_000);
        assert_eq!(policy.next(), 1);
    }

    #[test]
    fn large_results_keep_messages_small() {
        let mut policy = policy(1_000_000);
        policy.saw_results(1, 30_000, 10);
        assert_eq!(policy.next(), 2);
    }

    #[test]
    fn the_last_items_are_shared_out() {
        let mut policy = policy(8);
        policy.saw_results(1, 9, 10);
        assert_eq!(policy.next(), 2);
    }

    #[test]
    fn a_fixed_size_is_kept() {
        let mut policy = BatchPolicy::new(&Granularity::BOARD, 2, Some(7), (0, None));
        policy.saw_results(7, 9, 1);
        assert_eq!(policy.next(), 7);
    }

    #[test]
    fn each_item_is_in_one_message_and_the_last_messages_are_small() {
        crate::sys::random::with_random_bytes(|random| {
            let (items, workers) = (random.int_in_range(0..=100_000_usize)?, random.int_in_range(1..=64)?);
            let mut policy = BatchPolicy::new(&Granularity::BOARD, workers, None, (items, Some(items)));
            let mut left = items;
            let mut before = 1;
            while left > 0 {
                let count = policy.next();
                assert!((1..=before * 64).contains(&count), "{count} after {before}");
                assert!(count <= left.div_ceil(2 * workers).max(1), "{count} of {left} for {workers} workers");
                assert!(policy.window() > 0);
                before = count;
                let count = count.min(left);
                left -= count;
                policy.taken(count);
                let bytes = random.int_in_range(0..=1 << 20)?;
                policy.saw_arguments(count, bytes);
                let nanoseconds =
                    if random.ratio(1, 4)? { random.arbitrary()? } else { random.int_in_range(0..=50_000)? };
                policy.saw_results(count, random.int_in_range(0..=1 << 20)?, nanoseconds);
            }
            Ok(())
        });
    }
}
