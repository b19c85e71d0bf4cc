//! Many items: packed into batches whose size adapts to how long an item takes.
//!
//! Two or more batches for each worker are under way, so that none waits for the program. A batch may come back before its
//! end: a result did not fit, an item failed, or the worker died. Results of items that were done are good; what had not started
//! is sent again.

use std::sync::Arc;

use super::batch_queue::{BatchQueue, Manner};
use super::transport::Transport;
use crate::backend::batch_policy::{BatchPolicy, FUTURES_OF_A_MAP};
use crate::backend::{Map, Results};
use crate::error::TaskError;
use crate::function::erased::Items;
use crate::function::table::FunctionTable;

/// Runs all items. Unless the map goes on, nothing more is started once an item is known to have failed; when what runs has
/// ended, the first failure is the result.
pub(super) fn map<'a>(
    transport: &Arc<dyn Transport>,
    function: &'static FunctionTable,
    items: &mut dyn Items<'a>,
    map: &Map<'_>,
    results: &mut Results<'a>,
) -> Result<(), TaskError> {
    transport.prepare()?;
    // It ends after the batches.
    let _accepted = transport.accept(map.accepted)?;
    let futures = (function.is_async(), FUTURES_OF_A_MAP);
    let hint = items.size_hint();
    let policy = BatchPolicy::of(transport.granularity(), futures, transport.workers(), map.options.chunk, hint);
    let manner = if map.goes_on { Manner::GoesOn } else { Manner::StopsAtFailure };
    results.values.reserve(hint.0.min(MOST_RESERVED));
    let mut batches = BatchQueue::new(transport, function, map.options, policy, true, manner)?;
    let _inside = transport.enter_map();
    let mut exhausted = false;
    let mut failing = false;
    let mut told = 0;

    loop {
        if failing {
            if batches.unfinished() == 0 {
                return Err(batches.first_failure().unwrap_or(TaskError::Cancelled));
            }
        } else {
            let before = results.lens().1;
            batches.give(results)?;
            map.tell_failed(results.lens().1 - before);
        }
        while !exhausted && !failing && batches.unfinished() < batches.policy.window() && !batches.front_has_arrived() {
            if map.is_stopped() {
                return Err(TaskError::Cancelled);
            }
            let count = batches.policy.next();
            exhausted = !items.pull(count, usize::MAX, &mut |_| true);
            let batch = items.take_pulled();
            if !batch.is_empty() {
                batches.send(batch);
            }
        }
        let ended = batches.ended;
        if ended > told {
            map.tell(ended - std::mem::replace(&mut told, ended));
        }
        if batches.is_empty() {
            // Nothing was left to send, or nothing ever was.
            return Ok(());
        }
        if !failing && batches.front_has_arrived() {
            // It could not even be sent.
            continue;
        }

        let mut stopped = false;
        transport.wait_until(None, &mut || {
            transport.collect_done();
            stopped = map.is_stopped();
            stopped || batches.any_finished()
        });
        if stopped {
            return Err(TaskError::Cancelled);
        }
        if batches.collect(!map.goes_on, failing) && !map.goes_on && !failing {
            failing = true;
            batches.cancel_waiting();
        }
    }
}

/// An iterator may promise more items than there is memory for.
const MOST_RESERVED: usize = 1 << 24;
