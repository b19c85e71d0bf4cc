//! Tasks on threads that may borrow.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body::Body;
use super::engine::Engine;
use super::job::Job;
use crate::backend::{ResultSlot, ScopedHandle};
use crate::error::TaskError;
use crate::function::erased::ErasedValue;
use crate::function::table::FunctionTable;
use crate::panics;

/// A task on a thread of a pool, and where its result is put.
pub(super) struct ScopedJob<'s> {
    job: Arc<Job>,
    result: Arc<ResultSlot<'s>>,
}

impl<'s> ScopedJob<'s> {
    /// The caller waits for the task before `'s` ends.
    pub(super) fn submit(
        engine: &Arc<Engine>,
        function: &'static FunctionTable,
        item: ErasedValue<'s>,
        limit: Option<Duration>,
    ) -> Result<Self, TaskError> {
        let result = Arc::new(ResultSlot::new(None));
        let theirs = Arc::clone(&result);
        let body: Box<dyn FnOnce() -> ErasedValue<'static> + Send + 's> =
            Box::new(move || {
                let begun = Instant::now();
                // SAFETY: the item is one of this function.
                let value = panics::catch(|| unsafe { function.call(item) });
                let value = value.map_err(|caught| caught.into_error(function.name));
                // It may borrow: so it is not left to itself when its time is over.
                let late = limit.filter(|limit| begun.elapsed() > *limit);
                theirs.put(value.and_then(|value| {
                    late.map_or(Ok(value), |after| Err(TaskError::timed_out(after).of(function.name)))
                }));
                ErasedValue::new(())
            });
        // SAFETY: only the lifetime changes. The job has no limit, so it ends when its body has been run to its end, or dropped; and
        // the scope waits for the job before `'s` ends.
        let body = unsafe {
            std::mem::transmute::<
                Box<dyn FnOnce() -> ErasedValue<'static> + Send + 's>,
                Box<dyn FnOnce() -> ErasedValue<'static> + Send>,
            >(body)
        };
        let job = engine.submit(function, None, false, Body::Call(body), None)?;
        Ok(Self { job, result })
    }
}

impl<'s> ScopedHandle<'s> for ScopedJob<'s> {
    fn finish(&self) {
        if let Some(Err(error)) = self.job.wait(None) {
            // It never ran, or this was asked before.
            self.result.put(Err(error));
        }
    }
    fn is_over(&self) -> bool {
        self.job.is_finished()
    }
    fn failure(&self) -> Option<TaskError> {
        self.result.failure()
    }
    fn is_settled(&self) -> bool {
        self.job.is_finished() && self.result.is_settled()
    }
    fn is_finished(&self) -> bool {
        self.job.is_finished()
    }
    fn cancel(&self) -> bool {
        self.job.cancel()
    }
    fn kill(&self) -> bool {
        self.job.cancel()
    }
    fn take(&self) -> Result<ErasedValue<'s>, TaskError> {
        self.result.take()
    }
}
