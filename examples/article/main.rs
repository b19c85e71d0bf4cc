//! A walk through Python's toolbox for parallel work, step by step: what each step shows, how long it takes one after the other and in
//! parallel, and whether the results are right.
//!
//! ```sh
//! cargo run --release --example article                       # ten seconds or so, and 2 GB of memory
//! cargo run --release --example article -- --quick            # two seconds
//! cargo run --release --example article -- --compare          # the same in Python beside it: three minutes, and 12 GB
//! cargo run --release --example article -- --markdown t.md    # the table as Markdown, too
//! cargo run --release --example article -- --plots pictures   # memory, speed-up and latency as SVG and PNG
//! cargo run --release --example article -- dictionary value   # some sections alone
//! ```
//!
//! With `--features ndarray,arrow` the sections `arrays` and `frames` work on ndarray's arrays and Arrow's batches, too. The counterpart in
//! Python, with nothing but its standard library, is `examples/python/article.py`.

mod memory;
mod plots;
mod python;
mod results;
mod sharing;
mod starting;
mod table;
mod waiting;

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use table::{Row, Table};

/// How much each section does.
#[derive(Clone, Copy)]
struct Scale {
    quick: bool,
}

impl Scale {
    /// The first, or with `--quick` the second.
    fn of<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

type Section = fn(Scale) -> Vec<Row>;

/// In the order of the walk. `article.py` has the same names.
const SECTIONS: [(&str, Section); 17] = [
    ("threads", starting::threads),
    ("thread-pool", starting::thread_pool),
    ("processes", starting::processes),
    ("dictionary", results::dictionary),
    ("million", results::million),
    ("ordered", results::ordered),
    ("map-async", results::map_async),
    ("starmap", results::starmap),
    ("one-word", results::one_word),
    ("cpu-count", starting::cpu_count),
    ("too-many", starting::too_many),
    ("list", sharing::list),
    ("value", sharing::value),
    ("array", sharing::array),
    ("arrays", sharing::arrays),
    ("frames", sharing::frames),
    ("async", waiting::asynchronous),
];

const USAGE: &str = "usage: article [--quick] [--compare] [--markdown FILE] [--plots DIR] [SECTION ...]";

#[derive(Default)]
struct Arguments {
    quick: bool,
    compare: bool,
    markdown: Option<PathBuf>,
    plots: Option<PathBuf>,
    sections: Vec<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut given = Arguments::default();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--quick" => given.quick = true,
            "--compare" => given.compare = true,
            "--markdown" => given.markdown = Some(words.next().ok_or("--markdown wants a file")?.into()),
            "--plots" => given.plots = Some(words.next().ok_or("--plots wants a directory")?.into()),
            section if SECTIONS.iter().any(|(name, _)| *name == section) => given.sections.push(word),
            _ => {
                let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
                return Err(format!("{USAGE}\nsections: {}\nnot known: {word}", names.join(", ")));
            }
        }
    }
    Ok(given)
}

/// Which section runs, on a terminal: some take half a minute.
struct Status;

impl Status {
    fn show(name: &str) -> Option<Self> {
        let mut error = std::io::stderr();
        error.is_terminal().then(|| {
            let _ = write!(error, "{name} ...").and_then(|()| error.flush());
            Self
        })
    }
}

impl Drop for Status {
    /// Clears the line.
    fn drop(&mut self) {
        let _ = write!(std::io::stderr(), "\r\x1b[K");
    }
}

fn run() -> Result<bool, String> {
    // What sections start as programs of their own.
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [starting::CROWD] => return Ok(starting::crowd()),
        [sharing::DOUBLE, way, count] => return sharing::print_doubled(way, count),
        _ => {}
    }
    let given = arguments()?;
    let scale = Scale { quick: given.quick };
    let mut table = Table::begin(given.compare);
    for (name, section) in SECTIONS {
        if !given.sections.is_empty() && !given.sections.iter().any(|wanted| wanted == name) {
            continue;
        }
        let status = Status::show(name);
        let rows = section(scale);
        let theirs = if given.compare { python::run(name, scale.quick)? } else { Vec::new() };
        drop(status);
        table.section(name, &rows, &theirs);
    }
    if let Some(file) = given.markdown {
        fs::write(&file, table.markdown()).map_err(|error| format!("{}: {error}", file.display()))?;
    }
    let right = table.end();
    if let Some(directory) = given.plots {
        plots::draw(&directory, scale).map_err(|error| format!("the plots cannot be drawn: {error}"))?;
    }
    Ok(right)
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
