//! As a trace: the format of Chrome's `about:tracing`, which Perfetto reads.
//!
//! See "Trace Event Format", <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

use std::io::{self, Write};

use super::text::write_text;
use super::tracks::{Track, Tracks};

/// Threads of the trace for one track: one for each of its rows.
const ROWS: usize = 100;

/// Microseconds, as the format has them.
fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

struct Events<'w> {
    to: &'w mut dyn Write,
    any: bool,
}

impl Events<'_> {
    /// Begins the next event: its name, its phase, and what else is in it.
    fn event(&mut self, name: &str, rest: &str) -> io::Result<()> {
        self.to.write_all(if self.any { b",\n{\"name\":" } else { b"{\"name\":" })?;
        self.any = true;
        write_text(name, self.to)?;
        write!(self.to, ",{rest}}}")
    }

    /// A name for a process or a thread of the trace.
    fn call(&mut self, what: &str, pid: usize, tid: usize, name: &str) -> io::Result<()> {
        let mut text = Vec::new();
        write_text(name, &mut text)?;
        let text = String::from_utf8_lossy(&text);
        self.event(what, &format!("\"ph\":\"M\",\"pid\":{pid},\"tid\":{tid},\"args\":{{\"name\":{text}}}"))
    }
}

pub(super) fn write(tracks: &Tracks, to: &mut dyn Write) -> io::Result<()> {
    writeln!(to, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    let mut events = Events { to, any: false };
    let process = |pool: usize| pool + 1;
    for (pool, info) in tracks.pools.iter().enumerate() {
        events.call("process_name", process(pool), 0, &info.name())?;
    }
    for (number, Track { pool, name, rows }) in tracks.tracks.iter().enumerate() {
        for row in 0..*rows {
            let name = if row == 0 { name.clone() } else { format!("{name} ({})", row + 1) };
            events.call("thread_name", process(*pool), number * ROWS + row, &name)?;
        }
    }
    let mut queue = Vec::new();
    for (task, bar) in tracks.record.tasks.iter().zip(&tracks.bars) {
        let pool = tracks.pool_of(task.pool);
        queue.push((task.submitted, pool, 1_i64));
        queue.push((task.run.map_or(task.ended, |run| run.began), pool, -1));
        let (Some(run), Some((track, row))) = (task.run, bar.place) else { continue };
        let (at, time) = (microseconds(tracks.since(run.began)), microseconds(run.ended.saturating_sub(run.began)));
        let waited = microseconds(run.began.saturating_sub(task.submitted));
        events.event(
            task.function,
            &format!(
                "\"cat\":\"task\",\"ph\":\"X\",\"ts\":{at:.3},\"dur\":{time:.3},\"pid\":{},\"tid\":{},\"args\":{{\"end\":\"{:?}\",\"items\":{},\"waited_us\":{waited:.3},\"worker_pid\":{}}}",
                process(pool),
                track * ROWS + row,
                task.fate,
                task.items,
                run.pid
            ),
        )?;
    }
    for mark in &tracks.record.marks {
        let Some(track) = tracks.track_of(mark.pool, mark.place) else { continue };
        let (pool, at) = (process(tracks.tracks[track].pool), microseconds(tracks.since(mark.at)));
        let name = mark.death.as_ref().map_or_else(|| "started".to_owned(), |why| format!("died: {why}"));
        let tid = track * ROWS;
        events.event(
            &name,
            &format!("\"cat\":\"worker\",\"ph\":\"i\",\"s\":\"t\",\"ts\":{at:.3},\"pid\":{pool},\"tid\":{tid}"),
        )?;
    }
    queue.sort_unstable();
    let mut lengths = vec![0_i64; tracks.pools.len()];
    for (position, (at, pool, change)) in queue.iter().enumerate() {
        lengths[*pool] += change;
        // What lasts no time is not shown.
        if queue.get(position + 1).is_some_and(|next| next.0 == *at && next.1 == *pool) {
            continue;
        }
        let (at, pid) = (microseconds(tracks.since(*at)), process(*pool));
        events.event(
            "queue",
            &format!("\"ph\":\"C\",\"ts\":{at:.3},\"pid\":{pid},\"args\":{{\"tasks\":{}}}", lengths[*pool]),
        )?;
    }
    for sample in &tracks.record.samples {
        let at = microseconds(tracks.since(sample.at));
        let [program, workers, shared] = [sample.program, sample.workers, sample.shared].map(|bytes| bytes >> 10);
        events.event(
            "memory in KiB",
            &format!(
                "\"ph\":\"C\",\"ts\":{at:.3},\"pid\":1,\"args\":{{\"program\":{program},\"workers\":{workers},\"shared\":{shared}}}"
            ),
        )?;
    }
    writeln!(events.to, "\n]}}")
}
