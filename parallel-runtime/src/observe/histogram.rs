//! Times, in buckets that grow with what they hold.

use std::time::Duration;

/// Buckets for each power of two. A time is known to one part in 16.
const FINENESS: u32 = 8;
const BUCKETS: usize = (64 * FINENESS) as usize;

/// How many times there were of about which length.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    /// Made for the first of them.
    counts: Option<Box<[u64; BUCKETS]>>,
    shortest: u64,
    longest: u64,
}

/// How long tasks took: half of them no longer than `median`, and so on. Times are known to one part in 16.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Percentiles {
    /// Half of the tasks took no longer.
    pub median: Duration,
    /// 90 of 100.
    pub p90: Duration,
    /// 99 of 100.
    pub p99: Duration,
    /// The longest that was seen.
    pub longest: Duration,
}

/// The bucket of a time: for `FINENESS` steps in each power of two, as in HdrHistogram.
fn bucket(nanoseconds: u64) -> usize {
    if nanoseconds < u64::from(FINENESS) {
        return nanoseconds as usize;
    }
    let power = nanoseconds.ilog2();
    let step = (nanoseconds >> (power - FINENESS.ilog2())) as u32 - FINENESS;
    ((power - FINENESS.ilog2() + 1) * FINENESS + step) as usize
}

/// The middle of a bucket.
fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u32;
    if bucket < FINENESS {
        return bucket.into();
    }
    let power = bucket / FINENESS - 1;
    let low = u64::from(bucket % FINENESS + FINENESS) << power;
    low + (1 << power) / 2
}

impl Histogram {
    /// Adds a time that stands for several.
    pub(crate) fn add(&mut self, nanoseconds: u64, weight: u32) {
        if self.counts.is_none() {
            self.shortest = nanoseconds;
        }
        let counts = self.counts.get_or_insert_with(|| Box::new([0; BUCKETS]));
        counts[bucket(nanoseconds).min(BUCKETS - 1)] += u64::from(weight);
        self.shortest = self.shortest.min(nanoseconds);
        self.longest = self.longest.max(nanoseconds);
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let Some(counts) = &self.counts else { return Percentiles::default() };
        let total: u64 = counts.iter().sum();
        let at = |part: f64| {
            let rank = ((total as f64 * part).ceil() as u64).max(1);
            let mut before = 0;
            let found = counts.iter().position(|count| {
                before += count;
                before >= rank
            });
            Duration::from_nanos(found.map_or(0, middle).clamp(self.shortest, self.longest))
        };
        let longest = Duration::from_nanos(self.longest);
        Percentiles { median: at(0.5), p90: at(0.9), p99: at(0.99), longest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_near_to_what_it_holds() {
        let mut last = 0;
        for exponent in 0..630 {
            let time = 1.07_f64.powi(exponent) as u64;
            let (bucket, middle) = (bucket(time), middle(bucket(time)));
            assert!(bucket >= last && bucket < BUCKETS);
            assert!(time.abs_diff(middle) <= time / 16 + 1, "{time} is in the bucket of {middle}");
            last = bucket;
        }
    }

    #[test]
    fn percentiles_count_weights() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentiles(), Percentiles::default());
        histogram.add(1000, 89);
        histogram.add(1_000_000, 10);
        histogram.add(5_000_000, 1);
        let Percentiles { median, p90, p99, longest } = histogram.percentiles();
        let near = |time: Duration, nanoseconds: u64| {
            time.as_nanos().abs_diff(nanoseconds.into()) <= (nanoseconds / 16).into()
        };
        assert!(near(median, 1000) && near(p90, 1_000_000) && near(p99, 1_000_000), "{median:?} {p90:?} {p99:?}");
        assert_eq!(longest, Duration::from_millis(5));
    }
}
