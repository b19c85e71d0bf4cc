//! Putting a task into a pool's queue.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::body::Body;
use super::engine::{Cancel, Engine};
use super::job::{Job, Rare};
use super::threads::Session;
use crate::error::TaskError;
use crate::function::table::FunctionTable;
use crate::observe::CallSpan;

impl Engine {
    /// Runs a task on the pool, some time.
    /// `accepted`: see `admit`; `stop`: it does not begin any more once that is set.
    pub(super) fn submit(
        self: &Arc<Self>,
        function: &'static FunctionTable,
        limit: Option<Duration>,
        accepted: bool,
        body: Body,
        stop: Option<Arc<AtomicBool>>,
    ) -> Result<Arc<Job>, TaskError> {
        self.check().map_err(TaskError::Spawn)?;
        let span = CallSpan::open(function.name, 1, &self.pool);
        let seen = self.admit(accepted)?.counters.submit(function.name, 1, span);
        let rare = Rare::new(limit, seen, stop);
        let job = Arc::new(Job::new(function, body, Some(Arc::clone(self)), rare));
        if job.turns.is_some() {
            self.note_future(&job);
        }
        if let Err(error) = self.threads.push(Arc::clone(&job) as _) {
            job.fail(TaskError::Spawn(error));
        }
        Ok(job)
    }

    /// It is not always in the queue, where `kill` finds others.
    fn note_future(&self, job: &Arc<Job>) {
        let mut over = Vec::new();
        let mut book = self.book();
        if book.futures.len() as u64 > 2 * self.outstanding(&book) + 64 {
            book.futures.retain(|future| {
                let Some(future) = future.upgrade() else { return false };
                let keep = !future.is_over();
                // Its result may be the user's, and is not dropped under the lock.
                over.push(future);
                keep
            });
        }
        let weak: Weak<dyn Cancel> = Arc::downgrade(&(Arc::clone(job) as Arc<dyn Cancel>));
        book.futures.push(weak);
    }
}

/// Its permit.
impl Session for Engine {
    fn around(&self, several: &mut dyn FnMut()) {
        let _permit = self.semaphore.enter();
        several();
    }

    fn is_in_the_way(&self) -> bool {
        self.semaphore.is_wanted()
    }
}
