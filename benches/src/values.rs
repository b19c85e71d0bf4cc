//! What it costs to take a value over the border and back.

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use parallel_runtime::parallel;
use serde::{Deserialize, Serialize};

use super::measure::{Section, Subject, per};

#[parallel(pool = 1, mode = "process")]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// The time for each MiB of `mebibytes`, there and back.
fn echo_of(mebibytes: u32) -> Duration {
    let bytes = vec![7; (mebibytes as usize) << 20];
    let rounds = (64 / mebibytes).max(2);
    let mut took = Duration::ZERO;
    for _ in 0..rounds {
        let bytes = bytes.clone();
        let begun = Instant::now();
        black_box(echo(bytes));
        took += begun.elapsed();
    }
    took / rounds / mebibytes
}

pub fn echoes() -> Section<'static> {
    echo(vec![]);
    let bytes = vec![7_u8; 64 << 20];
    Section::new("a MiB of a `Vec<u8>` there and back", 5)
        .subject(Subject::ours("ours, 4 MiB", || echo_of(4)))
        .subject(Subject::new("ours, 1 MiB", || echo_of(1)))
        .subject(Subject::new("ours, 16 MiB", || echo_of(16)))
        .subject(Subject::new("ours, 64 MiB", || echo_of(64)))
        .subject(Subject::new("two plain copies, 64 MiB", move || {
            let begun = Instant::now();
            black_box(black_box(&bytes).clone());
            black_box(black_box(&bytes).clone());
            begun.elapsed() / 64
        }))
}

/// Eight fields of different types.
#[derive(Clone, Serialize, Deserialize)]
pub struct Mixed {
    id: u64,
    name: String,
    score: f64,
    flag: bool,
    small: u16,
    tag: Option<u32>,
    pair: (i32, i32),
    list: Vec<u8>,
}

fn mixed(id: u64) -> Mixed {
    let tag = id.is_multiple_of(3).then_some(7);
    Mixed { id, name: format!("name {id}"), score: 0.5, flag: true, small: 9, tag, pair: (1, 2), list: vec![1, 2, 3] }
}

#[parallel(pool = 1, mode = "process")]
fn echo_structs(structs: Vec<Mixed>) -> Vec<Mixed> {
    structs
}

#[parallel(pool = 1, mode = "process")]
fn echo_value(value: serde_json::Value) -> serde_json::Value {
    value
}

#[parallel(pool = 1, mode = "process")]
fn echo_text(text: String) -> String {
    text
}

pub fn structs() -> Section<'static> {
    let structs: Vec<Mixed> = (0..1000).map(mixed).collect();
    let (for_ours, for_value, for_text) =
        (structs.clone(), serde_json::to_value(&structs).expect("it is JSON"), structs);
    echo_text(String::new());
    Section::new("1,000 structs of eight fields there and back", 7)
        .subject(Subject::ours("ours", move || per(20, |_| black_box(echo_structs(for_ours.clone())).len() as u64)))
        .subject(Subject::new("as `serde_json::Value`", move || {
            per(20, |_| black_box(echo_value(for_value.clone())).is_array())
        }))
        .subject(Subject::new("as JSON text, encoded and decoded here and there", move || {
            per(20, |_| {
                let text = serde_json::to_string(&for_text).expect("it is JSON");
                let there: Vec<Mixed> = serde_json::from_str(&echo_text(text)).expect("it is what was sent");
                let back: Vec<Mixed> =
                    serde_json::from_str(&serde_json::to_string(&there).expect("it is JSON")).expect("it is too");
                back.len() as u64
            })
        }))
}

#[parallel(pool = 2, mode = "process")]
fn look_up(table: &HashMap<String, u64>, key: u64) -> u64 {
    table.len() as u64 + key
}

#[parallel(pool = 2, mode = "process")]
fn key_alone(key: u64) -> u64 {
    key
}

pub fn shared_reference() -> Section<'static> {
    let table: HashMap<String, u64> = (0..10_000).map(|key| (format!("key {key}"), key)).collect();
    key_alone(0);
    Section::new("`map` of 10,000 items that refer to one `HashMap` of 10,000 entries", 7)
        .subject(Subject::ours("ours", move || {
            let begun = Instant::now();
            black_box(look_up::map((0..10_000).map(|key| (&table, key))));
            begun.elapsed()
        }))
        .subject(Subject::new("the same without the table", || {
            let begun = Instant::now();
            black_box(key_alone::map(0..10_000));
            begun.elapsed()
        }))
}
