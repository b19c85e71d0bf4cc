//! Where a call goes: the part of the verbs that knows no types.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::backend::serial::{Lazy, Ready, ScopedReady};
use crate::backend::{Failed, Map, OwnTask, Prefetch, Results, ScopedHandle, Target, TaskHandle};
use crate::error::TaskError;
use crate::function::erased::{ErasedValue, ErasedValues, ErasedVec, Items, all_of};
use crate::function::table::{FunctionTable, Piece, Written};
use crate::observe::progress::{Label, Meter};
use crate::options::CallOptions;
use crate::panics;
use crate::pool::Spec;
use crate::task::MapState;
use crate::wait::gate::{Gate, Room};
use crate::wait::notify::Watcher;

/// A function, a pool and options.
#[derive(Clone, Copy)]
pub(super) struct Route<'p> {
    pub(super) spec: &'static Spec,
    /// `None` for the function's own pool.
    pub(super) target: Option<&'p Target>,
    pub(super) options: CallOptions,
    /// Of the bar that shows how far a map has come.
    pub(super) label: &'p Label,
}

impl<'p> Route<'p> {
    fn target(&self) -> &'p Target {
        self.target.unwrap_or_else(|| self.spec.target())
    }

    /// The pool; an error if the call may not go there, or if what has to be done first fails.
    fn check(&self) -> Result<(&'p Target, CallOptions), TaskError> {
        self.check_on(self.target())
    }

    fn check_on<'t>(&self, target: &'t Target) -> Result<(&'t Target, CallOptions), TaskError> {
        let workers = self.spec.worker_options();
        if let Some(sandbox) = workers.sandbox {
            target.check_sandbox(self.spec.name, sandbox)?;
        }
        if let Some(init) = workers.init {
            target.prepare(init)?;
        }
        Ok((target, self.options.or(target.defaults())))
    }

    pub(super) fn runs_in_place(&self) -> bool {
        self.check().is_ok_and(|(target, _)| target.runs_in_place())
    }

    pub(super) fn call(&self, one: Piece<'_>) -> Result<Written, Failed> {
        let (target, options) = self.check()?;
        target.call(one, options)
    }

    pub(super) fn meter(&self, function: &'static FunctionTable, hint: (usize, Option<usize>)) -> Meter {
        Meter::new(self.label, function.name, hint)
    }

    pub(super) fn map<'a>(
        &self,
        function: &'static FunctionTable,
        items: &mut dyn Items<'a>,
    ) -> Result<ErasedVec<'a>, Failed> {
        let mut results = Results::new(function.output);
        let meter = self.meter(function, items.size_hint());
        let (target, options) = self.check()?;
        let stop = Arc::new(AtomicBool::new(false));
        let map = Map {
            options,
            stop: &stop,
            goes_on: false,
            accepted: false,
            in_background: false,
            ended: None,
            meter: &meter,
        };
        target.map(function, items, &map, &mut results)?;
        match results.take_first_failure() {
            Some(error) => Err(Failed::Error(error)),
            None => Ok(results.values),
        }
    }

    pub(super) fn try_map<'a>(&self, function: &'static FunctionTable, items: &mut dyn Items<'a>) -> Results<'a> {
        let mut results = Results::new(function.output);
        let meter = self.meter(function, items.size_hint());
        let stop = Arc::new(AtomicBool::new(false));
        let mapped = self.check().map_err(Failed::Error).and_then(|(target, options)| {
            let map = Map {
                options,
                stop: &stop,
                goes_on: true,
                accepted: false,
                in_background: false,
                ended: None,
                meter: &meter,
            };
            target.map(function, items, &map, &mut results)
        });
        if let Err(failed) = mapped {
            results.fail_all(failed.into_error(function.name), all_of(items).len());
        }
        results
    }

    /// Waits until there is room, if the pool's is limited.
    pub(super) fn submit(&self, function: &'static FunctionTable, item: ErasedValue<'static>) -> TaskHandle {
        let room = self.target().gate().map(|gate| {
            gate.enter();
            gate.room()
        });
        self.submit_inside(function, item, room)
    }

    /// Takes room for a task that is submitted without waiting.
    pub(super) fn try_enter(&self) -> Result<Option<Room>, NoRoom> {
        let target = self.target();
        match target.gate() {
            _ if target.is_closed() => Err(NoRoom::Closed),
            Some(gate) if !gate.try_enter() => Err(NoRoom::Full),
            gate => Ok(gate.map(Gate::room)),
        }
    }

    /// The room of the task is taken.
    pub(super) fn submit_inside(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'static>,
        room: Option<Room>,
    ) -> TaskHandle {
        let submitted = self.check().and_then(|(target, options)| target.submit(function, item, options));
        let handle = submitted.unwrap_or_else(|error| Ready::handle(Err(error)));
        if let Some(gate) = room.and_then(Room::take)
            && let Err(watcher) = handle.watch(Watcher::Gate(gate), true)
        {
            watcher.fire();
        }
        handle
    }

    pub(super) fn submit_scoped<'s>(
        &self,
        function: &'static FunctionTable,
        item: ErasedValue<'s>,
    ) -> Arc<dyn ScopedHandle<'s> + 's> {
        let submitted = self.check().and_then(|(target, options)| target.submit_scoped(function, item, options));
        submitted.unwrap_or_else(|error| Arc::new(ScopedReady::failed(error)))
    }

    pub(super) fn prefetch(
        &self,
        function: &'static FunctionTable,
        hint: (usize, Option<usize>),
        ordered: bool,
    ) -> Box<dyn Prefetch> {
        let made = self.check().and_then(|(target, options)| target.prefetch(function, options, hint, ordered));
        made.unwrap_or_else(|error| Box::new(Lazy::refused(function, error)))
    }

    pub(super) fn spawn(&self, function: &'static FunctionTable, item: ErasedValue<'static>) -> OwnTask {
        let workers = *self.spec.worker_options();
        let target = self.target();
        let processes = target.processes(function.name);
        let checked = processes.and_then(|processes| self.check_on(processes.unwrap_or(target)));
        let spawned = checked.and_then(|(target, options)| target.spawn(function, item, options, workers));
        spawned.unwrap_or_else(|error| OwnTask {
            handle: Ready::handle(Err(error)),
            process: None,
            can_be_killed: false,
        })
    }

    /// Starts a map in the background.
    pub(super) fn map_async(&self, function: &'static FunctionTable, items: &mut dyn Items<'static>) -> Arc<MapState> {
        let items = all_of(items);
        let total = items.len();
        let meter = self.meter(function, (total, Some(total)));
        let target = Arc::clone(self.target());
        // A pool that is shut down from here on still runs all of them.
        let accepted: Result<(Box<dyn Any + Send>, CallOptions), TaskError> =
            self.check().and_then(|(target, options)| Ok((target.accept()?, options)));
        let here = target.runs_in_place();
        let backend = Arc::clone(&target);
        MapState::start(function.name, total, target, here, move |state| {
            let (_accepted, options) = accepted?;
            let mut results = Results::new(function.output);
            let map = Map {
                options,
                stop: &state.stop,
                goes_on: false,
                accepted: true,
                in_background: true,
                ended: Some(&state.done),
                meter: &meter,
            };
            let mapped = backend.map(function, &mut Taken::new(items), &map, &mut results);
            mapped.map_err(|failed| failed.into_error(function.name))?;
            match results.take_first_failure() {
                Some(error) => Err(error),
                None => Ok(results.values),
            }
        })
    }
}

/// Why a task cannot be submitted without waiting.
pub(super) enum NoRoom {
    Full,
    Closed,
}

/// Items that were all taken from their source.
struct Taken {
    left: ErasedValues<'static>,
    pulled: ErasedVec<'static>,
}

impl Taken {
    fn new(items: ErasedVec<'static>) -> Self {
        Self { pulled: ErasedVec::new(items.table()), left: items.into_values() }
    }
}

impl Items<'static> for Taken {
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left.len(), Some(self.left.len()))
    }

    fn pull(&mut self, most: usize, _every: usize, _go_on: &mut dyn FnMut(u32) -> bool) -> bool {
        if self.pulled.is_empty() {
            self.pulled = self.left.take(most);
        }
        self.left.len() > 0
    }

    fn pulled(&self) -> usize {
        self.pulled.len()
    }

    fn take_pulled(&mut self) -> ErasedVec<'static> {
        let table = self.pulled.table();
        std::mem::replace(&mut self.pulled, ErasedVec::new(table))
    }
}

/// Ends a blocking verb that has no result.
#[track_caller]
pub(super) fn resume(failed: Failed, function: &str) -> ! {
    match failed {
        Failed::Panicked(caught) => match caught.into_ending() {
            Ok(error) => panics::resume(error, function),
            Err(caught) => std::panic::resume_unwind(caught.payload),
        },
        Failed::Error(error) => panics::resume(error, function),
    }
}
