//! The lock that outlives its holder.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use crate::shared::lock::{Holding, Lock, Taken};
use crate::shared::space::Space;

struct Guarded {
    lock: Lock,
    count: UnsafeCell<u32>,
}

// SAFETY: what the lock guards is touched by its holder only, which is what loom checks here.
unsafe impl Sync for Guarded {}
// SAFETY: it is not bound to a thread.
unsafe impl Send for Guarded {}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Self { lock: Lock::default(), count: UnsafeCell::new(0) })
    }

    fn add(&self, space: &Space) {
        let (_holding, _) = Holding::briefly(&self.lock, space);
        // SAFETY: this thread holds the lock.
        self.count.with_mut(|count| unsafe { *count += 1 });
    }
}

#[test]
fn one_at_a_time_holds_a_lock_and_sleepers_are_woken() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let guarded = Guarded::new();
        let [ours, one, other] = Space::of_each();
        let others = [one, other].map(|space| {
            let guarded = Arc::clone(&guarded);
            thread::spawn(move || guarded.add(&space))
        });
        guarded.add(&ours);
        others.into_iter().for_each(|other| other.join().unwrap());
        let (_holding, _) = Holding::briefly(&guarded.lock, &ours);
        // SAFETY: this thread holds the lock.
        assert_eq!(guarded.count.with(|count| unsafe { *count }), 3);
    });
}

#[test]
fn the_lock_of_a_dead_process_goes_to_one_of_those_who_want_it_and_it_is_told() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let lock = Arc::new(Lock::default());
        let mended = Arc::new(AtomicU32::new(0));
        let [dead, one, other] = Space::of_each();
        std::mem::forget(Holding::briefly(&lock, &dead));
        // The kernel has ended the process; those who look from now on see it.
        dead.end();
        let threads = [one, other].map(|space| {
            let (lock, mended) = (Arc::clone(&lock), Arc::clone(&mended));
            thread::spawn(move || {
                let (_holding, taken) = Holding::briefly(&lock, &space);
                if taken == Taken::FromTheDead {
                    mended.fetch_add(1, Ordering::Relaxed);
                }
                // The thread that comes second finds it mended.
                assert_eq!(mended.load(Ordering::Relaxed), 1);
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
