//! Messages that wait for a slot.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::remote::message::Message;
use crate::remote::task_state::TaskState;

/// Those of one kind, in order.
pub(in crate::process) type Waiting = VecDeque<(Arc<TaskState>, Message<'static>)>;

/// What found no slot.
#[derive(Default)]
pub(in crate::process) struct Queue {
    pub(in crate::process) calls: Waiting,
    /// Those of `async fn`s: they do not wait for those that keep their worker, nor the other way round.
    pub(in crate::process) futures: Waiting,
    /// A thread empties it.
    pub(in crate::process) feeder: bool,
}

impl Queue {
    pub(in crate::process) fn of(&mut self, is_async: bool) -> &mut Waiting {
        if is_async { &mut self.futures } else { &mut self.calls }
    }

    pub(in crate::process) fn iter(&self) -> impl Iterator<Item = &(Arc<TaskState>, Message<'static>)> {
        self.calls.iter().chain(&self.futures)
    }

    pub(in crate::process) fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.futures.is_empty()
    }
}
