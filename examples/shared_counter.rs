//! The same counter incremented by several processes: Python's `Value`, `Array` and `Manager().dict()`.
//!
//! ```sh
//! cargo run --release --example shared_counter
//! ```

use std::time::Instant;

use parallel_runtime::{SharedArray, SharedDict, SharedValue, parallel, shared};

/// The same in the program and in every worker, without being passed.
#[shared]
static CALLS: SharedValue<u64> = SharedValue::new(0);

#[parallel(mode = "process", pool = 4)]
fn count(counter: SharedValue<u64>, by_worker: SharedDict<u32, u64>, digits: SharedArray<u64>, times: u64) {
    CALLS.update(|calls| *calls += 1);
    for number in 0..times {
        counter.update(|counter| *counter += 1);
        digits.update((number % 10) as usize, |times| *times += 1);
    }
    by_worker.update_or_insert(std::process::id(), 0, |sum| *sum += times);
}

fn main() {
    let (counter, by_worker, digits) = (SharedValue::new(0), SharedDict::new(), SharedArray::new(10));
    let begun = Instant::now();
    count::map((0..20).map(|_| (counter.clone(), by_worker.clone(), digits.clone(), 100_000)));
    let elapsed = begun.elapsed();

    println!("{} increments in {elapsed:.2?}, none lost", counter.get());
    println!("{} calls; each digit {} times", CALLS.get(), digits.get(7));
    println!("by worker process: {by_worker:?}");
    assert_eq!((counter.get(), CALLS.get()), (2_000_000, 20));
    assert!(digits.to_vec().iter().all(|times| *times == 200_000));
}
