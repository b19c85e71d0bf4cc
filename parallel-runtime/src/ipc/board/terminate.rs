//! How the program ends a worker for one task, without harm to another.
//!
//! A task has run out of time, or is killed. Between the decision and the worker's end the task may complete, and the
//! worker might begin another one, which would then die for nothing. So the worker is marked *terminating* first:
//!
//! ```text
//!   program                              worker
//!   terminating = 1                        the task is done (word, or progress within a message)
//!   look: does it still run the task?    look at `terminating`
//!   yes: end it                          0: begin the next task, or the next item
//!   no: terminating = 0, wake it           1: sleep while it is 1
//! ```
//!
//! Both write before they look, and all four steps are sequentially consistent: at least one of the two sees what the other
//! wrote. So if the program ends the worker, then the worker has begun nothing after the task that it is ended for.
//!
//! In the same way a worker is ended that has nothing, and claims nothing although tasks wait: the program looks whether it has claimed
//! something since the mark was set, the worker looks at the mark after it has claimed, and before it begins. What it claims too late it does
//! not begin, and the program publishes it again.
//!
//! A worker that dies meanwhile needs nothing: the program sets `terminating` back before the next one starts. A worker that
//! ignores the word (it is hostile) may begin another task, and that task then ends as "worker died".

use crate::sys::sync::atomic::{AtomicU32, Ordering};
use crate::sys::sync::between_ordered_steps;

/// Program: begins to terminate a worker for what it runs. True if `still_runs` says that it does, after which the worker begins nothing
/// else; otherwise the worker is pardoned, and `wake` wakes it.
pub(crate) fn terminate(terminating: &AtomicU32, still_runs: impl FnOnce() -> bool, wake: impl FnOnce()) -> bool {
    terminating.store(1, Ordering::SeqCst);
    between_ordered_steps();
    if still_runs() {
        return true;
    }
    terminating.store(0, Ordering::SeqCst);
    wake();
    false
}

/// Worker: whether it may begin the next task, after it has said that the last one is done.
#[inline(always)]
pub(crate) fn is_terminating(terminating: &AtomicU32) -> bool {
    between_ordered_steps();
    terminating.load(Ordering::SeqCst) != 0
}
