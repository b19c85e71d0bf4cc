//! Shared types within one process: what threads do with them.

use std::path::PathBuf;
use std::time::Duration;

use parallel_runtime::{
    SharedArray, SharedBarrier, SharedDict, SharedEvent, SharedList, SharedLock, SharedQueue, SharedSemaphore,
    SharedSlice, SharedValue, SharedVec, parallel, shared,
};

#[parallel(pool = 4)]
fn double(numbers: &mut [f64]) {
    numbers.iter_mut().for_each(|number| *number *= 2.0);
}

#[test]
fn a_vector_is_changed_in_place_and_its_memory_comes_back() {
    // More than there is of it at a time.
    for round in 0..20_u32 {
        let mut data = SharedVec::from_fn(1 << 20, |index| index as f64);
        double::map(data.chunks_mut(1 << 16));
        assert!(data.iter().enumerate().all(|(index, number)| *number == 2.0 * index as f64), "{round}");
        let table: SharedSlice<f64> = data.share();
        assert_eq!(table.clone()[3], 6.0);
    }
    assert!(SharedVec::<u64>::zeroed(1 << 18).iter().all(|number| *number == 0));
}

#[shared]
static COUNT: SharedValue<u64> = SharedValue::new(0);

#[shared]
static WORDS: SharedDict<String, u64> = SharedDict::new();

#[parallel(pool = 4)]
fn count(word: &str) {
    COUNT.update(|count| *count += 1);
    WORDS.update_or_insert(word.to_owned(), 0, |count| *count += 1);
}

#[test]
fn statics_are_counted_on_by_all_threads() {
    let words = ["a", "b", "a", "c", "a"];
    count::map((0..1000).map(|item| words[item % 5]));
    assert_eq!((COUNT.get(), WORDS.get(&"a".to_owned()), WORDS.len()), (1000, Some(600), 3));
}

#[parallel(pool = 4)]
fn add(array: SharedArray<u64>, list: SharedList<PathBuf>, index: usize) {
    array.update(index % 3, |value| *value += 1);
    list.push(PathBuf::from(format!("ä{index}")));
}

#[test]
fn arrays_and_lists_take_what_threads_put_in() {
    let (array, list) = (SharedArray::new(3), SharedList::new());
    add::map((0..300).map(|index| (array.clone(), list.clone(), index)));
    assert_eq!((0..3).map(|index| array.get(index)).collect::<Vec<u64>>(), [100; 3]);
    let mut paths = list.to_vec();
    paths.sort();
    assert!(paths.len() == 300 && paths.contains(&PathBuf::from("ä299")));
}

#[parallel(pool = 2)]
fn produce(queue: SharedQueue<u64>, numbers: u64) {
    (0..numbers).for_each(|number| queue.push(number).unwrap());
    queue.close();
}

#[test]
fn a_queue_has_its_reader_wait() {
    let queue = SharedQueue::bounded(4);
    let task = produce::submit(queue.clone(), 1000);
    assert_eq!(queue.iter().sum::<u64>(), 499_500);
    task.join().unwrap();
}

#[parallel(pool = 3)]
fn meet(
    barrier: SharedBarrier,
    event: SharedEvent,
    lock: SharedLock,
    semaphore: SharedSemaphore,
    value: SharedValue<u64>,
) {
    event.wait();
    barrier.wait().unwrap();
    let _permit = semaphore.acquire();
    let _held = lock.lock();
    let before = value.get();
    std::thread::yield_now();
    value.set(before + 1);
}

#[test]
fn threads_wait_for_each_other() {
    let (barrier, event, lock) = (SharedBarrier::new(3), SharedEvent::new(), SharedLock::new());
    let (semaphore, value) = (SharedSemaphore::new(2), SharedValue::new(0_u64));
    let item = || (barrier.clone(), event.clone(), lock.clone(), semaphore.clone(), value.clone());
    let tasks: Vec<_> = (0..3).map(|_| meet::options().submit(item())).collect();
    assert!(!event.wait_timeout(Duration::from_millis(1)));
    event.set();
    tasks.into_iter().for_each(|task| task.join().unwrap());
    assert_eq!(value.get(), 3);
}
