//! Shared memory under kills, and where it goes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parallel_runtime::{
    ProcessPool, SharedArray, SharedBarrier, SharedDict, SharedEvent, SharedList, SharedLock, SharedQueue,
    SharedSemaphore, SharedSlice, SharedUsage, SharedValue, SharedVec, TaskError, parallel, shared_usage,
};
use parallel_workspace::eventually;
use serde::{Deserialize, Serialize};

use crate::hostile::Random;
use crate::storm::kill_workers;

/// One of each.
#[derive(Clone, Serialize, Deserialize)]
struct All {
    /// Four numbers that are always the same.
    value: SharedValue<[u64; 4]>,
    /// Elements of three numbers that are always the same.
    array: SharedArray<[u64; 3]>,
    /// Accounts: what is in them is always 1000 together.
    accounts: SharedDict<String, Vec<i64>>,
    /// Keys, each with what belongs to it.
    words: SharedDict<u64, String>,
    tables: SharedDict<u64, SharedSlice<u64>>,
    list: SharedList<String>,
    /// Which task, and which of its numbers.
    queue: SharedQueue<(u64, u64)>,
    frames: SharedQueue<SharedVec<u64>>,
    lock: SharedLock,
    /// Who is inside: the lock's.
    inside: SharedValue<u32>,
    semaphore: SharedSemaphore,
    barrier: SharedBarrier,
    event: SharedEvent,
}

impl All {
    fn new() -> Self {
        let all = Self {
            value: SharedValue::new([0; 4]),
            array: SharedArray::new(10),
            accounts: SharedDict::new(),
            words: SharedDict::new(),
            tables: SharedDict::new(),
            list: SharedList::new(),
            queue: SharedQueue::bounded(50),
            frames: SharedQueue::bounded(20),
            lock: SharedLock::new(),
            inside: SharedValue::new(0),
            semaphore: SharedSemaphore::new(2),
            barrier: SharedBarrier::new(2),
            event: SharedEvent::new(),
        };
        all.accounts.insert("all".to_owned(), vec![250; 4]);
        all
    }

    /// What is true at every moment.
    fn check(&self) {
        let value = self.value.get();
        assert!(value.iter().all(|part| *part == value[0]), "a torn value: {value:?}");
        for index in 0..self.array.len() {
            let element = self.array.get(index);
            assert!(element.iter().all(|part| *part == element[0]), "a torn element: {element:?}");
        }
        let accounts = self.accounts.get("all").expect("they are there");
        assert_eq!(accounts.iter().sum::<i64>(), 1000, "money is neither made nor lost: {accounts:?}");
        let words = self.words.to_map();
        assert!(words.iter().all(|(key, word)| *word == word_of(*key)), "a word of another");
        assert!(self.list.to_vec().iter().all(|word| word.chars().all(|letter| letter == 'w')));
        for (key, table) in self.tables.to_map() {
            assert!(table.iter().all(|number| *number == key), "a table of another");
        }
    }
}

fn word_of(key: u64) -> String {
    format!("word {key} ").repeat(1 + key as usize % 9)
}

static POOL: ProcessPool = ProcessPool::new(3);

/// Uses all of them. What it has done when it is killed is anything from nothing to all of it.
#[parallel(mode = "process", pool = POOL)]
fn work(all: All, task: u64) -> u64 {
    let mut random = Random(task.wrapping_mul(0x9e37_79b9).max(1));
    for number in 0..20 {
        all.value.update(|value| value.iter_mut().for_each(|part| *part += 1));
        all.array.update(random.below(10) as usize, |element| element.iter_mut().for_each(|part| *part += 1));
        all.accounts.update("all", |accounts| {
            let (from, to, amount) = (random.below(4) as usize, random.below(4) as usize, random.below(9) as i64);
            accounts[from] -= amount;
            accounts[to] += amount;
        });
        let key = random.below(200);
        if random.below(2) == 0 {
            all.words.insert(key, word_of(key));
        } else {
            all.words.remove(&key);
        }
        if random.below(3) == 0 {
            all.list.pop();
        } else {
            all.list.push("w".repeat(random.below(60) as usize));
        }
        all.queue.push((task, number)).expect("it is open");
        if random.below(4) == 0 {
            let key = random.below(20);
            if random.below(2) == 0 {
                all.tables.insert(key, SharedSlice::from_slice(&vec![key; 2000]));
            } else {
                all.tables.remove(&key);
            }
            let _ = all.frames.try_push(SharedVec::from_slice(&[task; 3000]));
            if let Ok(Some(frame)) = all.frames.try_pop() {
                assert!(frame.iter().all(|number| *number == frame[0]), "a frame of another");
            }
        }
        {
            let guard = all.lock.lock();
            if guard.is_err() {
                // The process that died may have been inside.
                all.inside.set(0);
                all.lock.clear_poison();
            } else {
                assert_eq!(all.inside.fetch_add(1), 0, "two in one lock");
                all.inside.fetch_sub(1);
            }
        }
        let permit = all.semaphore.acquire_timeout(Duration::from_secs(20)).expect("a permit comes back");
        all.event.set();
        all.event.wait();
        drop(permit);
        if number == 10 {
            // No other process need come.
            let _ = all.barrier.wait_timeout(Duration::from_millis(1));
            all.barrier.reset();
        }
    }
    task
}

#[parallel(mode = "process", pool = POOL, retries = 1000)]
fn double(numbers: &mut [u64]) {
    numbers.iter_mut().for_each(|number| *number *= 2);
}

/// So many SIGKILLs under tasks that use every kind of shared object: what is always true stays true, nothing hangs, and nothing is
/// left.
pub(crate) fn storm(kills: u64) {
    POOL.start().expect("workers start");
    let before = shared_usage();
    let all = All::new();
    let (stop, killed) = (AtomicBool::new(false), AtomicU64::new(0));
    let begun = Instant::now();
    let mut ended: HashMap<u64, bool> = HashMap::new();
    let mut numbers: HashMap<u64, Vec<u64>> = HashMap::new();
    std::thread::scope(|scope| {
        scope.spawn(|| kill_workers(&POOL, kills, 8000, &killed, &stop));
        let consumer = scope.spawn(|| {
            let mut numbers: HashMap<u64, Vec<u64>> = HashMap::new();
            while let Ok((task, number)) = all.queue.pop() {
                numbers.entry(task).or_default().push(number);
            }
            numbers
        });
        let mut next = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let tasks: Vec<_> = (next..next + 30).map(|task| (task, work::submit(all.clone(), task))).collect();
            next += 30;
            let mut shared = SharedVec::from_fn(50_000, |index| index as u64);
            double::map(shared.chunks_mut(5000));
            assert!(shared.iter().enumerate().all(|(index, number)| *number == 2 * index as u64), "doubled once each");
            all.check();
            for (task, handle) in tasks {
                match handle.join() {
                    Ok(result) => {
                        assert_eq!(result, task);
                        ended.insert(task, true);
                    }
                    Err(TaskError::WorkerDied { signal: Some(libc::SIGKILL), .. }) => {
                        ended.insert(task, false);
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
        all.queue.close();
        numbers = consumer.join().expect("the consumer ends");
    });
    all.check();
    for (task, whole) in &ended {
        let popped = numbers.remove(task).unwrap_or_default();
        assert!(popped.iter().copied().eq(0..popped.len() as u64), "each number once, in order: {popped:?}");
        assert!(!whole || popped.len() == 20, "task {task} ended, and its numbers are lost: {popped:?}");
    }
    assert!(numbers.is_empty(), "numbers of no process: {numbers:?}");
    let whole = ended.values().filter(|whole| **whole).count() as u64;
    let updates = all.value.get()[0];
    assert!((20 * whole..=20 * ended.len() as u64).contains(&updates), "{updates} updates of {whole} whole tasks");
    assert_eq!(all.semaphore.available(), 2, "permits of the dead are free");
    assert!(all.lock.lock_timeout(Duration::from_secs(5)).map_or(true, |guard| guard.is_some()), "no lock is stuck");
    println!(
        "{} kills in {:.1?}, {} of {} tasks whole, {updates} updates, all consistent; {:?}",
        killed.load(Ordering::Relaxed),
        begun.elapsed(),
        whole,
        ended.len(),
        shared_usage()
    );
    drop(all);
    assert!(eventually(|| shared_usage() == before), "memory is left: {before:?} before, {:?} now", shared_usage());
    POOL.shutdown();
}

#[parallel(mode = "process", pool = 2)]
fn hold(slice: SharedSlice<u8>, vec: SharedVec<u8>, die: bool) -> usize {
    let made = SharedVec::<u8>::zeroed(1 << 20);
    if die {
        std::process::abort();
    }
    slice.len() + vec.len() + made.len()
}

#[parallel(mode = "process", pool = 1)]
fn keep(value: SharedValue<u64>) {
    // As a static would.
    std::mem::forget(value);
}

/// The memory of an object goes with its last handle, in any process.
/// Puts slices into a list and takes them out again until it is killed.
#[parallel(mode = "process", pool = 2)]
fn shuffle(list: SharedList<SharedSlice<u8>>) {
    loop {
        list.push(SharedSlice::from_slice(&[1; 2000]));
        list.push(SharedSlice::from_slice(&[1; 100]));
        drop((list.pop(), list.pop()));
    }
}

pub(crate) fn freed() {
    let usage = |objects, bytes| {
        let mut usage = SharedUsage::default();
        (usage.objects, usage.bytes) = (objects, bytes);
        usage
    };
    let is = |objects, bytes| {
        let expected = usage(objects, bytes);
        assert!(eventually(|| shared_usage() == expected), "{expected:?} was expected, and it is {:?}", shared_usage());
    };
    is(0, 0);
    let slice = SharedVec::<u8>::zeroed(1000).share();
    is(1, 1000);
    for die in [false, true] {
        let results = hold::try_map((0..4).map(|_| (slice.clone(), SharedVec::zeroed(3000), die)));
        assert!(results.iter().all(|result| result.is_err() == die));
        is(1, 1000);
    }
    let other = slice.clone();
    drop(slice);
    is(1, 1000);
    drop(other);
    is(0, 0);
    // A result that is not read, and a task that is not waited for.
    drop(hold::submit(SharedSlice::from_slice(&[1]), SharedVec::zeroed(3000), false));
    is(0, 0);
    for _ in 0..3000 {
        // More than there are places for.
        drop(hold::submit(SharedSlice::from_slice(&[1]), SharedVec::zeroed(1), false));
    }
    is(0, 0);
    // What is in a container goes with it, or when it is taken out.
    let dict = SharedDict::new();
    dict.insert(1, SharedSlice::from_slice(&[1_u8; 5000]));
    dict.insert(2, SharedSlice::from_slice(&[1_u8; 5000]));
    let with_two = shared_usage();
    dict.insert(1, SharedSlice::from_slice(&[1_u8; 3000]));
    is(with_two.objects, with_two.bytes - 2000);
    dict.remove(&2);
    is(with_two.objects - 1, with_two.bytes - 7000);
    drop(dict);
    is(0, 0);
    // Also if the process that puts it there, or takes it out, is killed in the middle of that.
    let list = SharedList::new();
    for round in 0..200 {
        let task = shuffle::submit(list.clone());
        while !task.is_running() {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_micros(round * 17 % 1000));
        task.kill();
        assert!(task.join().is_err());
    }
    list.clear();
    assert!(eventually(|| shared_usage().objects == 1), "{:?}", shared_usage());
    drop(list);
    is(0, 0);
    // A worker that keeps a handle has the object until it ends.
    let pool = ProcessPool::new(1);
    let value = SharedValue::new(1);
    keep::on(&pool).call(value.clone());
    drop(value);
    let kept = shared_usage();
    assert_eq!(kept.objects, 1);
    pool.kill();
    is(0, 0);
    println!("freed");
}
