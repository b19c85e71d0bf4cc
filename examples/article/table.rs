//! The rows that sections give, and the table they stand in.

use std::time::{Duration, Instant};

use crate::python::Theirs;

/// One measurement.
pub struct Row {
    /// What is shown.
    pub shows: String,
    /// One after the other.
    pub serial: Option<Duration>,
    /// In parallel.
    pub ours: Option<Duration>,
    /// Most memory of all processes together.
    pub peak: Option<u64>,
    /// What was found right, or what is wrong.
    pub check: Result<String, String>,
}

impl Row {
    pub fn new(shows: impl Into<String>, check: Result<String, String>) -> Self {
        Self { shows: shows.into(), serial: None, ours: None, peak: None, check }
    }

    pub fn serial(self, serial: Duration) -> Self {
        Self { serial: Some(serial), ..self }
    }

    pub fn ours(self, ours: Duration) -> Self {
        Self { ours: Some(ours), ..self }
    }

    pub fn peak(self, peak: u64) -> Self {
        Self { peak: Some(peak), ..self }
    }
}

/// What `work` gives, and how long it took.
pub fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let begun = Instant::now();
    let result = work();
    (result, begun.elapsed())
}

/// `right` if it holds, otherwise what was found instead.
pub fn check<T: PartialEq + std::fmt::Debug>(
    found: &T,
    expected: &T,
    right: impl Into<String>,
) -> Result<String, String> {
    if found == expected { Ok(right.into()) } else { Err(format!("{found:?} instead of {expected:?}")) }
}

/// Prints rows as they come.
pub struct Table {
    compare: bool,
    wrong: usize,
    begun: Instant,
    /// The same as Markdown.
    markdown: String,
}

impl Table {
    pub fn begin(compare: bool) -> Self {
        print!("{:<12}{:<44}{:>10}{:>10}{:>8}", "section", "what it shows", "serial", "parallel", "ratio");
        if compare {
            print!("{:>14}{:>10}{:>10}", "Python serial", "parallel", "to ours");
        }
        println!("   check");
        let mut markdown = "| section | what it shows | serial | parallel | ratio |".to_owned();
        markdown += if compare { " Python: serial | parallel | to ours |\n" } else { "\n" };
        markdown += &format!("|{}\n", " --- |".repeat(if compare { 8 } else { 5 }));
        Self { compare, wrong: 0, begun: Instant::now(), markdown }
    }

    pub fn section(&mut self, name: &str, rows: &[Row], theirs: &[Theirs]) {
        for (index, row) in rows.iter().enumerate() {
            let first = if index == 0 { name } else { "" };
            let (serial, ours) = (time(row.serial), time(row.ours));
            print!("{first:<12}{:<44}{serial:>10}{ours:>10}{:>8}", row.shows, ratio(row.serial, row.ours));
            let peaks = [row.peak, theirs.get(index).and_then(|theirs| theirs.peak)].map(|peak| peak.map(size));
            let memory = match peaks {
                [Some(ours), Some(theirs)] => format!(" ({ours}, Python {theirs})"),
                [Some(ours), None] => format!(" ({ours})"),
                _ => String::new(),
            };
            self.markdown += &format!(
                "| `{name}` | {}{memory} | {serial} | {ours} | {} |",
                row.shows.trim(),
                ratio(row.serial, row.ours)
            );
            if self.compare {
                let theirs = theirs.get(index);
                let (serial, parallel) = (theirs.and_then(Theirs::serial), theirs.and_then(Theirs::parallel));
                let to_ours = ratio(parallel.or(serial), row.ours.or(row.serial));
                let (serial, parallel) = (time(serial), time(parallel));
                print!("{serial:>14}{parallel:>10}{to_ours:>10}");
                self.markdown += &format!(" {serial} | {parallel} | {to_ours} |");
            }
            self.markdown.push('\n');
            let memory = row.peak.map_or(String::new(), |peak| format!("; peak {}", size(peak)));
            let python = theirs.get(index).and_then(|theirs| theirs.peak);
            let python = python.map_or(String::new(), |peak| format!(", Python's {}", size(peak)));
            match &row.check {
                Ok(right) => println!("   {right}{memory}{python}"),
                Err(wrong) => {
                    self.wrong += 1;
                    println!("   WRONG: {wrong}");
                }
            }
            for note in theirs.get(index).iter().filter_map(|theirs| theirs.note.as_deref()) {
                println!("{:<12}Python: {note}", "");
            }
        }
    }

    /// All rows so far as Markdown.
    pub fn markdown(&self) -> &str {
        &self.markdown
    }

    /// Whether all was right.
    pub fn end(self) -> bool {
        println!("ratio: serial to parallel; {:.1} s in all", self.begun.elapsed().as_secs_f64());
        if self.wrong > 0 {
            println!("{} WRONG", self.wrong);
        }
        self.wrong == 0
    }
}

fn time(time: Option<Duration>) -> String {
    time.map_or(String::from("–"), |time| match time.as_secs_f64() {
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s => format!("{s:.2} s"),
    })
}

fn ratio(one: Option<Duration>, other: Option<Duration>) -> String {
    match (one, other) {
        (Some(one), Some(other)) if !other.is_zero() => {
            let ratio = one.as_secs_f64() / other.as_secs_f64();
            match ratio {
                r if r < 0.1 => format!("{r:.4}×"),
                r if r < 10.0 => format!("{r:.2}×"),
                r => format!("{r:.0}×"),
            }
        }
        _ => String::from("–"),
    }
}

pub fn size(bytes: u64) -> String {
    if bytes < 100_000_000 { format!("{:.1} MB", bytes as f64 / 1e6) } else { format!("{:.2} GB", bytes as f64 / 1e9) }
}

/// A number with commas.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|part| std::str::from_utf8(part).expect("digits")).collect();
    parts.join(",")
}
