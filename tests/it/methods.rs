//! Annotated methods.

use parallel_runtime::{ProcessPool, parallel};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Counter {
    value: u64,
}

#[parallel]
impl Counter {
    const STEP: u64 = 2;

    fn new(value: u64) -> Self {
        Self { value }
    }

    /// By shared reference.
    #[parallel(mode = "process", pool = 2)]
    fn plus(&self, other: u64) -> u64 {
        self.value + other + Self::STEP - 2
    }

    /// By exclusive reference.
    #[parallel(mode = "process", pool = 2)]
    fn bump(&mut self, by: u64) -> u64 {
        self.value += by;
        self.helper()
    }

    /// By value, and giving `Self`.
    #[parallel(mode = "process", pool = 2)]
    fn merged(self, others: &[Self]) -> Self {
        Self::new(self.value + others.iter().map(|other| other.value).sum::<u64>())
    }

    /// Without a receiver, on threads.
    #[parallel(pool = 2)]
    fn make(value: u64) -> Self {
        Self::new(value)
    }

    #[parallel(pool = 2)]
    fn borrowed(&self) -> &u64 {
        &self.value
    }

    fn helper(&self) -> u64 {
        self.value * 10
    }
}

struct Wrapper<T>(T);

#[parallel]
impl<T: Clone + Send + Sync> Wrapper<T> {
    #[parallel(pool = 2)]
    fn twice<U: Send>(&self, other: U) -> (T, T, U) {
        (self.0.clone(), self.0.clone(), other)
    }
}

#[test]
fn methods_are_called_as_methods() {
    let mut counter = Counter::new(1);
    assert_eq!(counter.plus(4), 5);
    assert_eq!(counter.bump(4), 50);
    assert_eq!(counter.value, 5, "what the worker changed came back");
    assert_eq!(*counter.borrowed(), 5);
    assert_eq!(counter.merged(&[Counter::new(1), Counter::new(2)]), Counter::new(8));
    assert_eq!(Counter::make(3), Counter::new(3));
    assert_eq!(Wrapper('x').twice(1), ('x', 'x', 1));
}

#[test]
fn the_verbs_of_a_method_stand_beside_the_block() {
    assert_eq!(Counter_plus::map([(&Counter::new(1), 1), (&Counter::new(2), 2)]), [2, 4]);
    assert_eq!(Counter_plus::submit(Counter::new(3), 3).join().unwrap(), 6);
    let mut counters = [Counter::new(1), Counter::new(2)];
    assert_eq!(Counter_bump::map(counters.iter_mut().map(|counter| (counter, 1))), [20, 30]);
    assert_eq!(counters, [Counter::new(2), Counter::new(3)]);
    assert_eq!(Counter_make::map([1, 2]), [Counter::new(1), Counter::new(2)]);
    assert_eq!(Counter_merged::inline(Counter::new(1), &[]), Counter::new(1));
    let pool = ProcessPool::new(1);
    assert_eq!(Counter_plus::on(&pool).call((&Counter::new(5), 5)), 10);
    assert_eq!(Wrapper_twice::<u8, u8>::map([(&Wrapper(1), 2)]), [(1, 1, 2)]);
}

#[test]
fn the_verbs_of_a_method_are_found_at_its_type() {
    let (one, two) = (Counter::new(1), Counter::new(2));
    assert_eq!(Counter::plus_call().map([(&one, 1), (&two, 2)]), [2, 4]);
    assert_eq!(Counter::make_call().submit(3).join().unwrap(), Counter::new(3));
    assert_eq!(Counter::plus_call().retries(1).submit((one, 5)).join().unwrap(), 6);
    assert_eq!(Wrapper::<u8>::twice_call::<u16>().call((&Wrapper(1), 2)), (1, 1, 2));
}

#[parallel]
impl Counter {
    /// Owns what it works on.
    #[parallel(mode = "process", pool = 1)]
    async fn later(self, by: u64) -> u64 {
        self.value + by
    }
}

#[test]
fn an_async_method_that_owns_its_receiver_is_awaited() {
    let future = Counter::new(2).later(3);
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let sum = loop {
        if let std::task::Poll::Ready(sum) = future.as_mut().poll(&mut context) {
            break sum;
        }
        std::thread::yield_now();
    };
    assert_eq!(sum, 5);
    assert_eq!(Counter::later_call().map([(Counter::new(1), 1), (Counter::new(2), 2)]), [2, 4]);
}
