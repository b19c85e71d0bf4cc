//! Subjects that take turns, and the table of their medians.

use std::time::{Duration, Instant};

/// Something that is measured.
pub struct Subject<'s> {
    name: &'s str,
    ours: bool,
    run: Box<dyn FnMut() -> Duration + 's>,
}

impl<'s> Subject<'s> {
    /// A peer or a limit.
    pub fn new(name: &'s str, run: impl FnMut() -> Duration + 's) -> Self {
        Self { name, ours: false, run: Box::new(run) }
    }

    /// What the others are compared with.
    pub fn ours(name: &'s str, run: impl FnMut() -> Duration + 's) -> Self {
        Self { ours: true, ..Self::new(name, run) }
    }
}

/// Subjects that are compared.
pub struct Section<'s> {
    about: &'s str,
    rounds: usize,
    subjects: Vec<Subject<'s>>,
}

impl<'s> Section<'s> {
    /// Each subject will run so many times, after one run that does not count.
    pub fn new(about: &'s str, rounds: usize) -> Self {
        Self { about, rounds, subjects: Vec::new() }
    }

    /// Adds a subject. The ratios are to the last one before it that is ours.
    pub fn subject(mut self, subject: Subject<'s>) -> Self {
        self.subjects.push(subject);
        self
    }

    /// Measures, and prints. Gives the same as rows of a table in Markdown, one for each subject that is ours.
    pub fn run(mut self, name: &str) -> String {
        println!("\n{name}: {}", self.about);
        println!("  {:<28} {:>12} {:>12} {:>10} {:>12}", "", "median", "least", "to ours", "CPU time");
        let mut times = vec![Vec::new(); self.subjects.len()];
        let mut busy = vec![(Duration::ZERO, Duration::ZERO); self.subjects.len()];
        for round in 0..=self.rounds {
            for ((subject, times), (cpu, wall)) in self.subjects.iter_mut().zip(&mut times).zip(&mut busy) {
                // What the one before left spinning goes to sleep.
                std::thread::sleep(Duration::from_millis(10));
                let (before, begun) = (cpu_time(), Instant::now());
                let time = (subject.run)();
                if round > 0 {
                    times.push(time);
                    *wall += begun.elapsed();
                    *cpu += cpu_time().saturating_sub(before);
                }
            }
        }
        let mut rows = Vec::new();
        let mut ours = Duration::ZERO;
        for ((subject, times), (cpu, wall)) in self.subjects.iter().zip(&mut times).zip(busy) {
            times.sort_unstable();
            let median = times[times.len() / 2];
            if subject.ours {
                ours = median;
            }
            let ratio = median.as_secs_f64() / ours.as_secs_f64();
            // Over the whole run of the subject, for the time of one.
            let cpu = median.mul_f64(cpu.as_secs_f64() / wall.as_secs_f64());
            let (name, median, least, cpu) = (subject.name, show(median), show(times[0]), show(cpu));
            println!("  {name:<28} {median:>12} {least:>12} {ratio:>9.2}× {cpu:>12}");
            if subject.ours {
                rows.push(format!("| {}: {name} | {median} | {cpu} | ", self.about));
            } else if let Some(row) = rows.last_mut() {
                let separator = if row.ends_with("| ") { "" } else { ", " };
                *row += &format!("{separator}{name} {}×", short(ratio));
            }
        }
        rows.into_iter().map(|row| row + " |\n").collect()
    }
}

/// A ratio, with two digits or three.
fn short(ratio: f64) -> String {
    match ratio {
        ratio if ratio < 10.0 => format!("{ratio:.2}"),
        ratio if ratio < 100.0 => format!("{ratio:.1}"),
        ratio => format!("{ratio:.0}"),
    }
}

fn show(time: Duration) -> String {
    let nanoseconds = time.as_secs_f64() * 1e9;
    match nanoseconds {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.2} µs", n / 1e3),
        n => format!("{:.2} ms", n / 1e6),
    }
}

/// The time of one of `count` calls.
pub fn per<R>(count: u64, mut call: impl FnMut(u64) -> R) -> Duration {
    let begun = Instant::now();
    for x in 0..count {
        std::hint::black_box(call(x));
    }
    // In floating point: a duration has no picoseconds.
    Duration::from_secs_f64(begun.elapsed().as_secs_f64() / count as f64)
}

/// Processor time of this process, of its children that live (workers, servers), and of those that were waited for.
fn cpu_time() -> Duration {
    let used = |who| {
        // SAFETY: all zeros is a valid value of this structure of numbers.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: `usage` is a valid place for it.
        assert_eq!(unsafe { libc::getrusage(who, &raw mut usage) }, 0);
        let time = |time: libc::timeval| Duration::new(time.tv_sec.cast_unsigned(), time.tv_usec as u32 * 1000);
        time(usage.ru_utime) + time(usage.ru_stime)
    };
    let threads = |process: &str| std::fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let children: String = threads("self").map(|thread| read(thread.path().join("children"))).collect();
    // The first number of `schedstat` is the time on the processor in nanoseconds, as in the kernel's `sched-stats.rst`.
    let time = |thread: std::fs::DirEntry| {
        let schedstat = read(thread.path().join("schedstat"));
        Duration::from_nanos(schedstat.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0))
    };
    let living: Duration = children.split_whitespace().flat_map(threads).map(time).sum();
    used(libc::RUSAGE_SELF) + used(libc::RUSAGE_CHILDREN) + living
}
