//! Who ran what, in the order of time.

use std::collections::{BTreeMap, HashMap};

use super::recorder::{Record, Task};
use crate::observe::task::{Kind, Pool};

/// A worker may run so many tasks at a time, those of `async fn`s, that are shown one below the other.
const MOST_TRACKS: usize = 16;

/// A record, sorted.
pub(super) struct Lanes {
    pub(super) record: Record,
    pub(super) functions: Vec<&'static str>,
    pub(super) lanes: Vec<Lane>,
    /// For each task of the record, which are in the order of their beginnings.
    pub(super) bars: Vec<Bar>,
    pub(super) pools: Vec<Pool>,
    /// By the number of a pool: where it is among them.
    pool_numbers: HashMap<u32, usize>,
    /// The lane of a place in a pool.
    places: BTreeMap<(usize, u32), usize>,
    /// When the last thing happened.
    pub(super) ended: u64,
}

/// A worker.
pub(super) struct Lane {
    pub(super) pool: usize,
    pub(super) name: String,
    pub(super) tracks: usize,
}

/// Where a task is shown.
#[derive(Clone, Copy)]
pub(super) struct Bar {
    pub(super) function: usize,
    /// Of one that has run: its lane, and which of its tracks.
    pub(super) place: Option<(usize, usize)>,
}

impl Lanes {
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
        let mut lanes = Vec::new();
        for ((pool, place), lane) in &mut places {
            *lane = lanes.len();
            let name = match pools[*pool].kind {
                Kind::Threads => format!("thread {place}"),
                Kind::Processes => format!("worker {place}"),
                Kind::Process => "process".to_owned(),
            };
            lanes.push(Lane { pool: *pool, name, tracks: 1 });
        }
        let mut functions: Vec<&'static str> = Vec::new();
        let mut numbers: HashMap<&'static str, usize> = HashMap::new();
        // When each track of each lane is free again.
        let mut free: Vec<Vec<u64>> = vec![vec![0]; lanes.len()];
        let mut bars = Vec::with_capacity(record.tasks.len());
        for task in &record.tasks {
            let function = *numbers.entry(task.function).or_insert_with(|| {
                functions.push(task.function);
                functions.len() - 1
            });
            let place = task.run.map(|run| {
                let pool = pool_numbers[&task.pool.id];
                let lane = places[&(pool, run.place)];
                let tracks = &mut free[lane];
                let track = match tracks.iter().position(|free| *free <= run.began) {
                    Some(track) => track,
                    None if tracks.len() < MOST_TRACKS => {
                        tracks.push(0);
                        tracks.len() - 1
                    }
                    // There are too many of them to be told apart.
                    None => bars.len() % MOST_TRACKS,
                };
                tracks[track] = tracks[track].max(run.ended);
                (lane, track)
            });
            bars.push(Bar { function, place });
        }
        for (lane, tracks) in lanes.iter_mut().zip(&free) {
            lane.tracks = tracks.len();
        }
        let ends = record.tasks.iter().map(|task| task.ended);
        let marks = record.marks.iter().map(|mark| mark.at);
        let samples = record.samples.iter().map(|sample| sample.at);
        let ended = ends.chain(marks).chain(samples).max().unwrap_or(record.begun);
        Self { record, functions, lanes, bars, pools, pool_numbers, places, ended }
    }

    pub(super) fn pool_of(&self, pool: Pool) -> usize {
        self.pool_numbers.get(&pool.id).copied().unwrap_or(0)
    }

    /// The lane of a mark.
    pub(super) fn lane_of(&self, pool: Pool, place: u32) -> Option<usize> {
        self.places.get(&(self.pool_of(pool), place)).copied()
    }

    /// Nanoseconds since the record began.
    pub(super) fn since(&self, at: u64) -> u64 {
        at.saturating_sub(self.record.begun)
    }
}
