//! Results as they come, wherever the functions run: `as_completed`, `wait`, `imap`, streams, futures, callbacks, scopes. The table is
//! in `tests/support`; what is particular to some pools is here.

#[macro_use]
#[path = "../../support/streams.rs"]
mod table;

mod many;
mod panics;
mod pools;
mod waits;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use parallel_runtime::Task;

use crate::pools::TestPool;

pub(crate) use table::{Runs, block_on};

/// A waker that does something else.
struct Rude<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for Rude<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

fn poll_once<R: Send + 'static>(task: &mut Task<R>, wake: impl Fn() + Send + Sync + 'static) {
    let waker = Waker::from(Arc::new(Rude(wake)));
    assert!(Pin::new(task).poll(&mut Context::from_waker(&waker)).is_pending());
}

streams!(threads, TestPool::threads(2));
streams!(one_thread, TestPool::threads(1));
streams!(processes, TestPool::processes(2));
streams!(one_process, TestPool::processes(1));
streams!(own, TestPool::Own);
