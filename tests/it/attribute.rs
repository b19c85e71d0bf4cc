//! What may be annotated.

#![allow(dead_code, reason = "some functions only have to compile")]

use std::collections::HashMap;
use std::fmt::Debug;

use parallel_runtime::{Call, ParallelFn, ProcessPool, ThreadPool, parallel};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

static THREADS: ThreadPool = ThreadPool::new(2);
static PROCESSES: ProcessPool = ProcessPool::new(2);

#[parallel(pool = THREADS)]
fn on_static_threads(x: u32) -> u32 {
    x + 1
}

#[parallel(pool = PROCESSES, mode = "process")]
fn on_static_processes(x: u32) -> u32 {
    x + std::process::id()
}

#[test]
fn a_static_pool_is_used() {
    assert_eq!(on_static_threads(1), 2);
    assert!(PROCESSES.worker_pids().is_empty() || PROCESSES.workers() == 2);
    let pid = on_static_processes(0);
    assert!(PROCESSES.worker_pids().contains(&pid));
}

#[parallel(mode = "process", pool = 0)]
fn on_a_pool_of_zero(x: u32) -> u32 {
    x + 1
}

#[test]
fn a_pool_of_zero_is_one_worker_per_cpu() {
    assert_eq!(on_a_pool_of_zero::map(0..10), (1..11).collect::<Vec<_>>());
    assert_eq!(ProcessPool::new(0).workers(), parallel_runtime::cpu_count());
    assert_eq!(ThreadPool::new(0).workers(), parallel_runtime::cpu_count());
}

/// Every key that each system has.
#[parallel(
    mode = "process",
    pool = 2,
    timeout = "60s",
    retries = 2,
    chunk = 3,
    max_tasks_per_worker = 1_000_000,
    init = prepare,
    crate = "::parallel_runtime"
)]
fn with_every_key(x: u32) -> u32 {
    x
}

fn prepare() {}

#[test]
fn every_key_is_understood() {
    assert_eq!(with_every_key::map(0..10), (0..10).collect::<Vec<_>>());
}

#[parallel]
fn generic<T: Debug + Send>(value: T) -> String {
    format!("{value:?}")
}

#[parallel(mode = "process", pool = 2)]
fn generic_process<T, const N: usize>(value: T, others: &[T]) -> Vec<T>
where
    T: Serialize + DeserializeOwned + Clone + Send + Sync,
{
    let mut all = vec![value; N];
    all.extend_from_slice(others);
    all
}

#[parallel(mode = "serial")]
fn generic_serial<K: Ord + Send + Clone, V: Send>(mut pairs: Vec<(K, V)>) -> Vec<K> {
    pairs.sort_by_key(|(key, _)| key.clone());
    pairs.into_iter().map(|(key, _)| key).collect()
}

#[test]
fn generic_functions_work_in_every_mode() {
    assert_eq!(generic(Some(1)), "Some(1)");
    assert_eq!(generic::submit("x").join().unwrap(), "\"x\"");
    assert_eq!(generic::map([1.5, 2.5]), ["1.5", "2.5"]);
    assert_eq!(generic_process::<_, 2>("a".to_owned(), &["b".to_owned()]), ["a", "a", "b"]);
    assert_eq!(generic_process::<u64, 1>::submit(1, vec![2]).join().unwrap(), [1, 2]);
    assert_eq!(generic_process::<u64, 1>::map([(1, &[2, 3][..])]), [[1, 2, 3]]);
    assert_eq!(generic_serial(vec![(2, 'b'), (1, 'a')]), [1, 2]);
}

struct Point {
    x: f64,
    y: f64,
}

#[parallel]
fn patterns((a, b): (u32, u32), Point { x, y }: Point, [first, .., last]: [u8; 4], mut total: f64, _: u8) -> f64 {
    total += f64::from(a + b) + x + y + f64::from(first + last);
    total
}

#[test]
fn patterns_are_parameters() {
    assert_eq!(patterns((1, 2), Point { x: 3.0, y: 4.0 }, [5, 0, 0, 6], 7.0, 0), 28.0);
    assert_eq!(patterns::submit((1, 2), Point { x: 3.0, y: 4.0 }, [5, 0, 0, 6], 7.0, 0).join().unwrap(), 28.0);
}

#[parallel(mode = "process", pool = 2)]
fn r#match(r#type: u32, r#fn: &str) -> String {
    format!("{type} {fn}", r#type = r#type, r#fn = r#fn)
}

#[test]
fn raw_identifiers_are_names() {
    assert_eq!(r#match(1, "x"), "1 x");
    assert_eq!(r#match::map([(2, "y")]), ["2 y"]);
}

#[cfg(not(all()))]
#[parallel(mode = "process")]
fn switched_off(_: NoSuchType) {}

#[parallel(mode = "process")]
#[cfg(not(all()))]
fn switched_off_below(_: NoSuchType) {}

#[test]
fn the_same_name_in_two_bodies_is_two_functions() {
    fn first() -> u32 {
        #[parallel(mode = "process", pool = 2)]
        fn work(x: u32) -> u32 {
            x + 1
        }
        work(1) + work::map([1])[0]
    }
    fn second() -> u32 {
        #[parallel(mode = "process", pool = 2)]
        fn work(x: u32) -> u32 {
            inner(x)
        }
        fn inner(x: u32) -> u32 {
            x + 10
        }
        work(1) + work::map([1])[0]
    }
    assert_eq!((first(), second()), (4, 22));
}

#[parallel(mode = "process", pool = 2)]
fn with_helpers_inside(n: u64) -> u64 {
    const STEP: u64 = 2;
    struct Counter(u64);
    impl Counter {
        fn next(&mut self) -> u64 {
            self.0 += STEP;
            self.0
        }
    }
    fn inline(x: u64) -> u64 {
        x + 1
    }
    let mut counter = Counter(n);
    inline(counter.next())
}

#[test]
fn a_body_may_hold_items_whatever_their_names() {
    assert_eq!(with_helpers_inside(1), 4);
}

mod visible {
    use parallel_runtime::parallel;

    /// Documented.
    #[parallel(mode = "process", pool = 2)]
    pub(crate) fn shared(x: u32) -> u32 {
        x
    }

    pub(super) mod deeper {
        #[super::parallel(pool = 2)]
        pub(in crate::attribute) fn restricted(x: u32) -> u32 {
            x
        }
    }
}

use visible::shared as renamed;

#[test]
fn visibility_and_renaming_reach_the_verbs() {
    assert_eq!(renamed(1), 1);
    assert_eq!(renamed::map([1]), [1]);
    assert_eq!(visible::deeper::restricted::map([2]), [2]);
}

#[parallel]
#[must_use = "it is work"]
#[allow(clippy::needless_pass_by_value, reason = "an attribute that has to survive")]
#[inline(never)]
fn attributed(text: String) -> usize {
    text.len()
}

#[test]
fn attributes_survive() {
    assert_eq!(attributed("abc".to_owned()), 3);
}

#[parallel(mode = "process", pool = 2)]
fn lifetimes<'a, 'b: 'a>(first: &'a str, second: &'b [u8], _third: &'_ u32) -> usize {
    first.len() + second.len()
}

#[parallel]
fn elided<'a>(map: &'a HashMap<String, Vec<u8>>, key: &str) -> Option<&'a [u8]> {
    map.get(key).map(Vec::as_slice)
}

#[test]
fn lifetimes_are_kept() {
    assert_eq!(lifetimes("ab", &[1], &3), 3);
    assert_eq!(lifetimes::submit("ab".to_owned(), vec![1], 3).join().unwrap(), 3);
    let map = HashMap::from([("k".to_owned(), vec![1, 2])]);
    assert_eq!(elided(&map, "k"), Some(&[1, 2][..]));
}

#[parallel]
fn trait_objects(check: &(dyn Fn(u32) -> bool + Sync), x: u32) -> bool {
    check(x)
}

#[test]
fn trait_objects_can_be_borrowed_by_threads() {
    let limit = 3;
    let check = |x| x > limit;
    assert!(trait_objects(&check, 4));
    assert_eq!(trait_objects::map((0..6).map(|x| (&check as &(dyn Fn(u32) -> bool + Sync), x))).len(), 6);
}

#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Wide([f32; 16]);

#[parallel(mode = "process", pool = 2)]
fn plain_without_serde(values: &[Wide], bytes: &[u8], out: &mut [Wide]) -> usize {
    out.copy_from_slice(values);
    bytes.len()
}

#[test]
fn slices_of_plain_data_need_no_serde_and_keep_their_alignment() {
    let values = [Wide([1.0; 16]), Wide([2.0; 16])];
    let mut out = [Wide([0.0; 16]); 2];
    assert_eq!(plain_without_serde(&values, b"abc", &mut out), 3);
    assert_eq!(out, values);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Odd {
    #[serde(with = "as_text")]
    number: u64,
    unknown_length: Chars,
    #[serde(skip)]
    skipped: u32,
}

mod as_text {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A sequence that does not tell its length.
#[derive(Debug, Clone, PartialEq)]
struct Chars(String);

impl Serialize for Chars {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq;
        let mut sequence = serializer.serialize_seq(None)?;
        for character in self.0.chars() {
            sequence.serialize_element(&character)?;
        }
        sequence.end()
    }
}

impl<'de> Deserialize<'de> for Chars {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Vec::<char>::deserialize(deserializer)?.into_iter().collect()))
    }
}

#[parallel(mode = "process", pool = 2)]
fn echo_odd(value: Odd) -> Odd {
    value
}

#[test]
fn unusual_serialisers_are_understood() {
    let value = Odd { number: 12, unknown_length: Chars("añb".to_owned()), skipped: 0 };
    assert_eq!(echo_odd(value.clone()), value);
}

fn total<F: ParallelFn<Item = u32, Output = u32>>(items: std::ops::Range<u32>) -> u32 {
    Call::<F>::new().map(items).into_iter().sum()
}

#[test]
fn code_can_be_generic_over_annotated_functions() {
    assert_eq!(total::<on_static_threads>(0..4), 10);
    assert_eq!(total::<with_every_key>(0..4), 6);
}

/// No lint fires on what the attribute makes.
mod strict {
    #![forbid(
        non_camel_case_types,
        dead_code,
        missing_docs,
        unused,
        unreachable_pub,
        elided_lifetimes_in_paths,
        single_use_lifetimes,
        trivial_bounds,
        clippy::all,
        clippy::pedantic
    )]

    use parallel_runtime::parallel;

    #[parallel(mode = "process", pool = 2)]
    pub(super) fn quiet(name: &str, numbers: &mut [f64], count: usize) -> usize {
        numbers.len() + name.len() + count
    }

    #[parallel]
    pub(super) fn quiet_generic<T: Send>(value: T) -> [T; 1] {
        [value]
    }
}

#[test]
fn strict_lints_are_content() {
    assert_eq!(strict::quiet("a", &mut [1.0], 1), 3);
    assert_eq!(strict::quiet_generic(1), [1]);
}

#[parallel(mode = "process", pool = 2)]
fn add(a: u32, b: u32) -> u32 {
    a + b
}

#[test]
fn starmap_takes_options_as_map_does() {
    let pairs = [(1, 2), (3, 4)];
    assert_eq!(add::on(&PROCESSES).starmap(pairs), [3, 7]);
    assert_eq!(add::options().chunk(1).starmap(pairs), [3, 7]);
    assert_eq!(add::on(&THREADS).starmap_async(pairs).join().unwrap(), [3, 7]);
}
