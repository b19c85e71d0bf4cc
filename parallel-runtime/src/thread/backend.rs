//! What the verbs ask of a pool of threads.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::apart;
use super::body::Body;
use super::engine::Engine;
use super::job::{Job, Rare};
use super::prefetch::ThreadPrefetch;
use super::scoped::ScopedJob;
use crate::backend::{Backend, Failed, Map, OwnTask, Prefetch, Results, ScopedHandle, TaskHandle, TaskHandles};
use crate::error::TaskError;
use crate::function::erased::{ErasedValue, Items, all_of};
use crate::function::table::{FunctionTable, Piece, Written};
use crate::options::{CallOptions, WorkerOptions};
use crate::panics;
use crate::sandbox::{self, Sandbox};
use crate::wait::gate::Gate;
use crate::wait::notify::Watcher;

impl Backend for Arc<Engine> {
    fn defaults(&self) -> CallOptions {
        self.defaults
    }

    fn gate(&self) -> Option<&Arc<Gate>> {
        self.gate.as_ref()
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn check_sandbox(&self, function: &'static str, _sandbox: Sandbox) -> Result<(), TaskError> {
        Err(sandbox::refused(function, "and a thread has none: use a pool of processes"))
    }

    fn call(&self, one: Piece<'_>, options: CallOptions) -> Result<Written, Failed> {
        match options.timeout {
            None => Engine::call(self, one),
            Some(limit) => apart::call_limited(self, one, limit),
        }
    }

    fn map<'a>(
        &self,
        function: &'static FunctionTable,
        items: &mut dyn Items<'a>,
        map: &Map<'_>,
        results: &mut Results<'a>,
    ) -> Result<(), Failed> {
        let items = all_of(items);
        let count = items.len();
        let each_apart = map.options.timeout.is_some() || function.is_async();
        let mapped = if each_apart {
            apart::map_apart(self, function, items, map, results)
        } else {
            Engine::map(self, function, items, map, results)
        };
        match mapped {
            // The pool answers for all items at once.
            Err(Failed::Error(error)) if map.goes_on => {
                *results = Results::all_failed(function.output, error, count);
                Ok(())
            }
            mapped => mapped,
        }
    }

    fn accept(&self) -> Result<Box<dyn Any + Send>, TaskError> {
        Ok(Box::new(Engine::accept(self)?))
    }

    fn submit(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'static>,
        options: CallOptions,
    ) -> Result<TaskHandle, TaskError> {
        // SAFETY: the item is one of this function, as all that is submitted for it.
        let body = unsafe { Body::of(function, item) };
        Ok(TaskHandle::alone(Engine::submit(self, function, options.timeout, false, body, None)?))
    }

    fn submit_scoped<'s>(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'s>,
        options: CallOptions,
    ) -> Result<Arc<dyn ScopedHandle<'s> + 's>, TaskError> {
        Ok(Arc::new(ScopedJob::submit(self, function, item, options.timeout)?))
    }

    fn prefetch(
        &self,
        function: &'static FunctionTable,
        options: CallOptions,
        hint: (usize, Option<usize>),
        ordered: bool,
    ) -> Result<Box<dyn Prefetch>, TaskError> {
        Ok(Box::new(ThreadPrefetch::new(self, function, options, hint, ordered)))
    }

    fn spawn(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'static>,
        options: CallOptions,
        workers: WorkerOptions,
    ) -> Result<OwnTask, TaskError> {
        // SAFETY: the item is one of this function, as all that is submitted for it.
        let body = unsafe { Body::of(function, item) };
        let job = Arc::new(Job::new(function, body, None, Rare::limited(options.timeout)));
        let theirs = Arc::clone(&job);
        let name = function.name.rsplit("::").next().unwrap_or(function.name).to_owned();
        std::thread::Builder::new()
            .name(name)
            .spawn(move || match workers.init.map_or(Ok(()), panics::catch) {
                Ok(()) => theirs.run_on_pool(),
                Err(caught) => theirs.fail(caught.into_init_error()),
            })
            .map_err(TaskError::Spawn)?;
        Ok(OwnTask { handle: TaskHandle::alone(job), process: None, can_be_killed: false })
    }
}

impl TaskHandles for Job {
    fn take(&self, _index: u32) -> Option<Result<ErasedValue<'static>, TaskError>> {
        Job::take(self)
    }
    fn wait(
        self: Arc<Self>,
        _index: u32,
        deadline: Option<Instant>,
    ) -> Option<Result<ErasedValue<'static>, TaskError>> {
        Job::wait(&self, deadline)
    }
    fn is_finished(&self, _index: u32) -> bool {
        Job::is_finished(self)
    }
    fn is_running(self: Arc<Self>, _index: u32) -> bool {
        Job::is_running(&self)
    }
    fn cancel(self: Arc<Self>, _index: u32) -> bool {
        Job::cancel(&self)
    }
    fn kill(self: Arc<Self>, _index: u32) -> bool {
        Job::kill(&self)
    }
    fn watch(self: Arc<Self>, _index: u32, watcher: Watcher, _attend: bool) -> Result<(), Watcher> {
        Job::watch(&self, watcher)
    }
    fn has_failed(&self, _index: u32) -> bool {
        Job::has_failed(self)
    }
}
