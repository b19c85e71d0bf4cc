//! The same behaviour wherever a function runs: a table of functions that take the pool.

use crate::pools::{TestPool, parallel};
use parallel_runtime::TaskError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A value with a bit of everything.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub name: String,
    pub numbers: Vec<i32>,
    pub table: BTreeMap<String, (f64, Option<char>)>,
    pub kind: Kind,
    pub nothing: (),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Kind {
    Unit,
    Newtype(Box<Kind>),
    Tuple(u8, i128),
    Struct { flag: bool, bytes: [u8; 3] },
}

pub fn record() -> Record {
    Record {
        name: "ünï".to_owned(),
        numbers: vec![i32::MIN, -1, 0, i32::MAX],
        table: BTreeMap::from([("a".to_owned(), (1.5, Some('ß'))), ("b".to_owned(), (f64::INFINITY, None))]),
        kind: Kind::Newtype(Box::new(Kind::Struct { flag: true, bytes: [1, 2, 3] })),
        nothing: (),
    }
}

#[parallel(mode = "process", pool = 2)]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[parallel(mode = "process", pool = 2)]
fn square(x: i64) -> i64 {
    x * x
}

#[parallel(mode = "process", pool = 2)]
fn nothing() {}

#[parallel(mode = "process", pool = 2)]
fn echo(record: Record) -> Record {
    record
}

#[parallel(mode = "process", pool = 2)]
fn describe(name: &str, numbers: &[f64], path: &Path, record: &Record, words: &[String]) -> String {
    format!("{name} {} {} {} {}", numbers.iter().sum::<f64>(), path.display(), record.name, words.concat())
}

#[parallel(mode = "process", pool = 2)]
fn double_in_place(numbers: &mut [f64]) -> usize {
    numbers.iter_mut().for_each(|number| *number *= 2.0);
    numbers.len()
}

#[parallel(mode = "process", pool = 2)]
fn change_all(words: &mut [String], record: &mut Record, factors: &[u8], numbers: &mut [u16]) {
    words.iter_mut().for_each(|word| word.push('!'));
    record.numbers.push(7);
    record.kind = Kind::Tuple(1, -1);
    numbers.iter_mut().zip(factors).for_each(|(number, factor)| *number *= u16::from(*factor));
}

#[parallel(mode = "process", pool = 2)]
fn divide(a: i64, b: i64) -> Result<i64, String> {
    if b == 0 { Err("division by zero".to_owned()) } else { Ok(a / b) }
}

#[parallel(mode = "process", pool = 2)]
fn panic_at(bad: u64, x: u64) -> u64 {
    assert!(x != bad, "no {x} here");
    x
}

#[parallel(mode = "process", pool = 2)]
fn panic_with_number(x: u64) -> u64 {
    std::panic::panic_any(x)
}

#[parallel(mode = "process", pool = 2)]
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|index| index as u8).collect()
}

#[parallel(mode = "process", pool = 2)]
fn text(count: usize) -> String {
    "x".repeat(count)
}

#[parallel(mode = "process", pool = 2)]
fn length(bytes: Vec<u8>, text: &str, numbers: &[u32]) -> usize {
    bytes.len() + text.len() + numbers.len()
}

#[parallel(mode = "process", pool = 2)]
fn pause(milliseconds: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(milliseconds));
    milliseconds
}

pub(crate) fn a_call_gives_what_the_function_gives(pool: &'static TestPool) {
    assert_eq!(pool.on::<add>().call((2, 3)), 5);
    assert_eq!(pool.on::<add>().call((2, 3)), add::inline(2, 3));
    pool.on::<nothing>().call(());
}

pub(crate) fn a_submitted_task_gives_its_result(pool: &'static TestPool) {
    let task = pool.on::<add>().submit((20, 22));
    assert_eq!(task.join().unwrap(), 42);
    pool.on::<nothing>().submit(()).join().unwrap();
}

pub(crate) fn results_come_in_the_order_of_the_items(pool: &'static TestPool) {
    let expected: Vec<i64> = (0..50_000).map(|x| x * x).collect();
    assert_eq!(pool.on::<square>().map(0..50_000), expected);
    assert_eq!(pool.on::<square>().chunk(7).map(0..50_000), expected);
}

pub(crate) fn an_iterator_of_unknown_length_is_mapped(pool: &'static TestPool) {
    let odd = pool.on::<square>().map((0..1000).filter(|x| x % 2 == 1));
    assert_eq!(odd.len(), 500);
    assert_eq!(odd[2], 25);
}

pub(crate) fn no_items_give_no_results(pool: &'static TestPool) {
    assert!(pool.on::<square>().map([]).is_empty());
    assert!(pool.on::<square>().try_map([]).is_empty());
    assert!(pool.on::<square>().map_async(Vec::<i64>::new()).join().unwrap().is_empty());
}

pub(crate) fn items_without_arguments_are_mapped(pool: &'static TestPool) {
    assert_eq!(pool.on::<nothing>().map([(), (), ()]).len(), 3);
}

pub(crate) fn several_arguments_are_spread_from_tuples(pool: &'static TestPool) {
    assert_eq!(pool.on::<add>().map([(1, 2), (3, 4)]), [3, 7]);
    assert_eq!(pool.on::<add>().starmap([(1, 2), (3, 4)]), [3, 7]);
    assert_eq!(pool.on::<add>().starmap_async([(1, 2), (3, 4)]).join().unwrap(), [3, 7]);
}

pub(crate) fn two_maps_run_at_once(pool: &'static TestPool) {
    let (first, second) = (pool.on::<square>().map_async(0..5000), pool.on::<square>().map_async(5000..10_000));
    let (first, second) = (first.join().unwrap(), second.join().unwrap());
    assert_eq!((first[4999], second[0], second.len()), (4999 * 4999, 25_000_000, 5000));
}

pub(crate) fn a_map_in_the_background_tells_its_progress(pool: &'static TestPool) {
    let map = pool.on::<square>().map_async(0..100);
    assert_eq!(map.progress().1, 100);
    assert_eq!(map.join().unwrap().len(), 100);
}

pub(crate) fn every_kind_of_value_goes_and_comes_back(pool: &'static TestPool) {
    assert_eq!(pool.on::<echo>().call(record()), record());
    let unit = Record { kind: Kind::Unit, ..record() };
    assert_eq!(pool.on::<echo>().submit(unit.clone()).join().unwrap(), unit);
}

pub(crate) fn references_of_every_kind_are_taken(pool: &'static TestPool) {
    let words = ["a".to_owned(), "b".to_owned()];
    let text = pool.on::<describe>().call(("n", &[1.0, 2.5], Path::new("/tmp/x"), &record(), &words));
    assert_eq!(text, "n 3.5 /tmp/x ünï ab");
    let owned = pool.on::<describe>().submit((
        "n".to_owned(),
        vec![1.0, 2.5],
        PathBuf::from("/tmp/x"),
        record(),
        words.to_vec(),
    ));
    assert_eq!(owned.join().unwrap(), text);
    let items = [("n".to_owned(), vec![1.0, 2.5], PathBuf::from("/tmp/x"), record(), words.to_vec())];
    assert_eq!(pool.on::<describe>().map_async(items).join().unwrap(), [text]);
}

pub(crate) fn chunks_of_a_slice_are_changed_in_place(pool: &'static TestPool) {
    let mut numbers: Vec<f64> = (0..10_000).map(f64::from).collect();
    let lengths = pool.on::<double_in_place>().map(numbers.chunks_mut(333));
    assert_eq!(lengths.iter().sum::<usize>(), 10_000);
    assert!(numbers.iter().enumerate().all(|(index, number)| *number == 2.0 * index as f64));
}

pub(crate) fn an_empty_slice_is_changed_in_place(pool: &'static TestPool) {
    assert_eq!(pool.on::<double_in_place>().call(&mut []), 0);
}

pub(crate) fn everything_behind_a_mutable_reference_is_changed(pool: &'static TestPool) {
    let mut words = ["a".to_owned(), "b".to_owned()];
    let (mut record, mut numbers) = (record(), [1, 2, 3]);
    pool.on::<change_all>().call((&mut words, &mut record, &[2, 3, 4], &mut numbers));
    assert_eq!(words, ["a!", "b!"]);
    assert_eq!((record.numbers.last(), &record.kind), (Some(&7), &Kind::Tuple(1, -1)));
    assert_eq!(numbers, [2, 6, 12]);
}

pub(crate) fn many_mutable_references_are_changed_in_one_map(pool: &'static TestPool) {
    let mut words: Vec<Vec<String>> = (0..300).map(|index| vec![index.to_string()]).collect();
    let mut records: Vec<Record> = (0..300).map(|_| record()).collect();
    let mut numbers = vec![[1_u16, 2]; 300];
    let items = words.iter_mut().zip(&mut records).zip(&mut numbers);
    pool.on::<change_all>()
        .map(items.map(|((words, record), numbers)| (&mut words[..], record, &[3, 3][..], &mut numbers[..])));
    assert!(words.iter().enumerate().all(|(index, words)| *words == [format!("{index}!")]));
    assert!(records.iter().all(|record| record.numbers.last() == Some(&7)));
    assert!(numbers.iter().all(|numbers| *numbers == [3, 6]));
}

pub(crate) fn an_error_of_the_function_is_its_result(pool: &'static TestPool) {
    assert_eq!(pool.on::<divide>().call((1, 0)), Err("division by zero".to_owned()));
    assert_eq!(pool.on::<divide>().map([(6, 2), (1, 0)]), [Ok(3), Err("division by zero".to_owned())]);
}

pub(crate) fn a_panic_of_a_task_is_told_when_it_is_joined(pool: &'static TestPool) {
    match pool.on::<panic_at>().submit((3, 3)).join() {
        Err(error @ TaskError::Panicked { .. }) => {
            assert!(error.to_string().contains("panic_at"), "{error}");
            let TaskError::Panicked { message, location, .. } = error else { unreachable!() };
            assert_eq!(message, "no 3 here");
            assert!(location.is_some_and(|location| location.contains(".rs:")));
        }
        other => panic!("{other:?}"),
    }
}

pub(crate) fn a_panic_in_a_call_is_a_panic_of_the_caller(pool: &'static TestPool) {
    let payload = std::panic::catch_unwind(|| pool.on::<panic_at>().call((3, 3))).unwrap_err();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    assert_eq!(text, Some("no 3 here"));
}

pub(crate) fn a_panic_whose_payload_is_no_string_is_told(pool: &'static TestPool) {
    match pool.on::<panic_with_number>().submit(7).join() {
        Err(TaskError::Panicked { message, .. }) => assert!(message.contains("not a string"), "{message}"),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn a_map_panics_with_its_failed_item(pool: &'static TestPool) {
    let payload = std::panic::catch_unwind(|| pool.on::<panic_at>().map((0..10_000).map(|x| (5000, x)))).unwrap_err();
    assert_eq!(payload.downcast_ref::<String>().map(String::as_str), Some("no 5000 here"));
}

pub(crate) fn a_map_in_the_background_tells_its_failed_item(pool: &'static TestPool) {
    match pool.on::<panic_at>().map_async((0..1000).map(|x| (500, x))).join() {
        Err(TaskError::Panicked { message, .. }) => assert_eq!(message, "no 500 here"),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn try_map_has_a_result_or_an_error_for_each_item(pool: &'static TestPool) {
    let results = pool.on::<panic_at>().try_map((0..1000_u64).map(|x| (x / 100 * 100, x)));
    assert_eq!(results.len(), 1000);
    for (x, result) in results.into_iter().enumerate() {
        match result {
            Ok(value) => assert!(x % 100 != 0 && value == x as u64),
            Err(TaskError::Panicked { message, .. }) => assert_eq!(message, format!("no {x} here")),
            Err(other) => panic!("{other:?}"),
        }
    }
}

pub(crate) fn results_of_every_size_come_back(pool: &'static TestPool) {
    for size in [0, 1, 20, 21, 22, 23, 54, 55, 56, 63, 64, 100, 4096, 70_000, 262_143, 262_144, 300_000, 3_000_000] {
        let result = pool.on::<bytes>().call(size);
        assert_eq!(result.len(), size);
        assert!(result.iter().enumerate().all(|(index, byte)| *byte == index as u8));
        assert_eq!(pool.on::<text>().call(size).len(), size);
    }
}

pub(crate) fn results_of_mixed_sizes_come_back_in_order(pool: &'static TestPool) {
    let sizes: Vec<usize> = (0..400).map(|index| index * index * 7 % 90_000).collect();
    let results = pool.on::<bytes>().map(sizes.iter().copied());
    assert!(results.iter().zip(&sizes).all(|(result, size)| result.len() == *size));
}

pub(crate) fn arguments_of_every_size_arrive(pool: &'static TestPool) {
    for size in [0, 1, 40, 60, 80, 100, 5000, 1_000_000] {
        assert_eq!(pool.on::<length>().call((vec![1; size], &"x".repeat(size), &vec![3; size])), 3 * size);
    }
}

pub(crate) fn a_spawned_call_gives_its_result(pool: &'static TestPool) {
    assert_eq!(pool.on::<add>().spawn((1, 2)).join().unwrap(), 3);
    assert!(matches!(pool.on::<panic_at>().spawn((1, 1)).join(), Err(TaskError::Panicked { .. })));
}

pub(crate) fn a_finished_task_says_so(pool: &'static TestPool) {
    let mut task = pool.on::<add>().submit((1, 1));
    let result = task.join_timeout(Duration::from_secs(60));
    assert_eq!(result.unwrap().unwrap(), 2);
    assert!(task.is_finished() && !task.is_running() && !task.cancel());
    for _ in 0..2 {
        let again = task.join_timeout(Duration::ZERO);
        assert!(matches!(again, Some(Err(TaskError::ResultTaken))), "a result is given once, and then that is said");
    }
    assert!(matches!(task.join(), Err(TaskError::ResultTaken)));
}

pub(crate) fn tasks_have_different_ids(pool: &'static TestPool) {
    assert_ne!(pool.on::<add>().submit((1, 1)).id(), pool.on::<add>().submit((1, 1)).id());
}

pub(crate) fn dropped_tasks_do_no_harm(pool: &'static TestPool) {
    for x in 0..100 {
        drop(pool.on::<square>().submit(x));
    }
    assert_eq!(pool.on::<square>().call(3), 9);
}

pub(crate) fn twenty_thousand_tasks_may_be_outstanding(pool: &'static TestPool) {
    let tasks: Vec<_> = (0..20_000).map(|x| pool.on::<square>().submit(x)).collect();
    for (x, task) in tasks.into_iter().enumerate() {
        assert_eq!(task.join().unwrap(), (x * x) as i64);
    }
}

pub(crate) fn tasks_can_be_joined_in_any_order(pool: &'static TestPool) {
    let mut tasks: Vec<_> = (0..3000).map(|x| (x, pool.on::<square>().submit(x))).collect();
    while !tasks.is_empty() {
        let (x, task) = tasks.swap_remove(tasks.len() / 2);
        assert_eq!(task.join().unwrap(), x * x);
    }
}

pub(crate) fn eight_threads_submit_at_once(pool: &'static TestPool) {
    // Each of them is a round trip, which takes its time on a cluster.
    let calls = if pool.is_far() { 20 } else { 500 };
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for x in 0..calls {
                    assert_eq!(pool.on::<add>().call((thread, x)), thread + x);
                    assert_eq!(pool.on::<add>().submit((thread, x)).join().unwrap(), thread + x);
                }
                assert_eq!(pool.on::<square>().map(0..100)[99], 9801);
            });
        }
    });
}

pub(crate) fn a_value_that_fails_to_decode_half_way_is_told(pool: &'static TestPool) {
    // Only a border that is crossed can fail.
    if pool.crosses() {
        match pool.on::<fussy>().submit(Fussy { first: 1, second: 13 }).join() {
            Err(error @ TaskError::Decode { .. }) => assert!(error.to_string().contains("thirteen"), "{error}"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(pool.on::<make_fussy>().submit(13).join(), Err(TaskError::Decode { .. })));
        let results = pool.on::<make_fussy>().try_map(10..16);
        let bad: Vec<usize> = (0..6).filter(|index| results[*index].is_err()).collect();
        assert_eq!(bad, [3]);
    }
    assert_eq!(pool.on::<fussy>().call(Fussy { first: 1, second: 2 }).second, 2);
}

pub(crate) fn a_value_that_fails_to_decode_leaves_its_neighbours_alone(pool: &'static TestPool) {
    let results = pool.on::<make_fussy>().chunk(10).try_map(0..30);
    assert_eq!(results.len(), 30);
    for (index, result) in results.iter().enumerate() {
        match result {
            Ok(value) => assert_eq!(usize::from(value.second), index),
            Err(_) => assert!(index == 13 && pool.crosses()),
        }
    }
}

pub(crate) fn a_result_whose_serialiser_or_destructor_panics_harms_no_other(pool: &'static TestPool) {
    let results = pool.on::<make_touchy>().chunk(10).try_map(0..30);
    assert_eq!(results.len(), 30);
    for (index, result) in results.iter().enumerate() {
        match result {
            Ok(value) => assert_eq!(usize::from(value.0), index),
            Err(TaskError::Panicked { message, .. }) => {
                assert_eq!((index, message.as_str(), pool.crosses()), (13, "do not touch", true));
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    let items: Vec<Touchy> = (0..30).map(Touchy).collect();
    let joined = pool.on::<take_touchy>().map_async(items).join();
    assert_eq!(joined.is_err(), pool.crosses(), "and the map ends");
}

#[parallel(mode = "process", pool = 2)]
fn make_touchy(value: u8) -> Touchy {
    Touchy(value)
}

#[parallel(mode = "process", pool = 2)]
fn take_touchy(value: Touchy) -> u8 {
    value.0
}

#[derive(Debug, Deserialize)]
struct Touchy(u8);

impl Serialize for Touchy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = serializer.serialize_newtype_struct("Touchy", &self.0);
        assert!(self.0 != 13, "do not touch");
        written
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        // In a worker, after its result is out; the program itself is spared.
        if self.0 == 17 && std::thread::current().name() == Some("parallel-worker") {
            panic!("let me be");
        }
    }
}

pub(crate) fn polling_without_patience_ends(pool: &'static TestPool) {
    let mut task = pool.on::<add>().submit((1, 2));
    let sum = loop {
        if let Some(result) = task.join_timeout(Duration::ZERO) {
            break result.unwrap();
        }
    };
    assert_eq!(sum, 3);
}

pub(crate) fn slices_of_nothing_keep_their_length(pool: &'static TestPool) {
    assert_eq!(pool.on::<count_nothings>().call((&[(); 7], &mut [(); 5])), 12);
}

#[parallel(mode = "process", pool = 2)]
fn count_nothings(some: &[()], others: &mut [()]) -> usize {
    some.len() + others.len()
}

pub(crate) fn a_value_that_fails_to_encode_half_way_is_told(pool: &'static TestPool) {
    if pool.crosses() {
        assert!(matches!(pool.on::<shy>().submit(Shy(13)).join(), Err(TaskError::Encode { .. })));
        match pool.on::<make_shy>().submit(13).join() {
            Err(error @ TaskError::Encode { .. }) => assert!(error.to_string().contains("rather not"), "{error}"),
            other => panic!("{other:?}"),
        }
        let results = pool.on::<make_shy>().try_map(0..30);
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
        let results = pool.on::<shy>().try_map((0..30).map(Shy));
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    }
    assert_eq!(pool.on::<shy>().call(Shy(2)).0, 2);
}

#[parallel(mode = "process", pool = 2)]
fn fussy(value: Fussy) -> Fussy {
    value
}

#[parallel(mode = "process", pool = 2)]
fn make_fussy(second: u8) -> Fussy {
    Fussy { first: 0, second }
}

#[parallel(mode = "process", pool = 2)]
fn shy(value: Shy) -> Shy {
    value
}

#[parallel(mode = "process", pool = 2)]
fn make_shy(value: u8) -> Shy {
    Shy(value)
}

#[derive(Debug, Serialize, Deserialize)]
struct Fussy {
    first: u64,
    #[serde(deserialize_with = "not_thirteen")]
    second: u8,
}

fn not_thirteen<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    match u8::deserialize(deserializer)? {
        13 => Err(serde::de::Error::custom("thirteen")),
        other => Ok(other),
    }
}

#[derive(Debug, Deserialize)]
struct Shy(u8);

impl Serialize for Shy {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 13 {
            return Err(serde::ser::Error::custom("rather not"));
        }
        serializer.serialize_newtype_struct("Shy", &self.0)
    }
}

pub(crate) fn a_task_that_has_not_started_can_be_cancelled(pool: &'static TestPool) {
    if pool.runs_in_place() {
        return;
    }
    // The tasks before it keep every worker busy for long.
    let busy: Vec<_> = (0..4).map(|_| pool.on::<pause>().submit(300)).collect();
    let task = pool.on::<pause>().submit(0);
    assert!(task.cancel());
    assert!(task.cancel(), "it will never run, as it was said before");
    assert!(task.is_finished());
    assert!(matches!(task.join(), Err(TaskError::Cancelled)));
    drop(busy);
}

pub(crate) fn a_map_in_the_background_can_be_cancelled(pool: &'static TestPool) {
    if pool.runs_in_place() {
        return;
    }
    let map = pool.on::<pause>().map_async(std::iter::repeat_n(2, 100_000));
    map.cancel();
    assert!(matches!(map.join(), Err(TaskError::Cancelled)));
}

pub(crate) fn join_timeout_gives_up_and_can_be_repeated(pool: &'static TestPool) {
    if pool.runs_in_place() {
        return;
    }
    let mut task = pool.on::<pause>().submit(2_000);
    assert!(task.join_timeout(Duration::from_millis(1)).is_none());
    assert_eq!(task.join().unwrap(), 2_000);
}

/// A test for each behaviour, on this pool.
macro_rules! conformance {
    ($module:ident, $pool:expr $(, #[$attribute:meta])?) => {
        cases! {
            $module, $pool, [$(#[$attribute])?]
            a_call_gives_what_the_function_gives
            a_submitted_task_gives_its_result
            results_come_in_the_order_of_the_items
            an_iterator_of_unknown_length_is_mapped
            no_items_give_no_results
            items_without_arguments_are_mapped
            several_arguments_are_spread_from_tuples
            two_maps_run_at_once
            a_map_in_the_background_tells_its_progress
            every_kind_of_value_goes_and_comes_back
            references_of_every_kind_are_taken
            chunks_of_a_slice_are_changed_in_place
            an_empty_slice_is_changed_in_place
            everything_behind_a_mutable_reference_is_changed
            many_mutable_references_are_changed_in_one_map
            an_error_of_the_function_is_its_result
            a_panic_of_a_task_is_told_when_it_is_joined
            a_panic_in_a_call_is_a_panic_of_the_caller
            a_panic_whose_payload_is_no_string_is_told
            a_map_panics_with_its_failed_item
            a_map_in_the_background_tells_its_failed_item
            try_map_has_a_result_or_an_error_for_each_item
            results_of_every_size_come_back
            results_of_mixed_sizes_come_back_in_order
            arguments_of_every_size_arrive
            a_spawned_call_gives_its_result
            a_finished_task_says_so
            tasks_have_different_ids
            dropped_tasks_do_no_harm
            twenty_thousand_tasks_may_be_outstanding
            tasks_can_be_joined_in_any_order
            eight_threads_submit_at_once
            a_value_that_fails_to_decode_half_way_is_told
            a_value_that_fails_to_decode_leaves_its_neighbours_alone
            a_result_whose_serialiser_or_destructor_panics_harms_no_other
            polling_without_patience_ends
            slices_of_nothing_keep_their_length
            a_value_that_fails_to_encode_half_way_is_told
            a_task_that_has_not_started_can_be_cancelled
            a_map_in_the_background_can_be_cancelled
            join_timeout_gives_up_and_can_be_repeated
        }
    };
}
