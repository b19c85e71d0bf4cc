//! What the workers of a cluster keep.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};

use parallel_runtime::{DaskPool, SharedSlice, SharedValue, TaskError, parallel};

use super::cluster::Cluster;
use super::streams::block_on;

/// Neither `Send` nor serialisable.
struct Counter {
    count: Rc<Cell<u64>>,
    step: u64,
}

impl Counter {
    fn new() -> Self {
        Self::by(1)
    }

    fn by(step: u64) -> Self {
        Self { count: Rc::default(), step }
    }
}

/// Which worker it was, and what it has counted to.
#[parallel(mode = "dask", state = Counter::new)]
fn count(#[worker] counter: &mut Counter, add: u64) -> (u32, u64) {
    counter.count.set(counter.count.get() + add * counter.step);
    (std::process::id(), counter.count.get())
}

#[parallel(mode = "process")]
fn count_of_pool(add: u64, #[worker] counter: &Counter) -> u64 {
    counter.count.set(counter.count.get() + add * counter.step);
    counter.count.get()
}

#[parallel(mode = "dask", state = AtomicU64::default)]
async fn count_later(#[worker] counter: &AtomicU64, add: u64) -> u64 {
    counter.fetch_add(add, Ordering::Relaxed) + add
}

/// Each worker counts by itself, and forgets nothing between two tasks.
fn assert_counted_up(counted: Vec<(u32, u64)>) {
    let mut last = BTreeMap::<u32, Vec<u64>>::new();
    counted.into_iter().for_each(|(pid, value)| last.entry(pid).or_default().push(value));
    for values in last.values_mut() {
        values.sort_unstable();
        assert_eq!(*values, (1..=values.len() as u64).collect::<Vec<_>>());
    }
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_function_keeps_its_state_on_the_workers_of_a_cluster() {
    let cluster = Cluster::start(2);
    let pool = cluster.pool();
    assert_counted_up(count::on(&pool).map([1; 200]));
    let (pid, first) = count::on(&pool).submit(0).join().unwrap();
    assert!(pid != std::process::id() && first <= 200);
    assert_eq!(block_on(count_later::on(&pool).submit(1)).unwrap(), 1);
}

#[test]
#[ignore = "needs Python with `distributed`"]
fn a_pool_gives_its_workers_a_state_of_its_configuration() {
    let cluster = Cluster::start(1);
    // A slice is copied.
    let steps = SharedSlice::from_slice(&[0_u64, 10]);
    let address = cluster.address();
    let pool =
        DaskPool::connect_to(address.clone()).state_with(steps, |steps: &SharedSlice<u64>| Counter::by(steps[1]));
    let counted = count_of_pool::on(&pool).map([1, 2, 3]);
    assert!(counted.iter().all(|value| value % 10 == 0 && (10..=60).contains(value)), "{counted:?}");
    // Another configuration is another state, on the same cluster.
    let other = DaskPool::connect_to(address.clone()).state_with(7, |step: &u64| Counter::by(*step));
    assert_eq!(count_of_pool::on(&other).call(1), 7);
    // Without one there is none.
    let without = DaskPool::connect_to(address.clone());
    let missing = count_of_pool::on(&without).submit(1).join();
    assert!(
        matches!(&missing, Err(TaskError::NoState { expected, .. }) if expected.contains("Counter")),
        "{missing:?}"
    );
    // What is shared with this program alone cannot go there.
    let value = SharedValue::new(1_u64);
    let refused = DaskPool::connect_to(address).state_with(value, |value: &SharedValue<u64>| Counter::by(value.get()));
    let error = count_of_pool::on(&refused).submit(1).join().unwrap_err().to_string();
    assert!(error.contains("`state_with` cannot be sent to the cluster") && error.contains("SharedValue"), "{error}");
}
