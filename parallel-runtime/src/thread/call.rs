//! Calls and maps: what waits for its results.

use std::marker::PhantomData;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::counted::{Counted, Entered, place};
use super::engine::Engine;
use super::map::{self, MapJob};
use super::prepared;
use crate::backend::{Failed, Map, Results};
use crate::error::TaskError;
use crate::function::erased::ErasedVec;
use crate::function::table::{FunctionTable, Piece, Stops, Written};
use crate::observe::{CallSpan, Fate, Run, Seen, timeline};
use crate::panics;
use crate::sys::clock;

impl Engine {
    /// Runs a piece of one item on this very thread, as one of the pool's tasks; on one of the pool's if they have an `init`, or the function a state.
    pub(super) fn call(&self, mut one: Piece<'_>) -> Result<Written, Failed> {
        let lost = || Failed::Error(TaskError::Cancelled);
        // A nested call belongs to a task that was admitted, and must run even while the pool is shutting down.
        if self.semaphore.is_held() {
            one.run();
            return one.finish().ok_or_else(lost);
        }
        let table = one.table();
        let span = CallSpan::open(table.name, 1, &self.pool);
        let seen = self.admit(false)?.counters.submit(table.name, 1, span.clone());
        let counted = Counted::new(self, seen);
        let run = move || {
            let _permit = self.semaphore.enter();
            let _inside = self.inside();
            // It ends before the permit does: so no more run than there are permits.
            let mut counted = counted;
            counted.begin_call();
            self.prepare(table)?;
            span.inside(|| one.run());
            counted.fate = Fate::Done;
            one.finish().ok_or_else(lost)
        };
        if !self.needs_own_thread(table) {
            return run();
        }
        // On a thread that has been prepared.
        self.check().map_err(TaskError::Spawn)?;
        let mut result = None;
        let job = || result = Some(panics::catch(run));
        prepared::run(&self.threads, vec![Box::new(job)]).map_err(TaskError::Spawn)?;
        match result {
            Some(Ok(result)) => result,
            Some(Err(caught)) => Err(Failed::Panicked(caught)),
            None => Err(lost()),
        }
    }

    /// Runs all items, and gives their results in order.
    pub(super) fn map<'a>(
        &self,
        function: &'static FunctionTable,
        items: ErasedVec<'a>,
        map: &Map<'_>,
        results: &mut Results<'a>,
    ) -> Result<(), Failed> {
        self.check().map_err(TaskError::Spawn)?;
        let nested = self.semaphore.is_held();
        let (name, count) = (function.name, items.len() as u32);
        let mut counted = None;
        let span = CallSpan::open(name, count, &self.pool);
        if !nested {
            let seen = self.admit(map.accepted)?.counters.submit(name, count, span.clone());
            counted = Some(Counted::new(self, seen));
        }
        let begin = || {
            let now = clock::now();
            timeline::begin_on_thread(self.pool, name, place(), now);
            now
        };
        let record = |began: u64, items: usize, fate: Fate| {
            let (items, weight, span) = (items as u32, 1, CallSpan::none());
            let seen = Seen { function: name, items, submitted: began, weight, span };
            timeline::task(self.pool, &seen, Some(Run { began, ended: clock::now(), place: place(), pid: 0 }), fate);
        };
        if let Some(counted) = &mut counted {
            counted.begin();
        }
        let enter = || {
            let (permit, inside) = (self.semaphore.enter(), self.inside());
            self.prepare(function).map(|()| Entered { _permit: permit, _inside: inside, _engine: PhantomData })
        };
        let ended = |items: usize| map.tell(items);
        let failed = || map.tell_failed(1);
        let job = MapJob {
            function,
            enter: &enter,
            stops: Stops { stop: map.stop, killed: &self.killed },
            goes_on: map.goes_on,
            limit: map.options.timeout,
            begin: &begin,
            record: &record,
            span: &span,
            ended: map.is_told().then_some(&ended),
            failed: &failed,
            done: Mutex::default(),
        };
        let smallest_piece = map.options.chunk.unwrap_or(1);
        let mut unshared = None;
        let mapped = job.run(items, |len, run| {
            let shared = self.share_out(function, len, smallest_piece, map.stop, run);
            unshared = shared.err();
        });
        let mapped = unshared.map_or(mapped, |error| Err(Failed::Error(TaskError::Spawn(error))));
        if let Some(mut counted) = counted {
            counted.fate = match &mapped {
                Ok(_) => Fate::Done,
                Err(Failed::Error(TaskError::Cancelled)) => Fate::Cancelled,
                Err(_) => Fate::Failed,
            };
            counted.end_recorded_elsewhere();
        }
        *results = mapped?;
        Ok(())
    }

    /// Has ranges of so many items run, each index in one of them.
    fn share_out(
        &self,
        function: &FunctionTable,
        len: usize,
        smallest_piece: usize,
        stop: &AtomicBool,
        run: &(dyn Fn(usize, usize) + Sync),
    ) -> std::io::Result<()> {
        let nested = self.semaphore.is_held();
        if nested && self.workers == 1 {
            // The one permit is ours: nothing else could run the items.
            run(0, len);
            return Ok(());
        }
        if self.needs_own_thread(function) {
            return prepared::share_out((&self.threads, self.workers), len, smallest_piece, stop, run);
        }
        let split = || map::split_on_rayon(len, smallest_piece, run);
        if nested && rayon::current_thread_index().is_some() {
            // A piece of another map: with the threads of that.
            split();
            return Ok(());
        }
        match self.rayon_pools.run(self.workers, split) {
            Ok(Ok(())) => Ok(()),
            // Others are using all permits.
            Ok(Err(split)) => {
                split();
                Ok(())
            }
            Err(error) => {
                stop.store(true, Ordering::Relaxed);
                // What is not run is to be dropped.
                run(0, len);
                Err(error)
            }
        }
    }
}
