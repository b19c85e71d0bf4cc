//! Everything in place, on the caller's thread: `mode = "serial"`, and calls of a process pool inside a worker.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::results::Results;
use super::traits::{
    Backend, Failed, Map, OwnTask, Prefetch, ResultSlot, ScopedHandle, Target, TaskHandle, TaskHandles,
};
use crate::error::TaskError;
use crate::function::erased::{ErasedValue, ErasedVec, Items};
use crate::function::init;
use crate::function::kept::InPool;
use crate::function::pool_state::PoolState;
use crate::function::table::{FunctionTable, Piece, Written};
use crate::options::{CallOptions, WorkerOptions};
use crate::panics;
use crate::sandbox::{self, Sandbox};
use crate::wait::notify::Watcher;

/// The caller's own thread.
#[derive(Debug, Default)]
pub(crate) struct Serial {
    /// What tasks find on it, if their pool says so.
    state: Option<Arc<PoolState>>,
    /// What starts processes for single tasks, if they are not run in place too.
    processes: Option<Target>,
}

impl Serial {
    /// For calls inside a worker: single tasks have processes of their own, which this starts.
    pub(crate) fn in_worker(state: Option<Arc<PoolState>>, processes: Target) -> Self {
        Self { state, processes: Some(processes) }
    }

    fn in_pool(&self) -> InPool {
        InPool::new(self.state.as_ref())
    }
}

/// Runs an item right here, and catches its panic.
///
/// # Safety
///
/// The value is an item of this function.
unsafe fn run_caught<'a>(
    function: &'static FunctionTable,
    item: ErasedValue<'a>,
) -> Result<ErasedValue<'a>, TaskError> {
    // SAFETY: as the caller promises.
    panics::catch(|| unsafe { function.call(item) }).map_err(|caught| caught.into_error(function.name))
}

/// Runs the items of a vector one after the other. With `catches` a panic is the result of its item; otherwise it goes on.
fn run_all<'a>(function: &'static FunctionTable, mut items: ErasedVec<'a>, catches: bool, results: &mut Results<'a>) {
    let count = items.len();
    results.values.reserve(count);
    // SAFETY: the items are the piece's from here on.
    unsafe { items.set_len(0) };
    let outputs = results.values.at(results.values.len());
    // SAFETY: `count` items of the function lie there, which nothing else has; there is room for as many outputs.
    let mut piece = unsafe { Piece::new(function, items.at(0), outputs, count) };
    loop {
        let caught = if catches {
            panics::catch(|| piece.run()).err()
        } else {
            piece.run();
            None
        };
        let len = results.values.len() + piece.hand_over();
        // SAFETY: so many outputs lie there by now, and the piece has handed them over.
        unsafe { results.values.set_len(len) };
        match caught {
            Some(caught) => results.fail(caught.into_error(function.name)),
            None => return,
        }
    }
}

impl Backend for Serial {
    fn defaults(&self) -> CallOptions {
        CallOptions::NONE
    }

    fn runs_in_place(&self) -> bool {
        true
    }

    fn check_sandbox(&self, function: &'static str, sandbox: Sandbox) -> Result<(), TaskError> {
        if sandbox::confines_us(sandbox) {
            return Ok(());
        }
        Err(sandbox::refused(
            function,
            "and this process has not that one: do not call it inside a worker of another kind, nor in place",
        ))
    }

    fn processes(&self, function: &'static str) -> Result<Option<&Target>, TaskError> {
        if self.processes.is_some() && sandbox::is_confined() {
            return Err(TaskError::Spawn(std::io::Error::other(format!(
                "`{function}` was to run in a process of its own, and a worker in a sandbox may not start any: call the function instead, \
                 which runs it in place"
            ))));
        }
        Ok(self.processes.as_ref())
    }

    fn prepare(&self, init: fn()) -> Result<(), TaskError> {
        panics::catch(|| init::once_in_process(init)).map_err(panics::Caught::into_init_error)
    }

    fn call(&self, mut one: Piece<'_>, _options: CallOptions) -> Result<Written, Failed> {
        let _in_pool = self.in_pool();
        one.run();
        one.finish().ok_or(Failed::Error(TaskError::Cancelled))
    }

    fn map<'a>(
        &self,
        function: &'static FunctionTable,
        items: &mut dyn Items<'a>,
        map: &Map<'_>,
        results: &mut Results<'a>,
    ) -> Result<(), Failed> {
        // One at a time: an iterator may look at what earlier items have done.
        loop {
            if map.is_stopped() {
                return Err(Failed::Error(TaskError::Cancelled));
            }
            let goes_on = items.pull(1, 1, &mut |_| true);
            let item = items.take_pulled();
            if item.is_empty() {
                return Ok(());
            }
            let _in_pool = self.in_pool();
            if map.in_background {
                let run = || run_all(function, item, false, results);
                panics::catch(run).map_err(Failed::Panicked)?;
            } else {
                let before = results.lens().1;
                run_all(function, item, map.goes_on, results);
                map.tell_failed(results.lens().1 - before);
            }
            map.tell(1);
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn accept(&self) -> Result<Box<dyn Any + Send>, TaskError> {
        Ok(Box::new(()))
    }

    fn submit(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'static>,
        _options: CallOptions,
    ) -> Result<TaskHandle, TaskError> {
        let _in_pool = self.in_pool();
        // SAFETY: the item is one of this function, as all that is submitted for it.
        Ok(Ready::handle(unsafe { run_caught(function, item) }))
    }

    fn submit_scoped<'s>(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'s>,
        _options: CallOptions,
    ) -> Result<Arc<dyn ScopedHandle<'s> + 's>, TaskError> {
        let _in_pool = self.in_pool();
        // SAFETY: the item is one of this function, as all that is submitted for it.
        Ok(Arc::new(ScopedReady(ResultSlot::new(Some(unsafe { run_caught(function, item) })))))
    }

    fn prefetch(
        &self,
        function: &'static FunctionTable,
        _options: CallOptions,
        _hint: (usize, Option<usize>),
        _ordered: bool,
    ) -> Result<Box<dyn Prefetch>, TaskError> {
        let state = self.state.clone();
        Ok(Box::new(Lazy { function, first: 0, items: ErasedVec::new(function.item), refused: None, state }))
    }

    fn spawn(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'static>,
        options: CallOptions,
        _workers: WorkerOptions,
    ) -> Result<OwnTask, TaskError> {
        Ok(OwnTask { handle: self.submit(function, item, options)?, process: None, can_be_killed: false })
    }
}

/// A task whose result was there at once.
pub(crate) struct Ready(Mutex<Option<Result<ErasedValue<'static>, TaskError>>>);

impl Ready {
    pub(crate) fn handle(result: Result<ErasedValue<'static>, TaskError>) -> TaskHandle {
        TaskHandle::alone(Arc::new(Self(Mutex::new(Some(result)))))
    }
}

impl TaskHandles for Ready {
    fn wait(
        self: Arc<Self>,
        _index: u32,
        _deadline: Option<Instant>,
    ) -> Option<Result<ErasedValue<'static>, TaskError>> {
        let result = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Some(result.unwrap_or(Err(TaskError::Cancelled)))
    }
    fn is_finished(&self, _index: u32) -> bool {
        true
    }
    fn is_running(self: Arc<Self>, _index: u32) -> bool {
        false
    }
    fn cancel(self: Arc<Self>, _index: u32) -> bool {
        false
    }
    fn kill(self: Arc<Self>, _index: u32) -> bool {
        false
    }
    fn watch(self: Arc<Self>, _index: u32, watcher: Watcher, _attend: bool) -> Result<(), Watcher> {
        Err(watcher)
    }
    fn has_result(&self) -> bool {
        true
    }
    fn has_failed(&self, _index: u32) -> bool {
        matches!(*self.0.lock().unwrap_or_else(PoisonError::into_inner), Some(Err(_)))
    }
}

/// The same for a task that may borrow.
pub(crate) struct ScopedReady<'s>(ResultSlot<'s>);

impl<'s> ScopedReady<'s> {
    pub(crate) fn failed(error: TaskError) -> Self {
        Self(ResultSlot::new(Some(Err(error))))
    }
}

impl<'s> ScopedHandle<'s> for ScopedReady<'s> {
    fn finish(&self) {}
    fn is_over(&self) -> bool {
        true
    }
    fn failure(&self) -> Option<TaskError> {
        self.0.failure()
    }
    fn is_settled(&self) -> bool {
        self.0.is_settled()
    }
    fn is_finished(&self) -> bool {
        true
    }
    fn cancel(&self) -> bool {
        false
    }
    fn kill(&self) -> bool {
        false
    }
    fn take(&self) -> Result<ErasedValue<'s>, TaskError> {
        self.0.take()
    }
}

/// Items that run when their results are asked for; or that get an error each.
pub(crate) struct Lazy {
    function: &'static FunctionTable,
    /// The number of the first item.
    first: usize,
    items: ErasedVec<'static>,
    /// Why none of them is run.
    refused: Option<TaskError>,
    /// Of their pool.
    state: Option<Arc<PoolState>>,
}

impl Lazy {
    /// Each item gets an error.
    pub(crate) fn refused(function: &'static FunctionTable, error: TaskError) -> Self {
        Self { function, first: 0, items: ErasedVec::new(function.item), refused: Some(error), state: None }
    }
}

impl Prefetch for Lazy {
    fn room(&mut self) -> usize {
        usize::from(self.items.is_empty())
    }

    fn send(&mut self, items: ErasedVec<'static>) {
        self.items = items;
    }

    fn has_arrived(&self) -> bool {
        !self.items.is_empty()
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn take(&mut self) -> Option<(usize, Results<'static>)> {
        let items = std::mem::replace(&mut self.items, ErasedVec::new(self.function.item));
        let (first, count) = (self.first, items.len());
        if count == 0 {
            return None;
        }
        self.first += count;
        let mut results = Results::new(self.function.output);
        match &self.refused {
            Some(TaskError::Spawn(error)) => {
                results.fail_all(TaskError::Spawn(std::io::Error::other(error.to_string())), count);
            }
            Some(_) => {
                let error = self.refused.replace(TaskError::Cancelled).unwrap_or(TaskError::Cancelled);
                results.fail_all(error, count);
            }
            None => {
                let _in_pool = InPool::new(self.state.as_ref());
                run_all(self.function, items, true, &mut results);
            }
        }
        Some((first, results))
    }

    fn wait(&self) {}

    fn is_lazy(&self) -> bool {
        true
    }
}
