//! A record as a trace in the format of Chrome's `about:tracing`, which Perfetto reads.
//!
//! See "Trace Event Format", <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

use std::io::{self, Write};

use super::numbering::Numbering;
use super::recorder::{Record, Task};
use super::text::write_text;

/// A worker may run so many tasks at a time, those of `async fn`s, that are shown one below the other.
const MOST_ROWS: usize = 16;

/// Threads of the trace for one lane: one for each of its rows.
const ROWS: usize = 100;

/// The row of each task in its lane, so that tasks at the same time have rows of their own; and how many rows each lane has.
fn rows(record: &Record, numbering: &mut Numbering) -> (Vec<usize>, Vec<usize>) {
    // When each row of each lane is free again.
    let mut free: Vec<Vec<u64>> = vec![vec![0]; numbering.lanes.len()];
    let row = |(position, task): (usize, &Task)| {
        let Some(run) = task.run else { return 0 };
        let rows = &mut free[numbering.lane(task.pool, run.place)];
        let row = match rows.iter().position(|free| *free <= run.began) {
            Some(row) => row,
            None if rows.len() < MOST_ROWS => {
                rows.push(0);
                rows.len() - 1
            }
            // There are too many of them to be told apart.
            None => position % MOST_ROWS,
        };
        rows[row] = rows[row].max(run.ended);
        row
    };
    let of_tasks = record.tasks.iter().enumerate().map(row).collect();
    (of_tasks, free.iter().map(Vec::len).collect())
}

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

pub(super) fn write(mut record: Record, to: &mut dyn Write) -> io::Result<()> {
    record.tasks.sort_by_key(|task| task.run.map_or(task.ended, |run| run.began));
    let mut numbering = Numbering::default();
    numbering.add(&record);
    let (rows, lanes) = rows(&record, &mut numbering);
    let since = |at: u64| microseconds(at.saturating_sub(record.begun));
    writeln!(to, "{{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
    let mut events = Events { to, any: false };
    let process = |pool: usize| pool + 1;
    for (pool, info) in numbering.pools.iter().enumerate() {
        events.call("process_name", process(pool), 0, &info.name())?;
    }
    for (number, (lane, rows)) in numbering.lanes.iter().zip(&lanes).enumerate() {
        for row in 0..*rows {
            let name = if row == 0 { lane.name.clone() } else { format!("{} ({})", lane.name, row + 1) };
            let (pid, tid) = (process(lane.pool), number * ROWS + row);
            events.call("thread_name", pid, tid, &name)?;
            let order = lane.place as usize * ROWS + row;
            let sorted = format!("\"ph\":\"M\",\"pid\":{pid},\"tid\":{tid},\"args\":{{\"sort_index\":{order}}}");
            events.event("thread_sort_index", &sorted)?;
        }
    }
    let mut queue = Vec::new();
    for (task, row) in record.tasks.iter().zip(&rows) {
        let pool = numbering.pool(task.pool);
        queue.push((task.submitted, pool, 1_i64));
        queue.push((task.run.map_or(task.ended, |run| run.began), pool, -1));
        let Some(run) = task.run else { continue };
        let (at, time) = (since(run.began), microseconds(run.ended.saturating_sub(run.began)));
        let waited = microseconds(run.began.saturating_sub(task.submitted));
        events.event(
            task.function,
            &format!(
                "\"cat\":\"task\",\"ph\":\"X\",\"ts\":{at:.3},\"dur\":{time:.3},\"pid\":{},\"tid\":{},\"args\":{{\"end\":\"{:?}\",\"items\":{},\"waited_us\":{waited:.3},\"worker_pid\":{}}}",
                process(pool),
                numbering.lane(task.pool, run.place) * ROWS + row,
                task.fate,
                task.items,
                run.pid
            ),
        )?;
    }
    for mark in &record.marks {
        let (pool, at) = (process(numbering.pool(mark.pool)), since(mark.at));
        let name = mark.death.as_ref().map_or_else(|| "started".to_owned(), |why| format!("died: {why}"));
        let tid = numbering.lane(mark.pool, mark.place) * ROWS;
        events.event(
            &name,
            &format!("\"cat\":\"worker\",\"ph\":\"i\",\"s\":\"t\",\"ts\":{at:.3},\"pid\":{pool},\"tid\":{tid}"),
        )?;
    }
    queue.sort_unstable();
    let mut lengths = vec![0_i64; numbering.pools.len()];
    for (position, (at, pool, change)) in queue.iter().enumerate() {
        lengths[*pool] += change;
        // What lasts no time is not shown.
        if queue.get(position + 1).is_some_and(|next| next.0 == *at && next.1 == *pool) {
            continue;
        }
        let (at, pid) = (since(*at), process(*pool));
        events.event(
            "queue",
            &format!("\"ph\":\"C\",\"ts\":{at:.3},\"pid\":{pid},\"args\":{{\"tasks\":{}}}", lengths[*pool]),
        )?;
    }
    for sample in &record.samples {
        let at = since(sample.at);
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
