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

    /// Measures, and prints.
    pub fn run(mut self, name: &str) {
        println!("\n{name}: {}", self.about);
        println!("  {:<28} {:>12} {:>12} {:>10}", "", "median", "least", "to ours");
        let mut times = vec![Vec::new(); self.subjects.len()];
        for round in 0..=self.rounds {
            for (subject, times) in self.subjects.iter_mut().zip(&mut times) {
                // What the one before left spinning goes to sleep.
                std::thread::sleep(Duration::from_millis(10));
                let time = (subject.run)();
                if round > 0 {
                    times.push(time);
                }
            }
        }
        let mut ours = Duration::ZERO;
        for (subject, times) in self.subjects.iter().zip(&mut times) {
            times.sort_unstable();
            let median = times[times.len() / 2];
            if subject.ours {
                ours = median;
            }
            let ratio = median.as_secs_f64() / ours.as_secs_f64();
            println!("  {:<28} {:>12} {:>12} {ratio:>9.2}×", subject.name, show(median), show(times[0]));
        }
    }
}

fn show(time: Duration) -> String {
    let nanoseconds = time.as_secs_f64() * 1e9;
    match nanoseconds {
        n if n < 1e3 => format!("{n:.1} ns"),
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
