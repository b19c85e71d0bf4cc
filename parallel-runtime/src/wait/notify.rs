//! Who is told when a task ends, beside the threads that sleep until it does.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use super::condvar::Condvar;
use super::gate::Gate;
use crate::panics;
use crate::sys::fork;

/// What is done when a task ends.
pub(crate) enum Watcher {
    /// Wakes a future.
    Waker(Waker),
    /// Notes the task, by its number, as one that has ended.
    Ready(Arc<Ready>, usize),
    /// Raises a signal.
    Signal(Arc<Signal>),
    /// Makes room for another task.
    Gate(Arc<Gate>),
    /// Calls back.
    Call(Box<dyn FnOnce() + Send>),
}

impl Watcher {
    /// To be called without a lock.
    pub(crate) fn fire(self) {
        match self {
            Self::Waker(waker) => waker.wake(),
            Self::Ready(ready, index) => ready.push(index),
            Self::Signal(signal) => signal.raise(),
            Self::Gate(gate) => gate.leave(),
            Self::Call(call) => call_back(call),
        }
    }

    /// Whether a watcher is left, now that `next` is one.
    fn is_wanted_beside(&self, next: &Self) -> bool {
        match self {
            Self::Ready(ready, _) => !ready.closed.load(Ordering::Relaxed),
            // A future is polled often, and each time says whom to wake: the last one counts.
            Self::Waker(_) => !matches!(next, Self::Waker(_)),
            Self::Signal(_) | Self::Gate(_) | Self::Call(_) => true,
        }
    }
}

/// The watchers of one task: most have none.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "every task has one of these, and it should be small")]
pub(crate) struct Watchers(Option<Box<Vec<Watcher>>>);

impl Watchers {
    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Adds one. Gives those that are not wanted any more, to be dropped without a lock: a waker may be anything.
    #[must_use]
    pub(crate) fn add(&mut self, watcher: Watcher) -> Vec<Watcher> {
        let Some(watchers) = &mut self.0 else {
            self.0 = Some(Box::new(vec![watcher]));
            return Vec::new();
        };
        let unwanted = watchers.extract_if(.., |other| !other.is_wanted_beside(&watcher)).collect();
        watchers.push(watcher);
        unwanted
    }

    pub(crate) fn append(&mut self, others: Self) {
        match (&mut self.0, others.0) {
            (Some(watchers), Some(mut others)) => watchers.append(&mut others),
            (Some(_), None) => {}
            (none, others) => *none = others,
        }
    }

    /// Fires those that run no code but ours, and keeps the others.
    pub(crate) fn fire_ours(&mut self) {
        let Some(watchers) = &mut self.0 else { return };
        watchers.extract_if(.., |watcher| matches!(watcher, Watcher::Ready(..))).for_each(Watcher::fire);
        if watchers.is_empty() {
            self.0 = None;
        }
    }

    /// To be called without a lock. A waker that panics harms nothing: this may be the thread that looks after all pools.
    pub(crate) fn fire(self) {
        for watcher in self.0.into_iter().flat_map(|watchers| *watchers) {
            panics::discard(|| watcher.fire());
        }
    }
}

/// Tasks that have ended, for one who waits for several.
#[derive(Default)]
pub(crate) struct Ready {
    /// No thread waits any more.
    pub(crate) closed: AtomicBool,
    pub(crate) ended: Mutex<VecDeque<usize>>,
    pub(crate) more: Condvar,
}

impl Ready {
    fn push(&self, index: usize) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push_back(index);
        self.more.notify_one();
    }

    pub(crate) fn pop(&self) -> Option<usize> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

/// Says that one of several tasks has ended, to a future that looks which.
#[derive(Default)]
pub(crate) struct Signal(Mutex<Option<Waker>>);

impl Signal {
    /// Who is woken next. To be set before one looks.
    pub(crate) fn set(&self, waker: &Waker) {
        let next = Some(waker.clone());
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), next);
        drop(before);
    }

    fn raise(&self) {
        let waker = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

type Call = Box<dyn FnOnce() + Send>;

/// Has the thread for that call back: the thread that finds that a task has ended may have no time.
pub(crate) fn call_back(call: Call) {
    static CALLS: Mutex<Option<Sender<Call>>> = Mutex::new(None);
    if fork::check().is_err() {
        // That thread is the parent's.
        panics::discard(call);
        return;
    }
    let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = match &*calls {
        Some(thread) => match thread.send(call) {
            Ok(()) => return,
            Err(failed) => failed.0,
        },
        None => call,
    };
    let (sender, receiver) = channel::<Call>();
    let work = move || {
        for call in receiver {
            // Its text has been printed by the panic hook.
            panics::discard(call);
        }
    };
    if std::thread::Builder::new().name("parallel-callbacks".to_owned()).spawn(work).is_ok() {
        let _ = sender.send(failed);
        *calls = Some(sender);
    } else {
        drop(calls);
        // Better here than never.
        panics::discard(failed);
    }
}
