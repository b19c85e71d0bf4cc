//! `SharedLock`, `SharedEvent`, `SharedBarrier`, `SharedSemaphore`.

use std::time::Duration;

use parallel_runtime::{
    BrokenBarrier, Poisoned, SharedBarrier, SharedEvent, SharedLock, SharedQueue, SharedSemaphore, SharedValue,
    TaskError, parallel,
};

#[test]
fn a_lock_lets_one_in_at_a_time() {
    #[parallel(mode = "process", pool = 3)]
    fn enter(lock: SharedLock, inside: SharedValue<u32>, most: SharedValue<u32>) {
        for _ in 0..200 {
            let _guard = lock.lock().unwrap();
            most.fetch_max(inside.fetch_add(1) + 1);
            inside.fetch_sub(1);
        }
    }
    let (lock, inside, most) = (SharedLock::new(), SharedValue::new(0), SharedValue::new(0));
    enter::map((0..3).map(|_| (lock.clone(), inside.clone(), most.clone())));
    assert_eq!(most.get(), 1);
    let guard = lock.lock().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            assert!(lock.try_lock().unwrap().is_none());
            assert!(lock.lock_timeout(Duration::from_millis(10)).unwrap().is_none());
        });
    });
    drop(guard);
    assert!(lock.try_lock().unwrap().is_some());
    let guard = lock.lock().unwrap();
    assert!(lock.try_lock().unwrap().is_none(), "this very thread holds it");
    drop(guard);
    assert!(lock.try_lock().unwrap().is_some());
}

#[test]
fn a_lock_whose_holder_died_is_poisoned() {
    #[parallel(mode = "process", pool = 1)]
    fn die(lock: SharedLock, semaphore: SharedSemaphore) {
        let _guard = lock.lock().unwrap();
        let _permit = semaphore.acquire();
        std::process::abort()
    }
    let (lock, semaphore) = (SharedLock::new(), SharedSemaphore::new(1));
    assert!(die::try_map([(lock.clone(), semaphore.clone())])[0].is_err());
    assert_eq!(lock.lock().unwrap_err(), Poisoned);
    assert_eq!(lock.try_lock().unwrap_err(), Poisoned);
    lock.clear_poison();
    drop(lock.lock().unwrap());
    // Its permit is free again.
    assert!(semaphore.try_acquire().is_some());
    assert_eq!(semaphore.available(), 1);
}

#[test]
fn an_event_releases_all_who_wait() {
    #[parallel(mode = "process", pool = 2)]
    fn wait(ready: SharedQueue<u32>, event: SharedEvent) -> bool {
        ready.push(1).unwrap();
        event.wait();
        event.is_set()
    }
    let (ready, event) = (SharedQueue::bounded(2), SharedEvent::new());
    let tasks = [wait::submit(ready.clone(), event.clone()), wait::submit(ready.clone(), event.clone())];
    assert_eq!((ready.pop(), ready.pop()), (Ok(1), Ok(1)));
    assert!(!event.wait_timeout(Duration::from_millis(10)));
    assert!(tasks.iter().all(|task| !task.is_finished()));
    event.set();
    for task in tasks {
        assert!(task.join().unwrap());
    }
    assert!(event.wait_timeout(Duration::ZERO));
    event.clear();
    assert!(!event.is_set());
}

#[test]
fn a_semaphore_lets_so_many_in() {
    #[parallel(mode = "process", pool = 4)]
    fn enter(semaphore: SharedSemaphore, inside: SharedValue<u32>, most: SharedValue<u32>) {
        for _ in 0..100 {
            let _permit = semaphore.acquire();
            most.fetch_max(inside.fetch_add(1) + 1);
            std::thread::yield_now();
            inside.fetch_sub(1);
        }
    }
    let (semaphore, inside, most) = (SharedSemaphore::new(2), SharedValue::new(0), SharedValue::new(0));
    enter::map((0..4).map(|_| (semaphore.clone(), inside.clone(), most.clone())));
    assert!((1..=2).contains(&most.get()));
    let permits = [semaphore.acquire(), semaphore.acquire()];
    assert!(semaphore.try_acquire().is_none());
    assert!(semaphore.acquire_timeout(Duration::from_millis(10)).is_none());
    drop(permits);
    assert_eq!(semaphore.available(), 2);
}

#[test]
fn all_leave_a_barrier_when_all_have_come_round_after_round() {
    #[parallel(mode = "process", pool = 3)]
    fn rounds(barrier: SharedBarrier, counter: SharedValue<u64>) -> (bool, u32) {
        let (mut right, mut led) = (true, 0);
        for round in 1..=50 {
            counter.fetch_add(1);
            led += u32::from(barrier.wait().unwrap());
            right &= counter.get() == 3 * round;
            led += u32::from(barrier.wait().unwrap());
        }
        (right, led)
    }
    let (barrier, counter) = (SharedBarrier::new(3), SharedValue::new(0));
    let results = rounds::map((0..3).map(|_| (barrier.clone(), counter.clone())));
    assert!(results.iter().all(|(right, _)| *right));
    assert_eq!(results.iter().map(|(_, led)| led).sum::<u32>(), 100);
    assert_eq!((barrier.parties(), barrier.is_broken()), (3, false));
}

#[test]
fn a_barrier_is_broken_when_one_that_waits_there_dies_or_has_waited_too_long() {
    #[parallel(mode = "process", pool = 2, timeout = "300ms")]
    fn wait_for_ever(barrier: SharedBarrier) {
        let _ = barrier.wait();
    }
    let barrier = SharedBarrier::new(3);
    let died = wait_for_ever::try_map([barrier.clone()]);
    assert!(matches!(died[0], Err(TaskError::TimedOut { .. })));
    assert_eq!(barrier.wait(), Err(BrokenBarrier));
    assert!(barrier.is_broken());
    barrier.reset();
    assert_eq!(barrier.wait_timeout(Duration::from_millis(10)), Err(BrokenBarrier));
    barrier.reset();
    std::thread::scope(|scope| {
        let waits: Vec<_> = (0..3).map(|_| scope.spawn(|| barrier.wait())).collect();
        let leaders = waits.into_iter().filter(|_| true).map(|wait| wait.join().unwrap().unwrap());
        assert_eq!(leaders.filter(|leader| *leader).count(), 1);
    });
}

#[test]
fn a_barrier_is_broken_by_a_death_also_if_no_other_waits_there() {
    #[parallel(mode = "process", pool = 1)]
    fn wait(ready: SharedEvent, alive: SharedLock, barrier: SharedBarrier) {
        let _alive = alive.lock();
        ready.set();
        let _ = barrier.wait();
    }
    let pool = parallel_runtime::ProcessPool::new(1);
    for asked in [true, false] {
        let (ready, alive, barrier) = (SharedEvent::new(), SharedLock::new(), SharedBarrier::new(2));
        let task = wait::on(&pool).submit((ready.clone(), alive.clone(), barrier.clone()));
        ready.wait();
        task.kill();
        assert!(task.join().is_err());
        assert_eq!(alive.lock().unwrap_err(), Poisoned, "its process is gone");
        // It may have been on its way there: then this one waits for it in vain.
        assert!(!asked || barrier.is_broken() || barrier.wait_timeout(Duration::ZERO).is_err());
        assert_eq!(barrier.wait_timeout(Duration::from_secs(1)), Err(BrokenBarrier));
    }
}

#[test]
fn an_event_that_is_set_back_at_once_has_released_who_waited() {
    #[parallel(mode = "process", pool = 1)]
    fn wait(ready: SharedQueue<u32>, event: SharedEvent) -> bool {
        ready.push(1).unwrap();
        event.wait_timeout(Duration::from_secs(60))
    }
    let (ready, event) = (SharedQueue::bounded(1), SharedEvent::new());
    let task = wait::submit(ready.clone(), event.clone());
    ready.pop().unwrap();
    // It is about to wait, or waits: one of the pulses finds it there.
    while !task.is_finished() {
        event.set();
        event.clear();
        std::thread::yield_now();
    }
    assert!(task.join().unwrap());
    assert!(!event.is_set());
}

#[test]
fn poison_shows_before_the_lock_is_taken_and_can_be_cleared() {
    #[parallel(mode = "process", pool = 1)]
    fn die(lock: SharedLock) {
        let _guard = lock.lock().unwrap();
        std::process::abort()
    }
    let lock = SharedLock::new();
    assert!(die::try_map([lock.clone()])[0].is_err());
    assert!(lock.is_poisoned());
    lock.clear_poison();
    assert!(!lock.is_poisoned());
    drop(lock.lock().unwrap());
}

#[test]
fn a_guard_that_was_forgotten_says_nothing_about_another_lock() {
    // A new lock often lies where the one before was.
    for _ in 0..20 {
        let lock = SharedLock::new();
        std::mem::forget(lock.lock().unwrap());
    }
    for _ in 0..20 {
        let (lock, inside) = (SharedLock::new(), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _guard = lock.lock().unwrap();
                inside.wait();
            });
            inside.wait();
            drop(lock.lock().unwrap());
        });
    }
}

#[test]
fn locking_twice_names_the_line_and_the_way_out() {
    #[parallel(mode = "process", pool = 1)]
    fn twice(lock: SharedLock) {
        let _guard = lock.lock().unwrap();
        let _again = lock.lock();
    }
    let result = twice::try_map([SharedLock::new()]).remove(0);
    let Err(TaskError::Panicked { message, location: Some(location), .. }) = result else { panic!("{result:?}") };
    assert!(message.contains("drop its guard first"), "{message}");
    assert!(location.contains("sync.rs"), "{location}");
}

#[test]
fn what_is_broken_says_what_to_do_when_it_is_unwrapped() {
    assert!(format!("{Poisoned:?}").contains("clear_poison"));
    assert!(format!("{BrokenBarrier:?}").contains("reset"));
}

#[test]
fn a_permit_can_be_taken_by_one_process_and_given_back_by_another() {
    #[parallel(mode = "process", pool = 1)]
    fn take_and_die(semaphore: SharedSemaphore) {
        semaphore.acquire().forget();
        std::process::abort();
    }
    #[parallel(mode = "process", pool = 1)]
    fn give(semaphore: SharedSemaphore) -> (bool, bool) {
        (semaphore.release(), semaphore.release())
    }
    let semaphore = SharedSemaphore::with_limit(1, 2);
    assert!(take_and_die::try_map([semaphore.clone()])[0].is_err());
    assert!(semaphore.try_acquire().is_none(), "a permit that was forgotten is not its process'");
    let waits = std::thread::scope(|scope| {
        let waits = scope.spawn(|| semaphore.acquire_timeout(Duration::from_secs(60)).is_some());
        assert_eq!(give(semaphore.clone()), (true, true));
        waits.join().unwrap()
    });
    assert!(waits);
    assert_eq!((semaphore.available(), semaphore.release()), (2, false));
    assert!(std::panic::catch_unwind(|| SharedSemaphore::new(0)).is_err());
}
