//! What the verbs ask of a pool whose tasks run in other processes, over any [`Transport`].

use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::map;
use super::prefetch::RemotePrefetch;
use super::result_reader;
use super::submit;
use super::task_state::TaskRef;
use super::transport::{Batch, NotSubmitted, Retries, Sent, Transport};
use crate::backend::{Backend, Failed, Map, OwnTask, Prefetch, Results, ScopedHandle, TaskHandle};
use crate::error::TaskError;
use crate::function::erased::{ErasedValue, Items, all_of};
use crate::function::table::{FunctionTable, Piece, Written};
use crate::options::{CallOptions, WorkerOptions};
use crate::sandbox::{self, Sandbox};
use crate::wait::gate::Gate;

/// A pool whose tasks run in other processes.
#[derive(Debug)]
pub(crate) struct RemoteBackend(Arc<dyn Transport>);

impl RemoteBackend {
    pub(crate) fn new(transport: impl Transport + 'static) -> Self {
        Self(Arc::new(transport))
    }
}

/// Hands one item to the workers.
fn submit_one(
    transport: &Arc<dyn Transport>,
    function: &'static FunctionTable,
    items: &mut dyn Sent,
    options: CallOptions,
    has_handle: bool,
) -> Result<TaskRef, TaskError> {
    let batch = Batch {
        function,
        items,
        options,
        retries: Retries::Engine,
        guess: 0,
        timed: false,
        eager: false,
        packable: true,
        stops: true,
        accepted: false,
        owner: has_handle.then_some(transport),
        references: None,
    };
    Ok(transport.submit(batch).map_err(NotSubmitted::into_error)?.task)
}

impl Backend for RemoteBackend {
    fn defaults(&self) -> CallOptions {
        self.0.defaults()
    }

    fn gate(&self) -> Option<&Arc<Gate>> {
        self.0.gate()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn check_sandbox(&self, function: &'static str, _sandbox: Sandbox) -> Result<(), TaskError> {
        if self.0.worker_options().sandbox.is_some() {
            return Ok(());
        }
        Err(sandbox::refused(function, "and this pool has none: give it one (`ProcessPool::sandbox`)"))
    }

    fn call(&self, one: Piece<'_>, options: CallOptions) -> Result<Written, Failed> {
        submit::call(&*self.0, one, options)
    }

    fn map<'a>(
        &self,
        function: &'static FunctionTable,
        items: &mut dyn Items<'a>,
        map: &Map<'_>,
        results: &mut Results<'a>,
    ) -> Result<(), Failed> {
        match map::map(&self.0, function, items, map, results) {
            // The pool answers for all items at once.
            Err(error) if map.goes_on => {
                let count = all_of(items).len();
                *results = Results::all_failed(function.output, error, count);
                Ok(())
            }
            mapped => Ok(mapped?),
        }
    }

    fn accept(&self) -> Result<Box<dyn Any + Send>, TaskError> {
        self.0.accept(false)
    }

    fn wake_waiters(&self) {
        self.0.wake_waiters();
    }

    fn submit(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'static>,
        options: CallOptions,
    ) -> Result<TaskHandle, TaskError> {
        Ok(submit_one(&self.0, function, &mut Some(item), options, true)?.into_handle())
    }

    fn submit_scoped<'s>(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'s>,
        options: CallOptions,
    ) -> Result<Arc<dyn ScopedHandle<'s> + 's>, TaskError> {
        let mut item = Some(item);
        let task = submit_one(&self.0, function, &mut item, options, false)?;
        let end = Mutex::new(End { item, result: None });
        Ok(Arc::new(ScopedTask { transport: Arc::clone(&self.0), task, function, end }))
    }

    fn prefetch(
        &self,
        function: &'static FunctionTable,
        options: CallOptions,
        hint: (usize, Option<usize>),
        ordered: bool,
    ) -> Result<Box<dyn Prefetch>, TaskError> {
        Ok(Box::new(RemotePrefetch::new(&self.0, function, options, hint, ordered)?))
    }

    fn spawn(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'static>,
        options: CallOptions,
        _workers: WorkerOptions,
    ) -> Result<OwnTask, TaskError> {
        let Some((transport, process)) = self.0.own_process() else {
            // Each task has a process to itself there, as long as it runs.
            let handle = self.submit(function, item, options)?;
            return Ok(OwnTask { handle, process: None, can_be_killed: true });
        };
        let handle = submit_one(&transport, function, &mut Some(item), options, true)?.into_handle();
        process.wait_for_start();
        Ok(OwnTask { handle, process: Some(process), can_be_killed: true })
    }
}

/// A task that may borrow.
struct ScopedTask<'s> {
    transport: Arc<dyn Transport>,
    task: TaskRef,
    function: &'static FunctionTable,
    end: Mutex<End<'s>>,
}

struct End<'s> {
    item: Option<ErasedValue<'s>>,
    /// Whether it was read, and what nothing has taken of it.
    result: Option<Option<Result<ErasedValue<'s>, TaskError>>>,
}

impl<'s> ScopedTask<'s> {
    fn end(&self) -> MutexGuard<'_, End<'s>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the result, and copies what was changed back into the item, if it is still there.
    fn read(&self, item: Option<ErasedValue<'s>>) -> Result<ErasedValue<'s>, TaskError> {
        let outcome = submit::wait(&*self.transport, &self.task);
        let function = self.function;
        let Some(item) = item else { return result_reader::output(function, outcome) };
        let read = |item: *mut u8| {
            let read = |output: *mut u8| {
                // SAFETY: the item lies in its place, and is the piece's from here on; the output is given room for.
                let mut one = unsafe { Piece::new(function, item, output, 1) };
                result_reader::read_call(&mut one, outcome).map_err(|error| error.of(function.name))?;
                one.finish_call();
                Ok(())
            };
            // SAFETY: an output was written if there is no error; it borrows no more than the item did.
            unsafe { ErasedValue::try_write(function.output, read) }
        };
        // SAFETY: the piece takes the item over.
        unsafe { item.take(read) }
    }
}

impl<'s> ScopedHandle<'s> for ScopedTask<'s> {
    fn finish(&self) {
        let mut end = self.end();
        if end.result.is_none() {
            let item = end.item.take();
            // If reading it panics, there is none.
            end.result = Some(None);
            // By this what was changed is where the caller has it.
            end.result = Some(Some(self.read(item)));
        }
    }
    fn is_over(&self) -> bool {
        self.task.is_finished() && self.end().result.is_some()
    }
    fn failure(&self) -> Option<TaskError> {
        let mut end = self.end();
        let result = end.result.as_mut()?;
        let error = result.take_if(|result| result.is_err())?.err()?;
        (!matches!(error, TaskError::Cancelled)).then_some(error)
    }
    fn is_settled(&self) -> bool {
        // The thread that waits for it holds the lock.
        self.end.try_lock().is_ok_and(|end| end.result.as_ref().is_some_and(|result| !matches!(result, Some(Err(_)))))
    }
    fn is_finished(&self) -> bool {
        self.task.is_finished() || {
            self.transport.collect_done();
            self.task.is_finished()
        }
    }
    fn cancel(&self) -> bool {
        self.transport.cancel(&self.task)
    }
    fn kill(&self) -> bool {
        self.transport.kill_task(&self.task)
    }
    fn take(&self) -> Result<ErasedValue<'s>, TaskError> {
        self.end().result.as_mut().and_then(Option::take).unwrap_or(Err(TaskError::Cancelled))
    }
}
