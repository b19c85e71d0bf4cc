//! Who ran what, in the order of time.

use std::collections::{BTreeMap, HashMap};

use super::recorder::{Record, Task};
use crate::observe::task::{Kind, Pool};

/// A worker may run so many tasks at a time, those of `async fn`s, that are shown one below the other.
const MOST_ROWS: usize = 16;

/// A record, sorted.
pub(super) struct Tracks {
    pub(super) record: Record,
    pub(super) functions: Vec<&'static str>,
    pub(super) tracks: Vec<Track>,
    /// For each task of the record, which are in the order of their beginnings.
    pub(super) bars: Vec<Bar>,
    pub(super) pools: Vec<Pool>,
    /// By the number of a pool: where it is among them.
    pool_numbers: HashMap<u32, usize>,
    /// The track of a place in a pool.
    places: BTreeMap<(usize, u32), usize>,
    /// When the last thing happened.
    pub(super) ended: u64,
}

/// A worker.
pub(super) struct Track {
    pub(super) pool: usize,
    pub(super) name: String,
    pub(super) rows: usize,
}

/// Where a task is shown.
#[derive(Clone, Copy)]
pub(super) struct Bar {
    pub(super) function: usize,
    /// Of one that has run: its track, and which of its rows.
    pub(super) place: Option<(usize, usize)>,
}

impl Tracks {
    pub(super) fn new(mut record: Record) -> Self {
        let began = |task: &Task| task.run.map_or(task.ended, |run| run.began);
        record.tasks.sort_by_key(began);
        let mut pools: Vec<Pool> = Vec::new();
        let mut places: BTreeMap<(usize, u32), usize> = BTreeMap::new();
        let mut pool_numbers: HashMap<u32, usize> = HashMap::new();
        let mut pool_of = |pool: Pool| {
            *pool_numbers.entry(pool.id).or_insert_with(|| {
                pools.push(pool);
                pools.len() - 1
            })
        };
        for task in &record.tasks {
            if let Some(run) = task.run {
                places.insert((pool_of(task.pool), run.place), 0);
            } else {
                pool_of(task.pool);
            }
        }
        for mark in &record.marks {
            places.insert((pool_of(mark.pool), mark.place), 0);
        }
        let mut tracks = Vec::new();
        for ((pool, place), track) in &mut places {
            *track = tracks.len();
            let name = match pools[*pool].kind {
                Kind::Threads => format!("thread {place}"),
                Kind::Processes => format!("worker {place}"),
                Kind::Process => "process".to_owned(),
            };
            tracks.push(Track { pool: *pool, name, rows: 1 });
        }
        let mut functions: Vec<&'static str> = Vec::new();
        let mut numbers: HashMap<&'static str, usize> = HashMap::new();
        // When each row of each track is free again.
        let mut free: Vec<Vec<u64>> = vec![vec![0]; tracks.len()];
        let mut bars = Vec::with_capacity(record.tasks.len());
        for task in &record.tasks {
            let function = *numbers.entry(task.function).or_insert_with(|| {
                functions.push(task.function);
                functions.len() - 1
            });
            let place = task.run.map(|run| {
                let pool = pool_numbers[&task.pool.id];
                let track = places[&(pool, run.place)];
                let rows = &mut free[track];
                let row = match rows.iter().position(|free| *free <= run.began) {
                    Some(row) => row,
                    None if rows.len() < MOST_ROWS => {
                        rows.push(0);
                        rows.len() - 1
                    }
                    // There are too many of them to be told apart.
                    None => bars.len() % MOST_ROWS,
                };
                rows[row] = rows[row].max(run.ended);
                (track, row)
            });
            bars.push(Bar { function, place });
        }
        for (track, rows) in tracks.iter_mut().zip(&free) {
            track.rows = rows.len();
        }
        let ends = record.tasks.iter().map(|task| task.ended);
        let marks = record.marks.iter().map(|mark| mark.at);
        let samples = record.samples.iter().map(|sample| sample.at);
        let ended = ends.chain(marks).chain(samples).max().unwrap_or(record.begun);
        Self { record, functions, tracks, bars, pools, pool_numbers, places, ended }
    }

    pub(super) fn pool_of(&self, pool: Pool) -> usize {
        self.pool_numbers.get(&pool.id).copied().unwrap_or(0)
    }

    /// The track of a mark.
    pub(super) fn track_of(&self, pool: Pool, place: u32) -> Option<usize> {
        self.places.get(&(self.pool_of(pool), place)).copied()
    }

    /// Nanoseconds since the record began.
    pub(super) fn since(&self, at: u64) -> u64 {
        at.saturating_sub(self.record.begun)
    }
}
