//! The kernel, as far as what processes share needs it.

pub(crate) mod sync {
    pub(crate) use loom::sync::atomic;
    pub(crate) use loom::thread::yield_now;

    pub(crate) struct UnsafeCell<T>(loom::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::cell::UnsafeCell::new(value))
        }

        pub(crate) fn with_mut<R>(&self, with: impl FnOnce(*mut T) -> R) -> R {
            self.0.with_mut(with)
        }
    }

    pub(crate) fn between_ordered_steps() {
        atomic::fence(atomic::Ordering::SeqCst);
    }

    pub(crate) fn patience(_rounds: u32) -> u32 {
        0
    }
}

/// No thread looks twice before sleeping here.
pub(crate) mod spin {
    pub(crate) fn spin(mut done: impl FnMut() -> bool) -> bool {
        done()
    }
}

pub(crate) mod fork {
    pub(crate) fn check() -> std::io::Result<()> {
        Ok(())
    }
}

/// Sleeping on a word. No thread wakes by itself here, as the runtime's sleepers do after a while: so a wake-up that is lost is a
/// deadlock, which loom finds.
pub(crate) mod futex {
    use std::time::Instant;

    use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};
    use loom::sync::{Condvar, Mutex};

    loom::lazy_static! {
        static ref QUEUE: (Mutex<()>, Condvar) = (Mutex::new(()), Condvar::new());
    }

    pub(crate) fn wait(word: &AtomicU32, expected: u32, _deadline: Option<Instant>) {
        let queue = QUEUE.0.lock().unwrap();
        if word.load(Ordering::SeqCst) == expected {
            drop(QUEUE.1.wait(queue));
        }
    }

    pub(crate) fn wait_low(word: &AtomicU64, expected: u64, _deadline: Option<Instant>) {
        let queue = QUEUE.0.lock().unwrap();
        if word.load(Ordering::SeqCst) == expected {
            drop(QUEUE.1.wait(queue));
        }
    }

    /// Any of those who sleep may be on this word: so all are, as the kernel may wake any of them at any time.
    pub(crate) fn wake(_word: &AtomicU32, _count: u32) {
        let _queue = QUEUE.0.lock().unwrap();
        QUEUE.1.notify_all();
    }

    pub(crate) fn wake_all(word: &AtomicU32) {
        wake(word, u32::MAX);
    }

    pub(crate) fn wake_low(_word: &AtomicU64, count: u32) {
        let _queue = QUEUE.0.lock().unwrap();
        (0..count).for_each(|_| QUEUE.1.notify_one());
    }
}
