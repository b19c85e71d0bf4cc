//! Processes that wait for each other: event, semaphore, barrier. A wake-up that is lost is a deadlock here, which loom finds.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

use crate::shared::space::Space;
use crate::shared::sync::barrier::SharedBarrier;
use crate::shared::sync::event::SharedEvent;
use crate::shared::sync::semaphore::SharedSemaphore;

fn check(preemptions: usize, test: impl Fn([Space; 3]) + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(move || test(Space::of_each()));
}

#[test]
fn waiters_for_an_event_go_on_when_it_is_set() {
    check(3, |[ours, one, other]| {
        let event = SharedEvent::new();
        let threads = [one, other].map(|space| {
            let event = event.clone();
            thread::spawn(move || {
                space.begin();
                event.wait();
                assert!(event.is_set());
            })
        });
        ours.begin();
        event.set();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_permit_has_one_holder_at_a_time_and_every_wait_ends() {
    struct Guarded(UnsafeCell<u32>);
    // SAFETY: it is touched with the permit only, which is what loom checks here.
    unsafe impl Sync for Guarded {}
    // SAFETY: it is not bound to a thread.
    unsafe impl Send for Guarded {}

    check(2, |[ours, one, other]| {
        let (semaphore, count) = (SharedSemaphore::new(1), Arc::new(Guarded(UnsafeCell::new(0))));
        let add = |semaphore: &SharedSemaphore, count: &Guarded| {
            let _permit = semaphore.acquire();
            // SAFETY: this thread has the only permit.
            count.0.with_mut(|count| unsafe { *count += 1 });
        };
        let threads = [one, other].map(|space| {
            let (semaphore, count) = (semaphore.clone(), Arc::clone(&count));
            thread::spawn(move || {
                space.begin();
                add(&semaphore, &count);
            })
        });
        ours.begin();
        add(&semaphore, &count);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let _permit = semaphore.acquire();
        // SAFETY: as above.
        assert_eq!(count.0.with(|count| unsafe { *count }), 3);
    });
}

#[test]
fn what_one_process_releases_another_gets() {
    check(3, |[ours, one, _]| {
        let semaphore = SharedSemaphore::with_limit(0, 1);
        let taker = {
            let semaphore = semaphore.clone();
            thread::spawn(move || {
                one.begin();
                semaphore.acquire().forget();
            })
        };
        ours.begin();
        assert!(semaphore.release());
        taker.join().unwrap();
        assert_eq!(semaphore.available(), 0);
    });
}

#[test]
fn the_permit_of_a_dead_process_goes_to_one_of_those_who_want_it() {
    check(3, |[ours, dead, other]| {
        let semaphore = SharedSemaphore::new(1);
        ours.begin();
        let dead = {
            let semaphore = semaphore.clone();
            thread::spawn(move || {
                dead.begin();
                std::mem::forget(semaphore.acquire());
                Space::current().end();
            })
        };
        dead.join().unwrap();
        let taken = Arc::new(AtomicU32::new(0));
        let thread = {
            let (semaphore, taken) = (semaphore.clone(), Arc::clone(&taken));
            thread::spawn(move || {
                other.begin();
                if let Some(permit) = semaphore.try_acquire() {
                    taken.fetch_add(1, Ordering::SeqCst);
                    std::mem::forget(permit);
                }
            })
        };
        if let Some(permit) = semaphore.try_acquire() {
            taken.fetch_add(1, Ordering::SeqCst);
            std::mem::forget(permit);
        }
        thread.join().unwrap();
        assert_eq!(taken.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn all_pass_a_barrier_and_one_of_them_came_last() {
    check(2, |[ours, one, _]| {
        let barrier = SharedBarrier::new(2);
        let other = {
            let barrier = barrier.clone();
            thread::spawn(move || {
                one.begin();
                [barrier.wait().unwrap(), barrier.wait().unwrap()]
            })
        };
        ours.begin();
        let ours = [barrier.wait().unwrap(), barrier.wait().unwrap()];
        let theirs = other.join().unwrap();
        assert!(ours[0] != theirs[0] && ours[1] != theirs[1]);
    });
}
