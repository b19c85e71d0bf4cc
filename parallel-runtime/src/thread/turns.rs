//! The futures of `async fn`s on a pool of threads.
//!
//! A future has a thread, and a permit, only while it is polled; the thread that wakes it sends it to the pool again. So a pool of N threads
//! runs any number of them, N at a time.
//!
//! The future lies in the job's `body`, but for the thread that polls it, which takes it out. The thread that ends the job meanwhile (it is
//! over its limit, it is killed) says so in the job's `state` first, and then takes what lies there; the thread that polls puts the
//! future back first, and then looks at the state: so one of the two drops it.
//! When it is sent there is the business of [`turn`](super::turn).

use std::sync::{Arc, PoisonError};
use std::task::{Poll, Wake, Waker};

use super::body::Body;
use super::counted::Running;
use super::engine::Engine;
use super::job::Job;
use super::polling::polling;
use super::turn::Turn;
use crate::function::table::ErasedFuture;
use crate::panics;
use crate::sys::fork;
use crate::wait::executor;

impl Job {
    /// Polls its future for the first time. `running` counts it until it ends.
    pub(super) fn begin_turns(self: &Arc<Self>, future: ErasedFuture, running: Option<Running<Arc<Engine>>>) {
        self.poll(Box::pin(async move {
            let _running = running;
            future.await
        }));
    }

    fn poll(self: &Arc<Self>, mut future: ErasedFuture) {
        let Some(turns) = &self.turns else { return };
        turns.begin();
        let inside = self.inside_pool();
        let waker = Waker::from(Arc::clone(self));
        let result = match polling(|| panics::catch(|| self.inside(|| executor::poll(&mut future, &waker)))) {
            Ok(Poll::Pending) => {
                *self.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(Body::Future(future));
                if self.is_done() {
                    self.drop_body();
                } else if turns.rest() {
                    self.send();
                }
                return;
            }
            Ok(Poll::Ready(value)) => Ok(value),
            Err(caught) => Err(caught.into_error(self.function())),
        };
        // By this it is not counted any more as one that runs.
        panics::discard(|| executor::inside(|| drop(future)));
        drop(inside);
        self.end_with(result);
    }

    /// Sends it to the pool once more.
    fn send(self: &Arc<Self>) {
        // In a forked child there is no thread to send it to.
        if let Some(engine) = self.engine.as_ref().filter(|_| fork::check().is_ok()) {
            let _ = engine.threads.push(Arc::clone(self) as _);
        }
    }

    /// Polls its future once more. False if it has not begun yet.
    pub(super) fn go_on(self: &Arc<Self>) -> bool {
        if !self.turns.as_ref().is_some_and(Turn::has_begun) {
            return false;
        }
        if let Some(engine) = &self.engine {
            let _permit = engine.semaphore.enter();
            if let Some(Body::Future(future)) = self.take_body() {
                self.poll(future);
            }
        }
        true
    }
}

impl Wake for Job {
    fn wake(self: Arc<Self>) {
        if self.turns.as_ref().is_some_and(Turn::wake) {
            self.send();
        }
    }
}
