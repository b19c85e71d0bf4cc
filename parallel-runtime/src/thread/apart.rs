//! Items of which each is a task of its own: those with a time limit, and those of `async fn`s.
//!
//! A thread cannot be ended. A task that holds no borrows of its caller's is left to itself when its time is over: the caller gets
//! `TimedOut`, the thread runs on and keeps its place in the pool. A task that holds borrows must be waited for, whatever
//! it takes; its caller learns afterwards that it took too long.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body::Body;
use super::engine::Engine;
use crate::backend::{Failed, Map, Results};
use crate::error::TaskError;
use crate::function::erased::{ErasedValue, ErasedVec};
use crate::function::table::{FunctionTable, Piece, Written};

/// Takes the only item of a piece, which borrows nothing.
fn take_item(one: &mut Piece<'_>) -> ErasedValue<'static> {
    let table = one.table();
    assert!(table.borrows_nothing, "only what borrows nothing is taken from its caller");
    let place = one.give_item();
    // SAFETY: the item lies there, and belongs to nothing by now; it borrows nothing, and items are `Send`.
    unsafe { ErasedValue::from_place(table.item, place) }
}

/// Runs one item.
pub(super) fn call_limited(engine: &Arc<Engine>, mut one: Piece<'_>, limit: Duration) -> Result<Written, Failed> {
    // A nested call goes on under the permit of the task that makes it.
    if !one.table().borrows_nothing || engine.semaphore.is_held() {
        let (output, name, place) = (one.table().output, one.table().name, one.output());
        let begun = Instant::now();
        let written = engine.call(one)?;
        if begun.elapsed() <= limit {
            return Ok(written);
        }
        // SAFETY: the output was written there, and its caller is not told of it.
        unsafe { output.drop_values(place, 1) };
        return Err(Failed::Error(TaskError::timed_out(limit).of(name)));
    }
    let function = one.table();
    let item = take_item(&mut one);
    // SAFETY: the item is one of this function.
    let body = unsafe { Body::of(function, item) };
    let job = engine.submit(function, Some(limit), false, body, None)?;
    let value = job.wait(None).unwrap_or(Err(TaskError::Cancelled))?;
    // SAFETY: it is an output of the function, for which there is room in the caller's memory.
    unsafe { value.move_to(one.output()) };
    // SAFETY: it was just written.
    unsafe { one.note_output() };
    one.finish().ok_or(Failed::Error(TaskError::Cancelled))
}

/// Runs all items of a map, each as a task of its own.
pub(super) fn map_apart<'a>(
    engine: &Arc<Engine>,
    function: &'static FunctionTable,
    items: ErasedVec<'a>,
    map: &Map<'_>,
    results: &mut Results<'a>,
) -> Result<(), Failed> {
    let limit = map.options.timeout;
    if !function.borrows_nothing || (!map.in_background && engine.semaphore.is_held()) {
        // They are waited for, and those that took too long have failed afterwards.
        return engine.map(function, items, map, results);
    }
    let stop = map.in_background.then_some(map.stop);
    let mut jobs = Vec::with_capacity(items.len());
    for one in items.into_each() {
        // SAFETY: an item that borrows nothing lives as long as it likes.
        let one = unsafe { std::mem::transmute::<ErasedVec<'a>, ErasedVec<'static>>(one) };
        let Some(item) = one.into_value() else { continue };
        // SAFETY: the item is one of this function.
        let body = unsafe { Body::of(function, item) };
        jobs.push(engine.submit(function, limit, map.accepted, body, stop.cloned())?);
    }
    let mut failed = None;
    for job in jobs {
        if map.in_background && map.is_stopped() {
            failed = failed.or(Some(TaskError::Cancelled));
        }
        if failed.is_some() && job.cancel() {
            continue;
        }
        let result = job.wait(None).unwrap_or(Err(TaskError::Cancelled));
        map.tell_failed(usize::from(result.is_err()));
        map.tell(1);
        match result {
            // SAFETY: it is an output of this function.
            Ok(value) => unsafe { results.values.push_value(value) },
            Err(error) if map.goes_on => results.fail(error),
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(()), |error| Err(Failed::Error(error)))
}
