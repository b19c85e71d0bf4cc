//! A program for any system, whose pool of threads leaves a timeline behind and shows how far a map has come.

use std::collections::BTreeSet;

use parallel_runtime::{SharedDict, SharedValue, parallel, shared};

#[shared]
static CALLS: SharedValue<u64> = SharedValue::new(0);

#[parallel(pool = 2)]
fn digits(number: u64) -> String {
    CALLS.update(|calls| *calls += 1);
    number.to_string()
}

#[parallel(pool = 2)]
async fn later(number: u64) -> u64 {
    number + 1
}

fn main() {
    let call = digits::options();
    #[cfg(feature = "progress")]
    let call = call.progress("digits");
    let results = call.map(0..1000_u64);
    assert!(results.iter().enumerate().all(|(number, text)| *text == number.to_string()));
    assert_eq!(CALLS.get(), 1000);
    let lengths = SharedDict::new();
    results.iter().for_each(|text| drop(lengths.insert(text.len() as u64, text.clone())));
    let lengths: BTreeSet<u64> = lengths.to_map().into_keys().collect();
    assert_eq!(lengths, BTreeSet::from([1, 2, 3]));
    assert_eq!(later::map([1, 2]), [2, 3]);
    println!("{} calls", CALLS.get());
}
