//! Running the future of an `async fn`: to its end, or one poll at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use super::blocking::released;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end on this thread. With the feature `tokio` inside a tokio runtime, whose clock and sockets are looked after by a
/// thread of its own: a call that runs in place (`PARALLEL_MODE=serial`) may hold up the only thread of the caller's.
pub fn drive<F: Future>(future: F) -> F::Output {
    #[cfg(feature = "tokio")]
    let _entered = in_tokio::beside().enter();
    park_until_ready(future)
}

/// Runs something that belongs to a future, such as its destructor, where it is polled.
pub(crate) fn inside<R>(run: impl FnOnce() -> R) -> R {
    #[cfg(feature = "tokio")]
    let _entered = in_tokio::beside().enter();
    run()
}

/// Polls a future; with the feature `tokio` inside a tokio runtime, which has threads of its own for the clock and for sockets.
pub(crate) fn poll<R>(future: &mut Pin<Box<impl Future<Output = R> + ?Sized>>, waker: &Waker) -> Poll<R> {
    #[cfg(feature = "tokio")]
    let _entered = in_tokio::beside().enter();
    future.as_mut().poll(&mut Context::from_waker(waker))
}

/// The smallest executor.
fn park_until_ready<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            // It may wait for a task that needs what this thread holds.
            Poll::Pending => released(std::thread::park),
        }
    }
}

#[cfg(feature = "tokio")]
mod in_tokio {
    use std::io;
    use std::sync::OnceLock;

    use tokio::runtime::{Builder, Runtime};

    /// A runtime whose thread nothing holds up.
    pub(super) fn beside() -> &'static Runtime {
        static BESIDE: OnceLock<io::Result<Runtime>> = OnceLock::new();
        let start = || {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(1).thread_name("parallel-tokio").enable_time();
            // In a sandbox there are no sockets to look after, and what it takes to do so is not allowed either.
            if !crate::sandbox::is_confined() {
                builder.enable_io();
            }
            builder.build()
        };
        match BESIDE.get_or_init(start) {
            Ok(runtime) => runtime,
            Err(error) => panic!("a tokio runtime for the body of an `async fn` cannot be started: {error}"),
        }
    }
}
