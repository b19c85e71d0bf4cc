//! What the threads of a pool count, each where the others seldom do.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts that threads add to without being in each other's way.
#[derive(Default)]
pub(super) struct Shards([Shard; SHARDS]);

const SHARDS: usize = 8;

/// What the threads count that have it. Numbers by themselves mean nothing: a task may begin on one thread and end on another.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Shard {
    pub(super) done: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) cancelled: AtomicU64,
    /// Tasks, and what was accepted of several, that are over.
    pub(super) left: AtomicU64,
    pub(super) running: AtomicU64,
    /// Calls that have begun, and those that have ended well: each of these is done, has left, and does not run, by one step.
    pub(super) calls_begun: AtomicU64,
    pub(super) calls_done: AtomicU64,
}

impl Shards {
    /// The counts of this thread, and of some others.
    #[inline(always)]
    pub(super) fn here(&self) -> &Shard {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static HERE: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
        }
        // A thread that is ending has the first one.
        &self.0[HERE.try_with(|here| *here).unwrap_or(0)]
    }

    /// That of all threads together.
    pub(super) fn sum(&self, count: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.0.iter().map(|shard| count(shard).load(Ordering::SeqCst)).fold(0, u64::wrapping_add)
    }
}
