//! `async fn`: awaited where it is called.

use super::function::OwnedFn;
use super::verbs::Call;
use crate::panics;
use crate::task::Task;

/// What an annotated `async fn` does.
pub async fn awaited<F: OwnedFn>(item: F::Owned) -> F::Output {
    let call = Call::<F>::new();
    if call.is_here() {
        // No thread is held up: neither the caller's executor, nor what else runs on this worker.
        return F::future(item).await;
    }
    /// A caller that goes away does not want the result.
    struct Wanted<R: Send + 'static>(Task<R>);
    impl<R: Send + 'static> Drop for Wanted<R> {
        fn drop(&mut self) {
            self.0.cancel();
        }
    }
    let mut wanted = Wanted(call.submit_awaited(item));
    match (&mut wanted.0).await {
        Ok(value) => value,
        Err(error) => panics::resume(error, F::NAME),
    }
}
