//! What holds for any items, sizes and slices: on threads and in processes.

use std::collections::BTreeMap;
use std::sync::Arc;

use parallel_runtime::{ProcessPool, SharedSlice, SharedVec, TaskError, ThreadPool, parallel};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

static PROCESSES: ProcessPool = ProcessPool::new(2);
static THREADS: ThreadPool = ThreadPool::new(2);

#[parallel(pool = PROCESSES, mode = "process")]
fn mix(number: u64) -> u64 {
    number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17)
}

#[parallel(pool = PROCESSES, mode = "process")]
fn even_only(number: u16) -> u16 {
    if !number.is_multiple_of(2) {
        // A panic without a word on standard error.
        std::panic::resume_unwind(Box::new(format!("odd: {number}")));
    }
    number / 2
}

/// Everything that serde knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Value {
    Nothing,
    Number(i64),
    Fraction(f32),
    Text(String),
    Letter(char),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Named { map: BTreeMap<String, Option<u16>>, flag: bool },
}

#[parallel(pool = PROCESSES, mode = "process")]
fn echo(value: Value) -> Value {
    value
}

#[parallel(pool = PROCESSES, mode = "process")]
fn add(part: &mut [u32], number: u32) {
    part.iter_mut().for_each(|each| *each = each.wrapping_add(number));
}

#[parallel(pool = PROCESSES, mode = "process")]
fn sum(slice: &[u32], table: SharedSlice<u32>, from: usize) -> (u64, bool) {
    (slice.iter().copied().map(u64::from).sum(), table[from..from + slice.len()] == *slice)
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nothing),
        any::<i64>().prop_map(Value::Number),
        (-1e9_f32..1e9).prop_map(Value::Fraction),
        ".{0,20}".prop_map(Value::Text),
        any::<char>().prop_map(Value::Letter),
        vec(any::<u8>(), 0..5000).prop_map(Value::Bytes),
        (btree_map("[a-z]{0,5}", any::<Option<u16>>(), 0..4), any::<bool>())
            .prop_map(|(map, flag)| Value::Named { map, flag }),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| vec(inner, 0..6).prop_map(Value::List))
}

/// Places at which a slice of this length is cut, in order.
fn cuts(len: usize) -> impl Strategy<Value = Vec<usize>> {
    vec(0..=len, 0..12).prop_map(move |mut cuts| {
        cuts.extend([0, len]);
        cuts.sort_unstable();
        cuts
    })
}

/// The parts between the cuts, some of them empty.
fn parts<'s>(mut slice: &'s mut [u32], cuts: &[usize]) -> Vec<&'s mut [u32]> {
    let mut parts = Vec::new();
    for pair in cuts.windows(2) {
        let (part, rest) = slice.split_at_mut(pair[1] - pair[0]);
        parts.push(part);
        slice = rest;
    }
    parts
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn map_gives_what_a_loop_gives_whatever_the_chunks_are(items in vec(any::<u64>(), 0..3000), chunk in 1_usize..200) {
        let expected: Vec<u64> = items.iter().map(|item| mix::inline(*item)).collect();
        prop_assert_eq!(&mix::map(items.clone()), &expected);
        prop_assert_eq!(&mix::options().chunk(chunk).map(items.clone()), &expected);
        prop_assert_eq!(&mix::on(&THREADS).map(items.clone()), &expected);
        prop_assert_eq!(&mix::on(&THREADS).chunk(chunk).map_async(items).join().unwrap(), &expected);
    }

    #[test]
    fn imap_gives_all_in_order_and_unordered_each_once(items in vec(any::<u64>(), 0..2000), chunk in 1_usize..200, taken in 0_usize..2000) {
        let expected: Vec<u64> = items.iter().map(|item| mix::inline(*item)).collect();
        let some: Vec<u64> = mix::options().chunk(chunk).imap(items.clone()).take(taken).map(Result::unwrap).collect();
        prop_assert_eq!(&some[..], &expected[..taken.min(expected.len())]);
        for results in [
            mix::imap_unordered(items.clone()).collect::<Vec<_>>(),
            mix::on(&THREADS).chunk(chunk).imap_unordered(items).collect(),
        ] {
            let mut results: Vec<(usize, u64)> = results.into_iter().map(|(index, result)| (index, result.unwrap())).collect();
            results.sort_unstable();
            prop_assert!(results.into_iter().eq(expected.iter().copied().enumerate()));
        }
    }

    #[test]
    fn each_item_that_fails_costs_itself(items in vec(any::<u16>(), 0..300), chunk in 1_usize..50) {
        for results in [even_only::options().chunk(chunk).try_map(items.clone()), even_only::on(&THREADS).try_map(items.clone())] {
            prop_assert_eq!(results.len(), items.len());
            for (item, result) in items.iter().zip(results) {
                match result {
                    Ok(half) => prop_assert_eq!(half, item / 2),
                    Err(TaskError::Panicked { message, .. }) => prop_assert_eq!(message, format!("odd: {item}")),
                    Err(other) => prop_assert!(false, "{}", other),
                }
            }
        }
    }

    #[test]
    fn any_value_crosses_and_comes_back(values in vec(values(), 0..20)) {
        prop_assert_eq!(&echo::map(values.clone()), &values);
        let tasks: Vec<_> = values.iter().cloned().map(echo::submit).collect();
        for (task, value) in tasks.into_iter().zip(values) {
            prop_assert_eq!(task.join().unwrap(), value);
        }
    }

    #[test]
    fn parts_of_any_slice_are_changed_where_they_lie((len, cuts) in (0_usize..40_000).prop_flat_map(|len| (Just(len), cuts(len))), number: u32) {
        let expected: Vec<u32> = (0..len as u32).map(|index| index.wrapping_add(number)).collect();
        let mut shared = SharedVec::from_fn(len, |index| index as u32);
        add::map(parts(&mut shared, &cuts).into_iter().map(|part| (part, number)));
        prop_assert_eq!(&shared[..], &expected[..]);
        let mut copied: Vec<u32> = (0..len as u32).collect();
        add::map(parts(&mut copied, &cuts).into_iter().map(|part| (part, number)));
        prop_assert_eq!(&copied[..], &expected[..]);
    }

    #[test]
    fn slices_that_overlap_are_read_by_all(len in 1_usize..20_000, ranges in vec((0_usize..20_000, 0_usize..20_000), 1..30)) {
        let table = SharedVec::from_fn(len, |index| index as u32 % 1000).share();
        let plain: Arc<[u32]> = table.iter().copied().collect();
        let ranges: Vec<_> = ranges.into_iter().map(|(from, to)| (from.min(to).min(len), from.max(to).min(len))).collect();
        let sums = sum::map(ranges.iter().map(|(from, to)| (&table[*from..*to], table.clone(), *from)));
        for ((from, to), sums) in ranges.into_iter().zip(sums) {
            let expected: u64 = plain[from..to].iter().copied().map(u64::from).sum();
            prop_assert_eq!(sums, (expected, true));
        }
    }
}
