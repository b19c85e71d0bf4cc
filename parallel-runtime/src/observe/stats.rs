//! What a pool has done so far.

use std::fmt;
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};

pub use crate::observe::histogram::Percentiles;

/// What a pool has done so far: from [`ThreadPool::stats`](crate::ThreadPool::stats) or [`ProcessPool::stats`](crate::ProcessPool::stats).
///
/// A message of a `map` with many items counts as one task, and so does a whole `map` on threads. [`Display`](fmt::Display) prints it as a table; it is
/// [`Serialize`], for logs and metrics.
///
/// ```
/// use parallel_runtime::{ProcessPool, parallel};
///
/// #[parallel(mode = "process")]
/// fn half(x: u64) -> Vec<u64> {
///     vec![x / 2; 100]
/// }
///
/// let pool = ProcessPool::new(2);
/// let tasks: Vec<_> = (0..50).map(|x| half::on(&pool).submit(x)).collect();
/// tasks.into_iter().for_each(|task| drop(task.join().unwrap()));
///
/// let stats = pool.stats();
/// assert_eq!((stats.submitted, stats.done, stats.failed), (50, 50, 0));
/// assert!(stats.bytes_copied > 50 * 800);
/// assert!(stats.ran.median <= stats.ran.p99);
/// println!("{stats}");
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct PoolStats {
    /// The name of the pool, if it has one.
    pub name: Option<&'static str>,
    /// Workers that the pool may have.
    pub workers: usize,
    /// Workers that are alive now.
    pub workers_alive: usize,
    /// Tasks that were submitted.
    pub submitted: u64,
    /// Tasks that have ended: the sum of the next three.
    pub finished: u64,
    /// Tasks with a result.
    pub done: u64,
    /// Tasks that failed: they panicked, timed out, their worker died, or their arguments or results could not be sent.
    pub failed: u64,
    /// Tasks that were cancelled.
    pub cancelled: u64,
    /// Tasks that are running now.
    pub running: u64,
    /// Tasks that wait for a worker.
    pub queued: u64,
    /// Worker processes that died in a task or at their start, without those that the pool itself ended or replaced.
    pub worker_deaths: u64,
    /// Tries that exceeded their `timeout`.
    pub timed_out: u64,
    /// Tries after the first, of tasks with `retries`.
    pub retried: u64,
    /// Worker processes that were replaced between two tasks, because of `max_tasks_per_worker` or `memory_limit`, or because a task had closed the
    /// descriptors by which the program reaches them.
    pub replaced: u64,
    /// Tasks of a thread pool that timed out and still run. Each keeps one of the pool's workers busy.
    pub abandoned: u64,
    /// Bytes of arguments and results that were copied to worker processes and back.
    pub bytes_copied: u64,
    /// Bytes of shared memory that were passed by their place, without a copy.
    pub bytes_shared: u64,
    /// How long tasks waited for a worker. With hundreds of thousands of tasks a second, a sample of them is timed.
    pub waited: Percentiles,
    /// How long tasks ran, of the same sample; bodies of `async fn`s with the time in which they waited.
    pub ran: Percentiles,
    /// How busy the workers are: an entry for each place for a worker process; one for all threads of a thread pool.
    pub load: Vec<WorkerLoad>,
}

/// How busy a worker is.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct WorkerLoad {
    /// The process that has this place now.
    pub pid: Option<u32>,
    /// How long tasks have run in this place, to some milliseconds.
    pub busy: Duration,
    /// The busy part of the time since its first process was started, from 0 to 1.
    pub share: f64,
}

impl WorkerLoad {
    pub(crate) fn new(pid: Option<u32>, busy: Duration, alive: Duration) -> Self {
        let share = if alive.is_zero() { 0.0 } else { (busy.as_secs_f64() / alive.as_secs_f64()).min(1.0) };
        Self { pid, busy, share }
    }
}

impl PoolStats {
    pub(crate) fn empty(workers: usize) -> Self {
        Self {
            name: None,
            workers,
            workers_alive: 0,
            submitted: 0,
            finished: 0,
            done: 0,
            failed: 0,
            cancelled: 0,
            running: 0,
            queued: 0,
            worker_deaths: 0,
            timed_out: 0,
            retried: 0,
            replaced: 0,
            abandoned: 0,
            bytes_copied: 0,
            bytes_shared: 0,
            waited: Percentiles::default(),
            ran: Percentiles::default(),
            load: Vec::new(),
        }
    }
}

/// As a structure of its fields. Times are as serde writes a [`Duration`].
macro_rules! serialize_fields {
    ($type:ident: $($field:ident)*) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let fields = [$(stringify!($field)),*].len();
                let mut fields = serializer.serialize_struct(stringify!($type), fields)?;
                $(fields.serialize_field(stringify!($field), &self.$field)?;)*
                fields.end()
            }
        }
    };
}

serialize_fields!(PoolStats: name workers workers_alive submitted finished done failed cancelled running queued worker_deaths timed_out retried replaced
    abandoned bytes_copied bytes_shared waited ran load);
serialize_fields!(WorkerLoad: pid busy share);
serialize_fields!(Percentiles: median p90 p99 longest);

/// A number with its thousands apart.
struct Count(u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut text = String::new();
        for (position, digit) in digits.chars().enumerate() {
            if position > 0 && (digits.len() - position).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        f.pad(&text)
    }
}

/// A number of bytes, in the unit that suits it.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut size = self.0 as f64;
        let mut units = ["B", "KiB", "MiB", "GiB", "TiB"].into_iter();
        let mut unit = units.next().unwrap_or_default();
        while size >= 1024.0
            && let Some(next) = units.next()
        {
            size /= 1024.0;
            unit = next;
        }
        let decimals = usize::from(unit != "B");
        f.pad(&format!("{size:.decimals$} {unit}"))
    }
}

/// A time, in the unit that suits it.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_zero() {
            return f.pad("-");
        }
        let seconds = self.0.as_secs_f64();
        let (value, unit) = match seconds {
            1.0.. => (seconds, "s"),
            1e-3.. => (seconds * 1e3, "ms"),
            1e-6.. => (seconds * 1e6, "µs"),
            _ => (seconds * 1e9, "ns"),
        };
        let decimals = match value {
            100.0.. => 0,
            10.0.. => 1,
            _ => 2,
        };
        f.pad(&format!("{value:.decimals$} {unit}"))
    }
}

impl fmt::Display for PoolStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name {
            writeln!(f, "pool      {name}")?;
        }
        writeln!(f, "workers   {} of {} alive", self.workers_alive, self.workers)?;
        let states = [
            (self.submitted, "submitted"),
            (self.queued, "queued"),
            (self.running, "running"),
            (self.done, "done"),
            (self.failed, "failed"),
            (self.cancelled, "cancelled"),
        ];
        let states: Vec<String> = states.iter().map(|(count, what)| format!("{} {what}", Count(*count))).collect();
        writeln!(f, "tasks     {}", states.join(", "))?;
        let rare = [
            (self.worker_deaths, if self.worker_deaths == 1 { "worker died" } else { "workers died" }),
            (self.replaced, if self.replaced == 1 { "worker replaced" } else { "workers replaced" }),
            (self.timed_out, "timed out"),
            (self.retried, "tried again"),
            (self.abandoned, "timed out and still running"),
        ];
        let rare: Vec<String> = rare
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{} {what}", Count(*count)))
            .collect();
        if !rare.is_empty() {
            writeln!(f, "faults    {}", rare.join(", "))?;
        }
        if self.bytes_copied + self.bytes_shared > 0 {
            writeln!(f, "data      {} copied, {} shared", Size(self.bytes_copied), Size(self.bytes_shared))?;
        }
        writeln!(f, "{:9} {:>9} {:>9} {:>9} {:>9}", "", "median", "90 %", "99 %", "longest")?;
        for (what, times) in [("waited", self.waited), ("ran", self.ran)] {
            let Percentiles { median, p90, p99, longest } = times;
            let [median, p90, p99, longest] = [median, p90, p99, longest].map(Time);
            writeln!(f, "{what:9} {median:>9} {p90:>9} {p99:>9} {longest:>9}")?;
        }
        let busy: Vec<String> = self.load.iter().map(|load| format!("{:.0} %", load.share * 100.0)).collect();
        write!(f, "busy      {}", if busy.is_empty() { "no worker yet".to_owned() } else { busy.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_prints_a_table() {
        let mut stats = PoolStats::empty(4);
        (stats.workers_alive, stats.submitted, stats.done, stats.failed) = (4, 1_234_567, 1_234_000, 567);
        (stats.worker_deaths, stats.bytes_copied, stats.bytes_shared) = (3, 5 << 20, 4 << 30);
        stats.waited.median = Duration::from_nanos(12_340);
        stats.ran.longest = Duration::from_millis(1500);
        stats.load = vec![WorkerLoad::new(Some(1), Duration::from_secs(3), Duration::from_secs(4))];
        assert_eq!(
            stats.to_string(),
            "workers   4 of 4 alive
tasks     1,234,567 submitted, 0 queued, 0 running, 1,234,000 done, 567 failed, 0 cancelled
faults    3 workers died
data      5.0 MiB copied, 4.0 GiB shared
             median      90 %      99 %   longest
waited      12.3 µs         -         -         -
ran               -         -         -    1.50 s
busy      75 %"
        );
    }
}
