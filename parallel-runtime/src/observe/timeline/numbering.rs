//! Numbers for the pools, workers and functions of a record, in the order in which they come. A number never changes.

use std::collections::HashMap;

use super::recorder::Record;
use crate::observe::task::{Kind, Pool};

/// A worker, or a thread.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    /// The number of its pool.
    pub(crate) pool: usize,
    /// Its place in the pool.
    pub(crate) place: u32,
    pub(crate) name: String,
}

/// What has numbers.
#[derive(Debug, Default)]
pub(crate) struct Numbering {
    pub(crate) pools: Vec<Pool>,
    pub(crate) lanes: Vec<Lane>,
    pub(crate) functions: Vec<&'static str>,
    /// By a pool's id.
    pool_numbers: HashMap<u32, usize>,
    /// By pool and place.
    lane_numbers: HashMap<(usize, u32), usize>,
    function_numbers: HashMap<&'static str, usize>,
}

impl Numbering {
    /// Gives numbers to all that a record names.
    pub(crate) fn add(&mut self, record: &Record) {
        for task in &record.tasks {
            self.pool(task.pool);
            self.function(task.function);
            if let Some(run) = task.run {
                self.lane(task.pool, run.place);
            }
        }
        for mark in &record.marks {
            self.lane(mark.pool, mark.place);
        }
    }

    pub(crate) fn pool(&mut self, pool: Pool) -> usize {
        *self.pool_numbers.entry(pool.id).or_insert_with(|| {
            self.pools.push(pool);
            self.pools.len() - 1
        })
    }

    pub(crate) fn lane(&mut self, pool: Pool, place: u32) -> usize {
        let number = self.pool(pool);
        *self.lane_numbers.entry((number, place)).or_insert_with(|| {
            let name = match pool.kind {
                Kind::Threads => format!("thread {place}"),
                Kind::Processes => format!("worker {place}"),
                Kind::Process => "process".to_owned(),
            };
            self.lanes.push(Lane { pool: number, place, name });
            self.lanes.len() - 1
        })
    }

    pub(crate) fn function(&mut self, function: &'static str) -> usize {
        *self.function_numbers.entry(function).or_insert_with(|| {
            self.functions.push(function);
            self.functions.len() - 1
        })
    }
}
