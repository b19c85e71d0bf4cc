//! As a page for a browser: one file, with all that it needs.

use std::io::{self, Write};

use super::text::write_text;
use super::tracks::Tracks;
use crate::observe::task::Fate;

const PAGE: &str = include_str!("page.html");

/// Where the data goes.
const DATA: &str = "/*DATA*/";

/// Writes a column of numbers.
fn column(name: &str, numbers: impl Iterator<Item = i64>, to: &mut dyn Write) -> io::Result<()> {
    write!(to, "{name}:[")?;
    for (position, number) in numbers.enumerate() {
        if position > 0 {
            to.write_all(b",")?;
        }
        write!(to, "{number}")?;
    }
    to.write_all(b"],\n")
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

pub(super) fn write(tracks: &Tracks, to: &mut dyn Write) -> io::Result<()> {
    let (before, after) = PAGE.split_once(DATA).unwrap_or((PAGE, ""));
    to.write_all(before.as_bytes())?;
    data(tracks, to)?;
    to.write_all(after.as_bytes())
}

fn data(tracks: &Tracks, to: &mut dyn Write) -> io::Result<()> {
    let program = std::env::args_os().next().unwrap_or_default();
    let program = std::path::Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
    write!(to, "{{program:")?;
    write_text(&program, to)?;
    write!(to, ",\nduration:{},leftOut:{},\npools:[", tracks.since(tracks.ended), tracks.record.left_out)?;
    for pool in &tracks.pools {
        write!(to, "{{name:")?;
        write_text(&pool.name(), to)?;
        write!(to, "}},")?;
    }
    write!(to, "],\nlanes:[")?;
    for track in &tracks.tracks {
        write!(to, "{{pool:{},tracks:{},name:", track.pool, track.rows)?;
        write_text(&track.name, to)?;
        write!(to, "}},")?;
    }
    write!(to, "],\nfunctions:[")?;
    for function in &tracks.functions {
        write_text(function, to)?;
        write!(to, ",")?;
    }
    write!(to, "],\ntasks:{{\n")?;
    let tasks = || tracks.record.tasks.iter();
    let began = |task: &super::recorder::Task| task.run.map_or(task.ended, |run| run.began);
    column("began", steps(tasks().map(|task| tracks.since(began(task)))), to)?;
    column("waited", tasks().map(|task| began(task).saturating_sub(task.submitted).cast_signed()), to)?;
    column("ran", tasks().map(|task| task.ended.saturating_sub(began(task)).cast_signed()), to)?;
    column("lane", tracks.bars.iter().map(|bar| bar.place.map_or(-1, |(track, _)| track as i64)), to)?;
    column("track", tracks.bars.iter().map(|bar| bar.place.map_or(0, |(_, row)| row as i64)), to)?;
    column("fn", tracks.bars.iter().map(|bar| bar.function as i64), to)?;
    column("items", tasks().map(|task| task.items.into()), to)?;
    column("fate", tasks().map(|task| number(task.fate)), to)?;
    column("pid", tasks().map(|task| task.run.map_or(0, |run| run.pid.into())), to)?;
    write!(to, "}},\nmarks:[")?;
    for mark in &tracks.record.marks {
        let Some(track) = tracks.track_of(mark.pool, mark.place) else { continue };
        write!(to, "{{at:{},lane:{track},pid:{},death:", tracks.since(mark.at), mark.pid)?;
        match &mark.death {
            Some(why) => write_text(why, to)?,
            None => write!(to, "null")?,
        }
        write!(to, "}},")?;
    }
    write!(to, "],\nmemory:{{\n")?;
    let samples = || tracks.record.samples.iter();
    column("at", steps(samples().map(|sample| tracks.since(sample.at))), to)?;
    column("program", samples().map(|sample| sample.program.cast_signed()), to)?;
    column("workers", samples().map(|sample| sample.workers.cast_signed()), to)?;
    column("shared", samples().map(|sample| sample.shared.cast_signed()), to)?;
    write!(to, "}}}}")
}
