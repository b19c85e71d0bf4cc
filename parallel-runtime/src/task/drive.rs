//! `async fn`: awaited where it is called, driven to its end where it runs.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use super::Task;
use crate::call::Call;
use crate::function::OwnedFn;
use crate::panics;

/// What an annotated `async fn` does.
pub async fn awaited<F: OwnedFn>(item: F::Owned) -> F::Output {
    /// A caller that goes away does not want the result.
    struct Wanted<R: Send + 'static>(Task<R>);
    impl<R: Send + 'static> Drop for Wanted<R> {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let mut wanted = Wanted(Call::<F>::new().submit_owned(item));
    match (&mut wanted.0).await {
        Ok(value) => value,
        Err(error) => panics::resume(error, F::spec().name),
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future to its end on this thread. With the feature `tokio` inside a tokio runtime.
pub fn drive<F: Future>(future: F) -> F::Output {
    #[cfg(feature = "tokio")]
    return in_tokio::drive(future);
    #[cfg(not(feature = "tokio"))]
    park_until_ready(future)
}

/// The smallest executor.
fn park_until_ready<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(feature = "tokio")]
mod in_tokio {
    use std::io;
    use std::sync::OnceLock;

    use tokio::runtime::{Builder, Handle, Runtime};

    fn started(runtime: &io::Result<Runtime>) -> &Runtime {
        match runtime {
            Ok(runtime) => runtime,
            Err(error) => panic!("a tokio runtime for the body of an `async fn` cannot be started: {error}"),
        }
    }

    pub(super) fn drive<F: Future>(future: F) -> F::Output {
        std::thread_local! {
            static OWN: io::Result<Runtime> = Builder::new_current_thread().enable_all().build();
        }
        if Handle::try_current().is_err() {
            return OWN.with(|own| started(own).block_on(future));
        }
        // A call that runs in place (`PARALLEL_MODE=serial`) holds up the thread of the caller's runtime, which may be its only one:
        // so the clock and the sockets are those of another.
        static OTHER: OnceLock<io::Result<Runtime>> = OnceLock::new();
        let other = OTHER.get_or_init(|| Builder::new_multi_thread().worker_threads(1).enable_all().build());
        let _entered = started(other).enter();
        super::park_until_ready(future)
    }
}
