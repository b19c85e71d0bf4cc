//! A record as a page for a browser, in one file.
//!
//! A record reaches the page as *chunks* of JSON, each with what is new since the last: the file has one, a dashboard sends one after the other.

use std::io::{self, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::numbering::Numbering;
use super::recorder::{Record, Task};
use super::text::write_text;
use crate::observe::task::Fate;
use crate::sys::processes;

const PAGE: &str = include_str!("page.html");

/// Where the data goes.
const DATA: &str = "/*DATA*/";

/// How much of a numbering a page has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) pools: usize,
    pub(crate) lanes: usize,
    pub(crate) functions: usize,
}

#[cfg(feature = "dashboard")]
impl Known {
    pub(crate) fn of(numbering: &Numbering) -> Self {
        let Numbering { pools, lanes, functions, .. } = numbering;
        Self { pools: pools.len(), lanes: lanes.len(), functions: functions.len() }
    }
}

/// Writes a column of numbers.
fn column(name: &str, numbers: impl Iterator<Item = i64>, to: &mut dyn Write) -> io::Result<()> {
    write!(to, "\"{name}\":[")?;
    for (position, number) in numbers.enumerate() {
        if position > 0 {
            to.write_all(b",")?;
        }
        write!(to, "{number}")?;
    }
    to.write_all(b"]")
}

/// Writes a list.
pub(crate) fn list<T>(
    name: &str,
    items: impl IntoIterator<Item = T>,
    to: &mut dyn Write,
    mut item: impl FnMut(T, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    write!(to, "\"{name}\":[")?;
    for (position, one) in items.into_iter().enumerate() {
        if position > 0 {
            to.write_all(b",")?;
        }
        item(one, to)?;
    }
    to.write_all(b"]")
}

/// Differences from one to the next: shorter to write.
fn steps(numbers: impl Iterator<Item = u64>) -> impl Iterator<Item = i64> {
    let mut last = 0;
    numbers.map(move |number| {
        let number = number.cast_signed();
        let step = number - last;
        last = number;
        step
    })
}

fn number(fate: Fate) -> i64 {
    match fate {
        Fate::Done => 0,
        Fate::Failed => 1,
        Fate::Cancelled => 2,
        Fate::TimedOut => 3,
        Fate::Died => 4,
    }
}

fn began(task: &Task) -> u64 {
    task.run.map_or(task.ended, |run| run.began)
}

/// The page with its first data. `live`: the page asks the server that it came from for more.
pub(crate) fn write(record: &Record, live: bool, to: &mut dyn Write) -> io::Result<()> {
    let (before, after) = PAGE.split_once(DATA).unwrap_or((PAGE, ""));
    to.write_all(before.as_bytes())?;
    write!(to, "{{\"live\":{live},")?;
    program(record, to)?;
    to.write_all(b",\"chunk\":")?;
    let mut numbering = Numbering::default();
    numbering.add(record);
    chunk(record, &mut numbering, Known::default(), to)?;
    to.write_all(b"}")?;
    to.write_all(after.as_bytes())
}

/// Which program it is, and when and where it runs.
fn program(record: &Record, to: &mut dyn Write) -> io::Result<()> {
    let arguments: Vec<_> = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let path = arguments.first().map_or("", String::as_str);
    to.write_all(b"\"program\":")?;
    write_text(&Path::new(path).file_name().unwrap_or_default().to_string_lossy(), to)?;
    to.write_all(b",\"command\":")?;
    write_text(&arguments.join(" "), to)?;
    to.write_all(b",\"host\":")?;
    write_text(&processes::host(), to)?;
    let date = record.date.and_then(|date| date.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    write!(to, ",\"pid\":{},\"date\":{}", std::process::id(), date.as_millis())
}

/// What is new: all of `record`, and of `numbering` what is not `known` yet.
pub(crate) fn chunk(record: &Record, numbering: &mut Numbering, known: Known, to: &mut dyn Write) -> io::Result<()> {
    let since = |at: u64| at.saturating_sub(record.begun);
    let Record { left_out, forgotten, .. } = record;
    write!(to, "{{\"duration\":{},\"leftOut\":{left_out},\"forgotten\":{forgotten},", since(record.ended()))?;
    list("pools", numbering.pools.iter().skip(known.pools), to, |pool, to| {
        to.write_all(b"{\"name\":")?;
        write_text(&pool.name(), to)?;
        to.write_all(b"}")
    })?;
    to.write_all(b",\n")?;
    list("lanes", numbering.lanes.iter().skip(known.lanes), to, |lane, to| {
        write!(to, "{{\"pool\":{},\"place\":{},\"name\":", lane.pool, lane.place)?;
        write_text(&lane.name, to)?;
        to.write_all(b"}")
    })?;
    to.write_all(b",\n")?;
    list("functions", numbering.functions.iter().skip(known.functions), to, |function, to| write_text(function, to))?;
    to.write_all(b",\n\"tasks\":{")?;
    let tasks = || record.tasks.iter();
    column("began", steps(tasks().map(|task| since(began(task)))), to)?;
    to.write_all(b",\n")?;
    column("waited", tasks().map(|task| began(task).saturating_sub(task.submitted).cast_signed()), to)?;
    to.write_all(b",\n")?;
    column("ran", tasks().map(|task| task.ended.saturating_sub(began(task)).cast_signed()), to)?;
    to.write_all(b",\n")?;
    let lanes = tasks().map(|task| task.run.map_or(-1, |run| numbering.lane(task.pool, run.place) as i64));
    column("lane", lanes, to)?;
    to.write_all(b",\n")?;
    column("fn", tasks().map(|task| numbering.function(task.function) as i64), to)?;
    to.write_all(b",\n")?;
    column("items", tasks().map(|task| task.items.into()), to)?;
    to.write_all(b",\n")?;
    column("fate", tasks().map(|task| number(task.fate)), to)?;
    to.write_all(b",\n")?;
    column("pid", tasks().map(|task| task.run.map_or(0, |run| run.pid.into())), to)?;
    to.write_all(b"},\n")?;
    list("marks", &record.marks, to, |mark, to| {
        let lane = numbering.lane(mark.pool, mark.place);
        write!(to, "{{\"at\":{},\"lane\":{lane},\"pid\":{},\"death\":", since(mark.at), mark.pid)?;
        match &mark.death {
            Some(why) => write_text(why, to)?,
            None => to.write_all(b"null")?,
        }
        to.write_all(b"}")
    })?;
    to.write_all(b",\n\"memory\":{")?;
    let samples = || record.samples.iter();
    column("at", steps(samples().map(|sample| since(sample.at))), to)?;
    to.write_all(b",\n")?;
    column("program", samples().map(|sample| sample.program.cast_signed()), to)?;
    to.write_all(b",\n")?;
    column("workers", samples().map(|sample| sample.workers.cast_signed()), to)?;
    to.write_all(b",\n")?;
    column("shared", samples().map(|sample| sample.shared.cast_signed()), to)?;
    to.write_all(b"}}")
}
