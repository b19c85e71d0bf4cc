//! What a page is told.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use super::pools::{self, LivePool};
use crate::observe::timeline::numbering::Numbering;
use crate::observe::timeline::page::{self, Known, list};
use crate::observe::timeline::recorder::{self, Position};
use crate::observe::timeline::text::write_text;
use crate::sys::clock;

/// The most tasks of one event: a browser parses them in some hundredths of a second.
const MOST_TASKS: usize = 50_000;

/// After so many milliseconds the page asks again.
const PAUSE: u64 = 500;

/// The same after an event that did not have everything.
const SHORT_PAUSE: u64 = 10;

/// The most running tasks that are told, of all pools together: those that run longest.
const MOST_RUNNING: usize = 100;

/// How far a page has come: the id of the last event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// Of which record, by the time of its beginning. A page that was served by another program begins anew.
    record: u64,
    position: Position,
    known: Known,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, position: Position { tasks, marks, sampled }, known: Known { pools, lanes, functions } } =
            self;
        write!(f, "{record}-{tasks}-{marks}-{sampled}-{pools}-{lanes}-{functions}")
    }
}

impl FromStr for Progress {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let numbers: Vec<u64> = text.split('-').map(str::parse).collect::<Result<_, _>>().map_err(drop)?;
        let [record, tasks, marks, sampled, pools, lanes, functions] = numbers[..] else { return Err(()) };
        let [marks, pools, lanes, functions] = [marks, pools, lanes, functions].map(|number| number as usize);
        let (position, known) = (Position { tasks, marks, sampled }, Known { pools, lanes, functions });
        Ok(Self { record, position, known })
    }
}

/// The page, which has no data yet.
pub(super) fn page() -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    page::write(&recorder::heading(), true, &mut page)?;
    Ok(page)
}

/// The event for a page that has come so far; `None`: that has nothing yet.
pub(super) fn event(progress: Option<Progress>) -> io::Result<Vec<u8>> {
    /// The same for all pages.
    static NUMBERING: Mutex<Option<Numbering>> = Mutex::new(None);

    let record = recorder::heading().begun();
    let Progress { position, known, .. } = progress.unwrap_or_default();
    if progress.is_some_and(|progress| progress.record != record) {
        return Ok(b"event: reload\ndata:\n\n".to_vec());
    }
    let (new, position) = recorder::since(position, MOST_TASKS);
    let mut event = Vec::new();
    {
        let mut numbering = NUMBERING.lock().unwrap_or_else(PoisonError::into_inner);
        let numbering = numbering.get_or_insert_default();
        numbering.add(&new);
        let pause = if new.tasks() < MOST_TASKS { PAUSE } else { SHORT_PAUSE };
        let progress = Progress { record, position, known: Known::of(numbering) };
        write!(event, "retry: {pause}\nid: {progress}\ndata: {{\"chunk\":")?;
        let start = event.len();
        page::chunk(&new, numbering, known, &mut event)?;
        // Lines end an event; in texts they are escaped.
        let chunk = event.split_off(start);
        event.extend(chunk.into_iter().filter(|byte| *byte != b'\n'));
    }
    event.extend_from_slice(b",\"now\":");
    now(record, &mut event)?;
    event.extend_from_slice(b"}\n\n");
    Ok(event)
}

/// What runs now, and the state of each pool.
fn now(begun: u64, to: &mut dyn Write) -> io::Result<()> {
    let now = clock::now();
    let pools = pools::all();
    let in_processes = pools.iter().flat_map(|pool| {
        let info = pool.pool();
        pool.running().into_iter().map(move |task| (task.began, task.function, info, task.place, task.pid))
    });
    let on_threads = recorder::running_on_threads().into_iter();
    let on_threads = on_threads.map(|task| (task.began, task.function, task.pool, task.place, 0));
    let mut running: Vec<_> = in_processes.chain(on_threads).collect();
    running.sort_unstable_by_key(|task| task.0);
    write!(to, "{{\"at\":{},\"count\":{},", now.saturating_sub(begun), running.len())?;
    list("running", running.iter().take(MOST_RUNNING), to, |(began, function, pool, place, pid), to| {
        to.write_all(b"{\"function\":")?;
        write_text(function, to)?;
        to.write_all(b",\"pool\":")?;
        write_text(&pool.name(), to)?;
        to.write_all(b",\"place\":")?;
        write_text(&format!("{} {place}", if *pid == 0 { "thread" } else { "worker" }), to)?;
        write!(to, ",\"pid\":{pid},\"ran\":{}}}", now.saturating_sub(*began))
    })?;
    to.write_all(b",")?;
    list("pools", &pools, to, |pool, to| state(pool.as_ref(), to))?;
    to.write_all(b"}")
}

fn state(pool: &dyn LivePool, to: &mut dyn Write) -> io::Result<()> {
    let stats = pool.stats();
    to.write_all(b"{\"name\":")?;
    write_text(&pool.pool().name(), to)?;
    let counts = [
        ("workers", stats.workers as u64),
        ("alive", stats.workers_alive as u64),
        ("queued", stats.queued),
        ("running", stats.running),
        ("done", stats.done),
        ("failed", stats.failed),
        ("cancelled", stats.cancelled),
        ("timedOut", stats.timed_out),
        ("deaths", stats.worker_deaths),
    ];
    for (name, count) in counts {
        write!(to, ",\"{name}\":{count}")?;
    }
    to.write_all(b"}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_an_event_says_how_far_a_page_has_come() {
        let position = Position { tasks: 7, marks: 2, sampled: 99 };
        let progress = Progress { record: 5, position, known: Known { pools: 1, lanes: 2, functions: 3 } };
        assert_eq!(progress.to_string().parse(), Ok(progress));
        for wrong in ["", "1-2", "1-2-3-4-5-6-x", "1-2-3-4-5-6-7-8", "99999999999999999999-1-1-1-1-1-1"] {
            assert_eq!(wrong.parse::<Progress>(), Err(()), "{wrong}");
        }
    }
}
