//! Arrow record batches.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{ArrayRef, DictionaryArray, Float64Array, Int32Array, ListArray, RecordBatch, StringArray};
use parallel_runtime::{SharedBatch, SharedDict, parallel};

fn batch(rows: i32) -> RecordBatch {
    let numbers = Int32Array::from_iter((0..rows).map(|row| (row % 7 != 0).then_some(row)));
    let prices = Float64Array::from_iter_values((0..rows).map(|row| f64::from(row) / 4.0));
    let names = StringArray::from_iter((0..rows).map(|row| (row % 5 != 0).then(|| format!("name {row}"))));
    let kinds: DictionaryArray<Int32Type> = (0..rows).map(|row| ["a", "b", "c"][row as usize % 3]).collect();
    let lists = ListArray::from_iter_primitive::<Int32Type, _, _>((0..rows).map(|row| Some((0..row % 4).map(Some))));
    RecordBatch::try_from_iter([
        ("number", Arc::new(numbers) as ArrayRef),
        ("price", Arc::new(prices)),
        ("name", Arc::new(names)),
        ("kind", Arc::new(kinds)),
        ("list", Arc::new(lists)),
    ])
    .unwrap()
}

#[parallel(mode = "process", pool = 2)]
fn look(frame: SharedBatch, from: usize, rows: usize) -> (i64, String, usize) {
    let part = frame.slice(from, rows);
    let sum = part.column(0).as_primitive::<Int32Type>().iter().flatten().map(i64::from).sum();
    let names = part.column(2).as_string::<i32>().iter().flatten().last().unwrap_or_default().to_owned();
    (sum, names, part.column(4).as_list::<i32>().iter().flatten().map(|list| list.len()).sum())
}

#[test]
fn every_worker_reads_the_columns_of_one_batch() {
    let ordinary = batch(1000);
    let shared = SharedBatch::new(&ordinary).unwrap();
    assert_eq!(shared.batch(), &ordinary);
    let parts = look::map((0..10).map(|part| (shared.clone(), part * 100, 100)));
    let expected: i64 = (0..1000).filter(|row| row % 7 != 0).sum();
    assert_eq!(parts.iter().map(|(sum, ..)| sum).sum::<i64>(), expected);
    assert_eq!(parts[9].1, "name 999");
    assert_eq!(parts.iter().map(|(_, _, lists)| lists).sum::<usize>(), 1500);
}

#[test]
fn a_batch_is_returned_and_kept_in_a_container() {
    #[parallel(mode = "process", pool = 2)]
    fn make(frames: SharedDict<i32, SharedBatch>, rows: i32) -> SharedBatch {
        let frame = SharedBatch::new(&batch(rows)).unwrap();
        frames.insert(rows, frame.clone());
        frame
    }
    let frames = SharedDict::new();
    for rows in [0, 1, 50] {
        let made = make(frames.clone(), rows);
        assert_eq!(made.batch(), &batch(rows));
        assert_eq!(frames.get(&rows).unwrap().batch(), &batch(rows));
    }
}
